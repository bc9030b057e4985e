"""Line charts with the names of the curves at their ends, and bar charts with expected values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from normviz.figures import style
from normviz.formatting import minus, number

Dash = Literal["solid", "dash", "dot"]
COLORS = tuple(style.OKABE_ITO[i] for i in (4, 5, 2, 6, 0, 1))  # without yellow, which is too pale on a light page
SAMPLES: dict[Dash, str] = {"solid": "—", "dash": "--", "dot": "··"}
EXPECTED = "#8A8F98"  # values from theory: gray that is visible on light and dark pages
LETTER = 9.4  # width of a letter at 16 px, in pixels
MOST_DIRECT = 6  # curves named at their ends; more curves, or longer names, get a legend
LONGEST_DIRECT = 16  # letters
NAME_GAP = 0.1  # least distance between two names, as a share of the height
MOST_LABELED = 8  # bars with their number above them, if it is short
LONGEST_LABEL = 5  # letters


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: name of the curve, shown at its end.
        x: (P,) positions in ascending order.
        y: (P,) values.
        color: hexadecimal; by default the next of COLORS.
        dash: solid for measured values, dot for expected values, dash for a comparison.
        marks: whether to draw markers at the points.
        step: whether to draw steps centered on the points, as in a histogram.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    color: str = ""
    dash: Dash = "solid"
    marks: bool = False
    step: bool = False


@dataclass(frozen=True)
class Bars:
    """A group of bars: its name, (P,) heights, and its color, by default the next of COLORS."""

    name: str
    heights: ArrayLike
    color: str = ""


def lines(
    curves: Sequence[Line],
    x_title: str,
    y_title: str,
    log_x: bool = False,
    log_y: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Draws curves on common axes, named at their ends or, if there are many, in a legend.

    Args:
        curves: at least one curve.
        x_title: title of the horizontal axis, with the unit.
        y_title: title of the vertical axis, with the unit.
        log_x: whether the horizontal axis is logarithmic; its values must be positive then.
        log_y: whether the vertical axis is logarithmic.
        x_range: limits of the horizontal axis; by default those of the points.
        y_range: limits of the vertical axis; by default slightly wider than the values.

    Raises:
        ValueError: if there are no curves, x and y of a curve have different lengths, a value is not finite, or a
            value on a logarithmic axis is not positive.
    """
    if not curves:
        raise ValueError("a chart needs at least one curve; received none")
    positions = [_axis_values(curve.x, log_x, f"x of {curve.name!r}") for curve in curves]
    values = [_axis_values(curve.y, log_y, f"y of {curve.name!r}") for curve in curves]
    for curve, x, y in zip(curves, positions, values, strict=True):
        if x.shape != y.shape:
            raise ValueError(f"x and y of {curve.name!r} must have the same length; received {len(x)} and {len(y)}")
    colors = [curve.color or COLORS[i % len(COLORS)] for i, curve in enumerate(curves)]
    traces = [
        go.Scatter(
            x=x.astype(np.float32),
            y=y.astype(np.float32),
            name=curve.name,
            mode="lines+markers" if curve.marks or len(x) == 1 else "lines",
            line={"color": color, "width": 3, "dash": curve.dash, "shape": "hvh" if curve.step else "linear"},
            marker={"color": color, "size": 8},
            hovertemplate="%{x:.4~g}: %{y:.4~g}",
        )
        for curve, x, y, color in zip(curves, positions, values, colors, strict=True)
    ]
    x_ends = _axis_limits(positions, log_x, x_range, 0.0)
    y_ends = _axis_limits(values, log_y, y_range, 0.06)
    x_axis = _axis(x_title, log_x, x_ends)
    y_axis = _axis(y_title, log_y, y_ends)
    longest = max(len(curve.name) for curve in curves)
    direct = 1 < len(curves) <= MOST_DIRECT and longest <= LONGEST_DIRECT
    layout = _named_at_ends(curves, colors, values, y_ends, log_y) if direct else _legend(len(curves) > 1)
    return style.figure(traces, xaxis=x_axis, yaxis=y_axis, hovermode="closest", **layout)


