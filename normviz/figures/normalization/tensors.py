"""Heatmaps of a slice of a tensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import link, style
from normviz.formatting import number


def color_bar(levels: link.Quantized, low: float, high: float, unit: str = "") -> dict[str, Any]:
    """Returns a horizontal color bar labeled with values, for a heatmap of levels."""
    shown = style.ticks(low, high)
    texts = [number(value) for value in shown]
    return {
        "orientation": "h", "thickness": 12, "thicknessmode": "pixels", "outlinewidth": 0, "y": 0, "yanchor": "top",
        "ypad": 6, "xpad": 0, "len": 1, "tickvals": [levels.at(value) for value in shown], "ticktext": texts,
        "tickfont": {"size": 16}, "ticks": "outside", "ticklen": 4,
        "title": {"text": unit, "side": "bottom", "font": {"size": 16}},
    }  # fmt: skip


def grid_axes(rows: int, columns: int, ratio: float | None = 1.0, below: int = 60) -> dict[str, Any]:
    """Returns the axes of a grid of cells, with row 0 at the top.

    Args:
        rows: number of rows.
        columns: number of columns.
        ratio: height over width of a cell; None lets the cells fill the panel.
        below: margin for a color bar in pixels: 60, or 88 with a unit.
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
) -> tuple[go.Heatmap, link.Quantized]:
    """Returns a heatmap trace with the color limits `low` and `high`, and its levels."""
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
    """Yields rectangles (first row, end row, first column, end column) that cover each true cell once."""
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
    """Returns shapes that hatch the true cells of a grid, which hold padding."""
    fill, lines = [], []
    spacing = math.ceil(max(mask.shape) / 24)  # cells between two diagonals
    for top, end, left, right in _rectangles(mask):
        a, b, c, d = (edge - 0.5 for edge in (left, right, top, end))
        fill.append(f"M{a:g},{c:g}H{b:g}V{d:g}H{a:g}Z")
        first = math.ceil((left + top + 0.5) / spacing) * spacing
        for total in range(first, right + end, spacing):  # the line x + y = total − 1, clipped to the rectangle
            x, y = max(a, total - 1 - d), max(c, total - 1 - b)
            lines.append(f"M{x:g},{total - 1 - x:g}L{total - 1 - y:g},{y:g}")
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
    padding_label: str = link.PADDING_LABEL,
) -> go.Figure:
    """Draws a two-dimensional slice of a tensor; the readout gets its values with three digits.

    Args:
        values: (rows, columns) finite numbers.
        low: lower end of the color scale, the same before and after; see `style.limits`.
        high: upper end of the color scale.
        groups: (rows, columns) group index of each cell, or one index for the slice.
        axes: names of the row axis and the column axis.
        role: whether the slice is from before or after the normalization.
        scale: "diverging", with limits symmetric about 0, or "sequential".
        unit: unit of the values.
        bar: whether to draw the color bar.
        space: figures with the same space show the same cells.
        padding: group index of cells that belong to no statistic; they are gray and hatched.
        padding_label: label of these cells in the readout.

    Raises:
        ValueError: if the values are not a matrix, a value is not finite, or the groups have another shape.
    """
    if values.ndim != 2:
        raise ValueError(f"a heatmap needs a matrix; received shape {values.shape}")
    rows, columns = values.shape
    color_map: style.ColorMap = "blue-white-orange" if scale == "diverging" else "viridis"
    trace, levels = heatmap(values, low, high, color_map, unit, bar)
    square = 1 / 4 <= rows / columns <= 4
    grid = link.cell_grid(rows, columns, groups)
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
            "said": padding_label,
            "faces": [grid],
        },
        shapes=_padding_shapes(padded),
        **grid_axes(rows, columns, 1.0 if square else None, 88 if unit else 60),
    )
