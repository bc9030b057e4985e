"""Faithfulness curves: class score against the share of removed, inserted or imputed pixels."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from normviz.evaluation.faithfulness.assessment import Assessment
from normviz.evaluation.faithfulness.measures import Curve
from normviz.evaluation.faithfulness.road import Road
from normviz.figures import curves, style
from normviz.figures.curves import Bars, Line

MAP = "map"  # key of the evaluated map among its baselines
NAMES = {MAP: "this map", "random": "random", "center": "center", "edges": "edges"}
COLORS = {MAP: style.AFTER, "random": "#0072B2", "center": "#009E73", "edges": "#CC79A7"}
MARKER = "#8A8F98"  # gray that is visible on light and dark pages


def score_curves(
    results: Mapping[str, Curve], score: str, action: str, marked: float, y_range: tuple[float, float] | None
) -> go.Figure:
    """Draws the curves of a map and its baselines, with a vertical line at one share of the pixels.

    Args:
        results: curves by the keys of NAMES.
        score: title of the vertical axis, as "probability".
        action: what is done to the pixels, as "removed".
        marked: the share of the vertical line in percent.
        y_range: limits of the vertical axis; by default slightly wider than the values.
    """
    drawn = [
        Line(NAMES[name], 100 * curve.shares, curve.scores, COLORS[name], "solid" if name == MAP else "dash")
        for name, curve in results.items()
    ]
    figure = curves.lines(drawn, f"pixels {action} (%)", score, y_range=y_range)
    figure.add_shape(
        type="line", x0=marked, x1=marked, y0=0, y1=1, yref="paper", layer="below",
        line={"color": MARKER, "width": 2, "dash": "dot"},
    )  # fmt: skip
    return figure


def road_curves(road: Road, score: str, y_range: tuple[float, float] | None) -> go.Figure:
    """Draws the score while pixels are imputed, most relevant first and least relevant first (ROAD)."""
    shares = 100 * road.shares
    return curves.lines(
        [
            Line("least first", shares, road.least, "#009E73", marks=True),
            Line("most first", shares, road.most, COLORS[MAP], marks=True),
        ],
        "pixels replaced (%)",
        score,
        x_range=(0, 100),
        y_range=y_range,
    )


def road_gaps(results: Mapping[str, Assessment]) -> go.Figure:
    """Draws the difference between both orders for a map and its baselines."""
    labels = [NAMES[name] for name in results]
    gaps = [round(one.road.gap, 3) for one in results.values()]
    return curves.bars(labels, [Bars("gap", gaps, COLORS[MAP])], "", "gap, least − most")