def bars(
    labels: Sequence[str | int],
    groups: Sequence[Bars],
    x_title: str,
    y_title: str,
    expected: Sequence[float] | None = None,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
    line_name: str = "expected",
) -> go.Figure:
    """Draws groups of bars side by side, with a marker for each expected value.

    Args:
        labels: names or numbers on the horizontal axis, one for each bar of a group.
        groups: at least one group, with one bar per label.
        x_title: title of the horizontal axis.
        y_title: title of the vertical axis, with the unit.
        expected: the expected value for each label, if there are any.
        log_y: whether the vertical axis is logarithmic; its values must be positive then.
        y_range: limits of the vertical axis; by default from 0 to slightly above the highest bar.
        line_name: name of the expected values in the legend.

    Raises:
        ValueError: if there are no groups, a group has not one height per label, a value is not finite, or a value on
            a logarithmic axis is not positive.
    """
    if not groups or not labels:
        raise ValueError(f"a bar chart needs groups and labels; received {len(groups)} groups and {len(labels)} labels")
    heights = [_axis_values(group.heights, log_y, f"heights of {group.name!r}") for group in groups]
    line = None if expected is None else _axis_values(expected, log_y, "expected values")
    for name, values in [*((g.name, h) for g, h in zip(groups, heights, strict=True)), (line_name, line)]:
        if values is not None and len(values) != len(labels):
            raise ValueError(f"{name!r} needs a height for each of {len(labels)} labels; received {len(values)}")
    names = [str(label) for label in labels]
    texts = [[number(float(value)) for value in values] for values in heights]
    few = len(groups) * len(labels) <= MOST_LABELED
    labeled = few and all(len(text) <= LONGEST_LABEL for row in texts for text in row)
    traces: list[Any] = [
        go.Bar(
            x=names,
            y=values.astype(np.float32),
            name=group.name,
            marker={"color": group.color or COLORS[i % len(COLORS)], "line": {"width": 0}},
            text=texts[i] if labeled else None,
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            hovertemplate="%{x}: %{y:.4~g}",
        )
        for i, (group, values) in enumerate(zip(groups, heights, strict=True))
    ]
    if line is not None:
        marker = {"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": EXPECTED}}
        hover = line_name + " at %{x}: %{y:.4~g}"
        traces.append(
            go.Scatter(x=names, y=line.astype(np.float32), name=line_name, mode="markers", marker=marker,
                       hovertemplate=hover)
        )  # fmt: skip
    zero = [] if log_y else [np.zeros(1)]
    ends = _axis_limits([*heights, *zero, *([] if line is None else [line])], log_y, y_range, 0.12)
    if y_range is None and not log_y:
        lowest = min(float(values.min()) for values in heights)
        ends = (0.0 if lowest >= 0 else ends[0], ends[1] if max(float(v.max()) for v in heights) > 0 else 0.0)
    x_axis = {"title": _title(x_title), "type": "category", "automargin": True, "fixedrange": True, "ticks": ""}
    y_axis = _axis(y_title, log_y, ends) | {"fixedrange": True}
    several = len(groups) + (line is not None) > 1
    return style.figure(traces, xaxis=x_axis, yaxis=y_axis, barmode="group", bargap=0.25, bargroupgap=0.06,
                        hovermode="closest", **_legend(several))  # fmt: skip


def _axis_values(values: ArrayLike, log: bool, what: str) -> NDArray[np.float64]:
    """Returns the values (P,) as float64, checked: finite, and positive if the axis is logarithmic."""
    row = style.finite(np.asarray(values)).astype(np.float64)
    if row.ndim != 1:
        raise ValueError(f"{what} must have one dimension; received shape {row.shape}")
    if log and row.min() <= 0:
        raise ValueError(f"{what} must be positive on a logarithmic axis; received {row.min():g}")
    return row


