"""The cube of shared axes: the cells of a tensor that share statistics, as in Figure 2 of Wu & He 2018."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import link, style

LARGEST = 16  # cells along an axis; more would be too small to point at
COLORS = (*style.GROUP_COLORS, link.PADDING)


def group_colors(groups: NDArray[Any], padding: int | None = None) -> dict[int, int]:
    """Returns a color for each group, as an index into `COLORS`; neighboring groups differ, padding has the last color.

    Args:
        groups: (n, c, p) group index of each cell.
        padding: group index of cells that belong to no group.
    """
    neighbors: dict[int, set[int]] = {int(g): set() for g in np.unique(groups)}
    for axis in range(groups.ndim):
        here, there = np.moveaxis(groups, axis, 0)[:-1], np.moveaxis(groups, axis, 0)[1:]
        for a, b in np.unique(np.stack([here.ravel(), there.ravel()]), axis=1).T.tolist():
            if a != b:
                neighbors[a].add(b)
                neighbors[b].add(a)
    size, color_of = len(style.GROUP_COLORS), dict[int, int]()
    for group, others in neighbors.items():
        taken = {color_of[other] for other in others if other in color_of}
        candidates = [(group + i) % size for i in range(size)]
        color_of[group] = next((color for color in candidates if color not in taken), candidates[0])
    return color_of | ({padding: size} if padding in color_of else {})


def _sides(groups: NDArray[Any]) -> list[NDArray[Any]]:
    """Returns the groups on the six sides: first and last along N (p, c), along C (p, n) and along positions (n, c)."""
    layers = [(axis, groups.take(end, axis)) for axis in range(3) for end in (0, -1)]
    return [layer if axis == 2 else layer.T for axis, layer in layers]


def _faces(groups: NDArray[Any]) -> list[tuple[NDArray[Any], tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Returns the visible faces: their groups, origin, column step and row step in the plane."""
    n, c, p = groups.shape
    sides = _sides(groups)
    if p == 1:
        return [(sides[4], (0, n), (1, 0), (0, -1))]
    return [
        (sides[0], (0, 2 * p), (1, -1), (0, -2)),  # (p, c): the front
        (sides[3], (c, 2 * p - c), (1, 1), (0, -2)),  # (p, n): the side
        (sides[4], (0, 2 * p), (1, -1), (1, 1)),  # (n, c): the top
    ]


def _runs(colors: NDArray[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yields runs of equal colors in a row: row, first column, end column, color."""
    for i, row in enumerate(colors):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for start, end in itertools.pairwise(edges):
            yield i, start, end, int(row[start])


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def _shapes(groups: NDArray[Any], color_of: dict[int, int]) -> list[dict[str, Any]]:
    """Returns the cells, the shade of each face and the grid lines as few paths."""
    paths: dict[int, list[str]] = {}
    lines: list[str] = []
    shades: list[str] = []
    for cells, origin, column_step, row_step in _faces(groups):
        rows, columns = cells.shape

        def at(i: float, j: float, o: Any = origin, u: Any = column_step, v: Any = row_step) -> tuple[float, float]:
            return o[0] + j * u[0] + i * v[0], o[1] + j * u[1] + i * v[1]

        for i, start, end, color in _runs(np.vectorize(color_of.__getitem__)(cells)):
            corners = [at(i, start), at(i, end), at(i + 1, end), at(i + 1, start)]
            paths.setdefault(color, []).append(_path(corners) + "Z")
        lines += [_path([at(i, 0), at(i, columns)]) for i in range(rows + 1)]
        lines += [_path([at(0, j), at(rows, j)]) for j in range(columns + 1)]
        shades.append(_path([at(0, 0), at(0, columns), at(rows, columns), at(rows, 0)]) + "Z")

    def shape(path: str, fill: str = "rgba(0,0,0,0)", line: float = 0) -> dict[str, Any]:
        pen = {"width": line, "color": "rgba(29,39,51,0.55)"}
        return {"type": "path", "path": path, "fillcolor": fill, "line": pen}

    shapes = [shape("".join(parts), COLORS[color]) for color, parts in sorted(paths.items())]
    shapes += [shape(path, f"rgba(20,25,35,{dark})") for path, dark in zip(shades, (0.06, 0.2), strict=False)]
    return [*shapes, shape("".join(lines), line=1)]


def shared_axes_cube(
    groups: NDArray[Any],
    names: Sequence[str],
    sizes: Sequence[int],
    padding: int | None = None,
    padding_label: str = link.PADDING_LABEL,
) -> go.Figure:
    """Draws a block of cells, where cells that share statistics have the same color; the board can turn it.

    Args:
        groups: (n, c, p) group index of each cell; with p = 1, a flat sheet is drawn.
        names: names of the three axes, as ("N", "C", "H, W"); a sheet does not use the last one.
        sizes: sizes of the three axes of the whole tensor.
        padding: group index of cells that belong to no statistic; they are gray.
        padding_label: label of these cells in the readout.

    Returns:
        A figure of paths, without WebGL: three visible faces, with N to the back, C to the right and the third axis
        down. Its link holds the groups on all six sides.

    Raises:
        ValueError: if the block has not three axes, or an axis has not 1 to 16 cells.

    Source: Wu & He 2018, Figure 2.
    """
    groups = np.asarray(groups)
    if groups.ndim != 3 or not 1 <= min(groups.shape) <= max(groups.shape) <= LARGEST:
        raise ValueError(f"the cube needs a block (n, c, p) of 1 to {LARGEST} cells an axis; received {groups.shape}")
    n, c, p = groups.shape
    color_of = group_colors(groups, padding)
    texts = [
        f"{name} = {size:,}" if shown == size else f"{name}: {shown} of {size:,}"
        for name, shown, size in zip(names, groups.shape, sizes, strict=True)
    ]
    spec: dict[str, Any] = {
        "kind": "cells",
        "role": "cube",
        "axes": [],
        "padding": padding,
        "said": padding_label,
        "ids": link.encode(link.smallest_unsigned(np.array(list(color_of)))),
        "colors": link.encode(np.array(list(color_of.values()), dtype=np.uint8)),
    }
    if p == 1:
        ((cells, origin, column_step, row_step),) = _faces(groups)
        spec["faces"] = [link.cell_grid(n, c, cells, origin, column_step, row_step)]
        labels = [(0, 0, n / 2, -90, -16, 0), (1, c / 2, 0, 0, 0, -16)]
        extent, ratio = (0, c, 0, n), 1.0
    else:
        sides = [link.group_matrix(cells) for cells in _sides(groups)]
        spec["block"] = {"sizes": [n, c, p], "names": list(names), "labels": texts, "sides": sides}
        labels = [(0, c + n / 2, n / 2 - c, -30, 10, -17), (1, c / 2, -c / 2, 30, -10, -17), (2, 0, p, -90, -16, 0)]
        extent, ratio = (0, c + n, -c, 2 * p + n), 3**-0.5
    hidden = {"visible": False, "fixedrange": True, "constrain": "domain"}
    return style.figure(
        [],
        spec,
        shapes=_shapes(groups, color_of),
        annotations=[
            {"x": x, "y": y, "text": texts[axis], "textangle": angle, "showarrow": False, "xshift": dx, "yshift": dy}
            for axis, x, y, angle, dx, dy in labels
        ],
        margin={"l": 30, "r": 30, "t": 8, "b": 30},
        xaxis=hidden | {"range": list(extent[:2])},
        yaxis=hidden | {"range": list(extent[2:]), "scaleanchor": "x", "scaleratio": ratio},
        dragmode=False,
        uirevision=str(groups.shape),
    )
