"""How a network answers while pixels go and come back: curves, a table of the measures, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.evaluation.faithfulness.assessment import Assessment
from normviz.evaluation.faithfulness.measures import Curve
from normviz.evaluation.faithfulness.road import Road
from normviz.figures import curves, maps, style
from normviz.figures.curves import Bars, Line

MAP = "map"  # the name of the map that is judged, among those of its rivals
NAMES = {MAP: "this map", "random": "random", "center": "center", "edges": "edges"}
COLORS = {MAP: style.AFTER, "random": "#0072B2", "center": "#009E73", "edges": "#CC79A7"}
HERE = "#8A8F98"  # the line that marks a share: a gray that stands out on light and on dark


def along(
    found: Mapping[str, Curve], score: str, action: str, here: float, range_: tuple[float, float] | None
) -> go.Figure:
    """The curves of a map and of its rivals, and a line at one share of the pixels.

    Args:
        found: curves by the names of NAMES.
        score: what they show, as "probability".
        action: what happens to the pixels, as "removed".
        here: the share in percent at which a line is drawn.
        range_: the ends of the vertical axis; by default a little beyond the values.
    """
    drawn = [
        Line(NAMES[name], 100 * curve.shares, curve.scores, COLORS[name], "solid" if name == MAP else "dash")
        for name, curve in found.items()
    ]
    figure = curves.lines(drawn, f"pixels {action}, %", score, y_range=range_)
    figure.add_shape(
        type="line", x0=here, x1=here, y0=0, y1=1, yref="paper", layer="below",
        line={"color": HERE, "width": 2, "dash": "dot"},
    )  # fmt: skip
    return figure


def road_curves(road: Road, score: str, range_: tuple[float, float] | None) -> go.Figure:
    """The score while pixels are imputed: the most relevant first, and the least relevant first."""
    shares = 100 * road.shares
    return curves.lines(
        [
            Line("least first", shares, road.least, "#009E73", marks=True),
            Line("most first", shares, road.most, COLORS[MAP], marks=True),
        ],
        "pixels replaced, %",
        score,
        x_range=(0, 100),
        y_range=range_,
    )


def road_gaps(found: Mapping[str, Assessment]) -> go.Figure:
    """The gap between both orders, for a map and its rivals."""
    places = [NAMES[name] for name in found]
    gaps = [round(one.road.gap, 3) for one in found.values()]
    return curves.bars(places, [Bars("gap", gaps, COLORS[MAP])], "", "gap, least − most")


def table(rows: Sequence[tuple[str, Assessment]], first: str = "Map") -> str:
    """The measures as an HTML table; the best of each column in bold.

    Args:
        rows: a name and what was measured, at least one.
        first: what the names are.
    """
    columns = (
        ("Deletion area, low is good", [one.deletion.area for _, one in rows], -1),
        ("Insertion area, high is good", [one.insertion.area for _, one in rows], 1),
        ("Drop in confidence, low is good", [one.confidence.drop for _, one in rows], -1),
        ("ROAD gap, high is good", [one.road.gap for _, one in rows], 1),
    )
    head = "".join(f"<th>{_two_lines(title)}</th>" for title, _, _ in columns)
    lines = []
    for place, (name, one) in enumerate(rows):
        cells = []
        for title, values, sign in columns:
            text = f"{100 * values[place]:.0f} %" if title.startswith("Drop") else f"{values[place]:.3f}"
            text = text.replace("-", "−")
            if title.startswith("Drop") and one.confidence.increased:
                text += " (rose)"
            best = sign * values[place] >= max(sign * value for value in values)
            cells.append(f"<td>{f'<b>{text}</b>' if best else text}</td>")
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        '<style>.nv-measures{overflow-x:auto}.nv-measures table{border-collapse:collapse;font-size:1rem}'
        ".nv-measures th,.nv-measures td{padding:.35rem .9rem .35rem 0;text-align:right;"
        "border-bottom:1px solid var(--nv-line);white-space:nowrap}.nv-measures th:first-child{text-align:left}"
        ".nv-measures th{font-weight:600}.nv-measures small{font-weight:400;font-size:1rem;color:var(--nv-quiet)}"
        f'</style><div class="nv-measures"><table><thead><tr><th>{escape(first)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )  # fmt: skip


def _two_lines(title: str) -> str:
    name, _, hint = title.partition(", ")
    return f"{escape(name)}<br><small>{escape(hint)}</small>"


def strip(pictures: Sequence[tuple[str, str, NDArray[np.uint8]]], aspect: float) -> str:
    """Pictures side by side, as many in a row as there is room for.

    Args:
        pictures: a title, a line below it, and the picture (H, W, 3).
        aspect: width over height at which each is shown, as the photo has it.
    """
    figures = "".join(
        f'<figure><img src="{maps.data_uri(picture)}" alt="{escape(f"{title}: {line}")}">'
        f"<figcaption><b>{escape(title)}</b><br>{escape(line)}</figcaption></figure>"
        for title, line, picture in pictures
    )
    return (
        "<style>.nv-strip{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;"
        "color:var(--nv-ink)}.nv-strip figure{margin:0}.nv-strip img{display:block;width:100%;object-fit:fill;"
        f"border-radius:4px}}.nv-strip figcaption{{padding-top:.3rem;line-height:1.35}}</style>"
        f'<div class="nv-strip" style="--aspect:{aspect:.4f}">{figures}</div>'
        "<style>.nv-strip img{aspect-ratio:var(--aspect)}</style>"
    )