def _axis_limits(
    rows: Sequence[NDArray[np.float64]], log: bool, given: tuple[float, float] | None, margin: float
) -> tuple[float, float]:
    """Returns the limits of an axis: exponents if the axis is logarithmic."""
    if given is not None:
        return (math.log10(given[0]), math.log10(given[1])) if log else given
    shown = [np.log10(row) if log else row for row in rows]
    low, high = min(float(row.min()) for row in shown), max(float(row.max()) for row in shown)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        pad = 0.5 if log else max(abs(low) * 0.1, 1e-12)
        return low - pad, high + pad
    pad = margin * (high - low)
    return low - pad, high + pad


def _axis(title: str, log: bool, ends: tuple[float, float]) -> dict[str, Any]:
    """Returns the layout of an axis with few round ticks."""
    axis: dict[str, Any] = {
        "title": _title(title), "automargin": True, "range": list(ends), "zeroline": False, "ticks": "outside",
        "ticklen": 6, "showgrid": True, "nticks": 6,
        "exponentformat": "none" if max(map(abs, ends)) >= 1e-2 else "power", "separatethousands": True,
    }  # fmt: skip
    if log:
        values, texts = power_ticks(*ends)
        axis |= {"type": "log", "tickvals": values, "ticktext": texts}
    return axis


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 16}, "standoff": 10}


def power_ticks(first: float, last: float) -> tuple[list[float], list[str]]:
    """Returns ticks of a logarithmic axis: powers of ten if there are several, else 1, 2 and 5 times a power.

    Args:
        first: exponent at the lower end.
        last: exponent at the upper end.

    Returns:
        At most 7 values, and their labels.
    """
    low, high = math.ceil(first - 1e-9), math.floor(last + 1e-9)
    step = max(math.ceil((high - low) / 6), 1)
    powers = [power for power in range(low, high + 1) if power % step == 0]
    if len(powers) > 2:
        plain = all(-3 <= power <= 4 for power in powers)
        texts = [number(10.0**power) if plain else minus(f"10<sup>{power}</sup>") for power in powers]
        return [10.0**power for power in powers], texts
    every = [digit * 10.0**power for power in range(low - 1, high + 1) for digit in (1, 2, 5)]
    shown = [value for value in every if first - 1e-9 <= math.log10(value) <= last + 1e-9]
    values = shown or [10.0**first, 10.0**last]
    return values, [number(value) for value in values]


def _legend(show: bool) -> dict[str, Any]:
    """Returns the layout of a legend above the chart."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "itemclick": False,
              "itemdoubleclick": False}  # fmt: skip
    return {"showlegend": show, "legend": legend, "margin": {"l": 8, "r": 12, "t": 12, "b": 8}}


def _named_at_ends(
    curves: Sequence[Line],
    colors: Sequence[str],
    values: Sequence[NDArray[np.float64]],
    ends: tuple[float, float],
    log: bool,
) -> dict[str, Any]:
    """Returns annotations with the names at the right ends of the curves, each after a sample of its line."""
    last = [float(np.log10(row[-1]) if log else row[-1]) for row in values]
    heights = spread([(value - ends[0]) / (ends[1] - ends[0]) for value in last])
    annotations = [
        {"text": f'<b style="color:{color}">{SAMPLES[curve.dash]}</b> {curve.name}', "x": 1, "y": height,
         "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "middle", "xshift": 2, "showarrow": False,
         "align": "left", "font": {"size": 16}}
        for curve, color, height in zip(curves, colors, heights, strict=True)
    ]  # fmt: skip
    room = round(LETTER * max(len(curve.name) for curve in curves)) + 32
    return {"annotations": annotations, "margin": {"l": 8, "r": room, "t": 12, "b": 8}}


def spread(heights: Sequence[float], gap: float = NAME_GAP) -> list[float]:
    """Moves heights between 0 and 1 so that names at these heights do not overlap.

    Args:
        heights: wanted height of each name.
        gap: least distance between two names.

    Returns:
        The new heights, in the same order.
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [min(max(height, 0.0), 1.0) for height in heights]
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    placed[order[-1]] = min(placed[order[-1]], 1.0)
    for below, above in reversed([*itertools.pairwise(order)]):
        placed[below] = min(placed[below], placed[above] - gap)
    return placed
