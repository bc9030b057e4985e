"""Numbers along an axis: curves with their names at their ends, and bars beside each other with what was expected."""

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

Dash = Literal["solid", "dash", "dot"]
COLORS = tuple(style.OKABE_ITO[i] for i in (4, 5, 2, 6, 0, 1))  # without yellow, which no paper shows
PIECES: dict[Dash, str] = {"solid": "—", "dash": "--", "dot": "··"}
EXPECTED = "#8A8F98"  # what theory says: a gray that stands out on light and on dark
LETTER = 9.4  # pixels of one letter at 16 px
MOST_DIRECT = 6  # curves that are named at their ends; more, or longer names, get a legend
LONGEST_DIRECT = 16  # letters
APART = 0.1  # of the height: the least distance of two names
MOST_WRITTEN = 8  # bars that carry their number, if it is short
LONGEST_WRITTEN = 5  # letters


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: what it is, short enough to stand at its end.
        x: (P,) places in rising order.
        y: (P,) values.
        color: hexadecimal; by default the next one of COLORS.
        dash: solid for what was measured; dot for what was expected, dash for what it is compared with.
        marks: whether the points themselves are drawn, too.
        step: whether a value holds from half way before its place to half way behind it, as in a histogram.
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
    """One bar for each place: what they are, (P,) heights, a color or the next one of COLORS."""

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
    """Curves on common axes, named at their ends in their colors, or in a legend where there are many.

    Args:
        curves: at least one curve.
        x_title: what the places are, with the unit.
        y_title: what the values are, with the unit.
        log_x: whether places stand in powers of ten; they must be above 0 then.
        log_y: the same of the values.
        x_range: the ends of the horizontal axis; by default those of the places.
        y_range: the ends of the vertical axis; by default a little beyond the values.

    Raises:
        ValueError: no curves, places and values of different lengths, a value that is not finite, or one that is
            not above 0 on an axis of powers of ten.
    """
    if not curves:
        raise ValueError("a chart needs at least one curve; received none")
    places = [_axis_values(curve.x, log_x, f"the places of {curve.name!r}") for curve in curves]
    values = [_axis_values(curve.y, log_y, f"the values of {curve.name!r}") for curve in curves]
    for curve, x, y in zip(curves, places, values, strict=True):
        if x.shape != y.shape:
            raise ValueError(f"{curve.name!r} has {len(x)} places and {len(y)} values: give as many of both")
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
        for curve, x, y, color in zip(curves, places, values, colors, strict=True)
    ]
    x_ends = _ends(places, log_x, x_range, 0.0)
    y_ends = _ends(values, log_y, y_range, 0.06)
    x_axis = _axis(x_title, log_x, x_ends)
    y_axis = _axis(y_title, log_y, y_ends)
    longest = max(len(curve.name) for curve in curves)
    direct = 1 < len(curves) <= MOST_DIRECT and longest <= LONGEST_DIRECT
    layout = _named_at_ends(curves, colors, values, y_ends, log_y) if direct else _legend(len(curves) > 1)
    return style.figure(traces, xaxis=x_axis, yaxis=y_axis, hovermode="closest", **layout)


