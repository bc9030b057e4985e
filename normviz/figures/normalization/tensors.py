"""A slice of a tensor as a heatmap, before and after on one color scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import link, style


def color_bar(levels: link.Levels, low: float, high: float, unit: str = "") -> dict[str, Any]:
    """A horizontal color bar whose ticks are real numbers, though the heatmap holds levels."""
    shown = style.ticks(low, high)
    texts = [style.number(value) for value in shown]
    return {
        "orientation": "h", "thickness": 12, "thicknessmode": "pixels", "outlinewidth": 0, "y": 0, "yanchor": "top",
        "ypad": 6, "xpad": 0, "len": 1, "tickvals": [levels.at(value) for value in shown], "ticktext": texts,
        "tickfont": {"size": 16}, "ticks": "outside", "ticklen": 4,
        "title": {"text": unit, "side": "bottom", "font": {"size": 16}},
    }  # fmt: skip


def grid_axes(rows: int, columns: int, ratio: float | None = 1.0, below: int = 60) -> dict[str, Any]:
    """Axes of a grid of cells, row 0 on top.

    Args:
        rows: how many cells down.
        columns: how many cells across.
        ratio: a cell's height over its width; None lets the cells fill the panel.
        below: pixels kept free for a color bar: 60, or 88 where a unit stands under it.
    """
    plain = {
        "showgrid": False,
        "zeroline": False,
        "showticklabels": False,
        "ticks": "",
        "constrain": "domain",
        "constraintoward": "top",
    }
    x = plain | {"range": [-0.5, columns - 0.5], "constraintoward": "center"}
    y = plain | {"range": [rows - 0.5, -0.5]}
    if ratio is not None:
        y |= {"scaleanchor": "x", "scaleratio": ratio}
    return {"xaxis": x, "yaxis": y, "uirevision": f"{rows}×{columns}", "margin": {"l": 8, "r": 8, "t": 8, "b": below}}


def heatmap(
    values: NDArray[Any], low: float, high: float, color_map: style.ColorMap, unit: str = "", bar: bool = True
) -> tuple[go.Heatmap, link.Levels]:
    """A heatmap trace of levels between real limits, and the levels."""
    levels = link.quantize(values)
    trace = go.Heatmap(
        z=levels.levels,
        zmin=levels.at(low),
        zmax=levels.at(high),
        colorscale=[list(stop) for stop in style.color_scale(color_map)],
        showscale=bar,
        colorbar=color_bar(levels, low, high, unit) if bar else None,
        hoverinfo="skip",
    )
    return trace, levels


def _rectangles(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """First and end row, first and end column of rectangles that cover the true cells, each once."""
    row = 0
    for same, rows in itertools.groupby(mask.tolist()):
        end, column = row + len(list(rows)), 0
        for inside, cells in itertools.groupby(same):
            stop = column + len(list(cells))
            if inside:
                yield row, end, column, stop
            column = stop
        row = end


def _padding_shapes(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Gray with diagonal lines over the true cells of a grid: what stands there is not a number of the data."""
    fill, lines = [], []
    apart = math.ceil(max(mask.shape) / 24)  # cells from one diagonal to the next
    for top, end, left, right in _rectangles(mask):
        a, b, c, d = (edge - 0.5 for edge in (left, right, top, end))
        fill.append(f"M{a:g},{c:g}H{b:g}V{d:g}H{a:g}Z")
        first = math.ceil((left + top + 0.5) / apart) * apart
        for place in range(first, right + end, apart):  # the line x + y = place − 1, clipped to the rectangle
            x, y = max(a, place - 1 - d), max(c, place - 1 - b)
            lines.append(f"M{x:g},{place - 1 - x:g}L{place - 1 - y:g},{y:g}")
    return [
        {"type": "path", "path": "".join(path), "fillcolor": color, "line": {"width": width, "color": link.HATCH}}
        for path, color, width in ((fill, link.PADDING, 0), (lines, "rgba(0,0,0,0)", 1))
        if path
    ]


def slice_heatmap(
    values: NDArray[Any],
    low: float,
    high: float,
    groups: NDArray[Any] | int | None = None,
    axes: Sequence[str] = ("H", "W"),
    role: Literal["before", "after"] = "before",
    scale: Literal["diverging", "sequential"] = "diverging",
    unit: str = "",
    bar: bool = True,
    space: str = "slice",
    padding: int | None = None,
    said: str = link.SAID,
) -> go.Figure:
    """A two-dimensional slice of a tensor, its values kept to three digits for the readout.

    Args:
        values: (rows, columns) finite numbers.
        low: the start of the color scale, the same before and after; see `style.limits`.
        high: its end.
        groups: (rows, columns) number of the statistic of each cell, or one number for the whole slice.
        axes: the names of the rows and of the columns.
        role: which side of the normalization this is.
        scale: "diverging" (its middle is (low + high)/2: give limits about 0) or "sequential".
        unit: what the numbers are counted in.
        bar: whether to draw the color bar.
        space: figures of one space show the same cells.
        padding: the number, among the groups, of cells that belong to no statistic; they are gray and hatched.
        said: what pointing at one of these says.

    Raises:
        ValueError: not a matrix, a value that is not finite, or groups of another shape.
    """
    if values.ndim != 2:
        raise ValueError(f"a heatmap needs a matrix; received shape {values.shape}")
    rows, columns = values.shape
    color_map: style.ColorMap = "blue-white-orange" if scale == "diverging" else "viridis"
    trace, levels = heatmap(values, low, high, color_map, unit, bar)
    square = 1 / 4 <= rows / columns <= 4
    face = link.face(rows, columns, groups)
    padded = np.broadcast_to(padding is not None and np.asarray(groups) == padding, values.shape)
    return style.figure(
        [trace],
        {
            "kind": "cells",
            "space": space,
            "role": role,
            "axes": list(axes),
            "unit": unit,
            "values": {"start": levels.start, "step": levels.step},
            "padding": padding,
            "said": said,
            "faces": [face],
        },
        shapes=_padding_shapes(padded),
        **grid_axes(rows, columns, 1.0 if square else None, 88 if unit else 60),
    )