def bars(
    places: Sequence[str | int],
    groups: Sequence[Bars],
    x_title: str,
    y_title: str,
    expected: Sequence[float] | None = None,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
    line_name: str = "expected",
) -> go.Figure:
    """Bars side by side at each place, and a line across them where a value was expected.

    Args:
        places: names or numbers, one for each bar of a group.
        groups: at least one group, each with a bar for every place.
        x_title: what the places are.
        y_title: what the heights are, with the unit.
        expected: the value that was expected at each place, if there is one.
        log_y: whether heights stand in powers of ten; they must be above 0 then.
        y_range: the ends of the vertical axis; by default from 0 to a little beyond the highest bar.
        line_name: what the expected values are called.

    Raises:
        ValueError: no groups, not one height a place, a value that is not finite, or one that is not above 0 on an
            axis of powers of ten.
    """
    if not groups or not places:
        raise ValueError(f"a chart needs bars; received {len(groups)} groups at {len(places)} places")
    heights = [_axis_values(group.heights, log_y, f"the heights of {group.name!r}") for group in groups]
    line = None if expected is None else _axis_values(expected, log_y, "the expected values")
    for name, values in [*((g.name, h) for g, h in zip(groups, heights, strict=True)), (line_name, line)]:
        if values is not None and len(values) != len(places):
            raise ValueError(f"{name!r} needs a height for each of {len(places)} places; received {len(values)}")
    names = [str(place) for place in places]
    texts = [[style.number(float(value)) for value in values] for values in heights]
    few = len(groups) * len(places) <= MOST_WRITTEN
    written = few and all(len(text) <= LONGEST_WRITTEN for row in texts for text in row)
    traces: list[Any] = [
        go.Bar(
            x=names,
            y=values.astype(np.float32),
            name=group.name,
            marker={"color": group.color or COLORS[i % len(COLORS)], "line": {"width": 0}},
            text=texts[i] if written else None,
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
    ends = _ends([*heights, *zero, *([] if line is None else [line])], log_y, y_range, 0.12)
    if y_range is None and not log_y:
        lowest = min(float(values.min()) for values in heights)
        ends = (0.0 if lowest >= 0 else ends[0], ends[1] if max(float(v.max()) for v in heights) > 0 else 0.0)
    x_axis = {"title": _title(x_title), "type": "category", "automargin": True, "fixedrange": True, "ticks": ""}
    y_axis = _axis(y_title, log_y, ends) | {"fixedrange": True}
    several = len(groups) + (line is not None) > 1
    return style.figure(traces, xaxis=x_axis, yaxis=y_axis, barmode="group", bargap=0.25, bargroupgap=0.06,
                        hovermode="closest", **_legend(several))  # fmt: skip


def _axis_values(values: ArrayLike, log: bool, what: str) -> NDArray[np.float64]:
    """A row of finite numbers, above 0 where the axis is one of powers of ten."""
    row = style.finite(np.asarray(values)).astype(np.float64)
    if row.ndim != 1:
        raise ValueError(f"{what} must be a row of numbers; received shape {row.shape}")
    if log and row.min() <= 0:
        raise ValueError(f"{what} must be above 0 on an axis of powers of ten; received {row.min():g}")
    return row


def _ends(
    rows: Sequence[NDArray[np.float64]], log: bool, given: tuple[float, float] | None, beyond: float
) -> tuple[float, float]:
    """The ends of an axis, as they are drawn: exponents where the axis is one of powers of ten."""
    if given is not None:
        return (math.log10(given[0]), math.log10(given[1])) if log else given
    shown = [np.log10(row) if log else row for row in rows]
    low, high = min(float(row.min()) for row in shown), max(float(row.max()) for row in shown)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        pad = 0.5 if log else max(abs(low) * 0.1, 1e-12)
        return low - pad, high + pad
    pad = beyond * (high - low)
    return low - pad, high + pad


def _axis(title: str, log: bool, ends: tuple[float, float]) -> dict[str, Any]:
    """A plain axis with few round ticks."""
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
    """Ticks of an axis of powers of ten: powers where there are several, else 1, 2 and 5 times a power.

    Args:
        first: the exponent at the axis' start.
        last: the exponent at its end.

    Returns:
        At most 7 values and what is written at them.
    """
    low, high = math.ceil(first - 1e-9), math.floor(last + 1e-9)
    apart = max(math.ceil((high - low) / 6), 1)
    powers = [power for power in range(low, high + 1) if power % apart == 0]
    if len(powers) > 2:
        plain = all(-3 <= power <= 4 for power in powers)
        texts = [style.number(10.0**power) if plain else f"10<sup>{power}</sup>".replace("-", "−") for power in powers]
        return [10.0**power for power in powers], texts
    every = [digit * 10.0**power for power in range(low - 1, high + 1) for digit in (1, 2, 5)]
    shown = [value for value in every if first - 1e-9 <= math.log10(value) <= last + 1e-9]
    values = shown or [10.0**first, 10.0**last]
    return values, [style.number(value) for value in values]


def _legend(show: bool) -> dict[str, Any]:
    """The names above the chart; Plotly makes room for as many rows as they need."""
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
    """The names at the right ends of the curves, in the page's color, each behind a piece of its line."""
    last = [float(np.log10(row[-1]) if log else row[-1]) for row in values]
    heights = spread([(value - ends[0]) / (ends[1] - ends[0]) for value in last])
    annotations = [
        {"text": f'<b style="color:{color}">{PIECES[curve.dash]}</b> {curve.name}', "x": 1, "y": height,
         "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "middle", "xshift": 2, "showarrow": False,
         "align": "left", "font": {"size": 16}}
        for curve, color, height in zip(curves, colors, heights, strict=True)
    ]  # fmt: skip
    room = round(LETTER * max(len(curve.name) for curve in curves)) + 32
    return {"annotations": annotations, "margin": {"l": 8, "r": room, "t": 12, "b": 8}}


def spread(heights: Sequence[float], apart: float = APART) -> list[float]:
    """Heights from 0 to 1, moved where two names would overlap: up first, then down from the top.

    Args:
        heights: where each name would stand.
        apart: the least distance of two names.

    Returns:
        The new heights, in the order of the given ones.
    """
    apart = min(apart, 1 / max(len(heights) - 1, 1))
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [min(max(height, 0.0), 1.0) for height in heights]
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] + apart)
    placed[order[-1]] = min(placed[order[-1]], 1.0)
    for below, above in reversed([*itertools.pairwise(order)]):
        placed[below] = min(placed[below], placed[above] - apart)
    return placed
