"""The cube of shared axes: which cells of a tensor share one mean and one variance, after Wu & He's Figure 2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import link, style

LARGEST = 16  # cells along an axis: more would be too small to point at
COLORS = (*style.GROUP_COLORS, link.PADDING)


def group_colors(groups: NDArray[Any], padding: int | None = None) -> dict[int, int]:
    """A color for each group number, as an index into `COLORS`; touching groups differ, the last one is padding's.

    Args:
        groups: (n, c, p) group numbers.
        padding: the number of the cells that belong to no group.
    """
    touching: dict[int, set[int]] = {int(g): set() for g in np.unique(groups)}
    for axis in range(groups.ndim):
        here, there = np.moveaxis(groups, axis, 0)[:-1], np.moveaxis(groups, axis, 0)[1:]
        for a, b in np.unique(np.stack([here.ravel(), there.ravel()]), axis=1).T.tolist():
            if a != b:
                touching[a].add(b)
                touching[b].add(a)
    size, chosen = len(style.GROUP_COLORS), dict[int, int]()
    for group, others in touching.items():
        taken = {chosen[other] for other in others if other in chosen}
        wanted = [(group + i) % size for i in range(size)]
        chosen[group] = next((color for color in wanted if color not in taken), wanted[0])
    return chosen | ({padding: size} if padding in chosen else {})


def _sides(groups: NDArray[Any]) -> list[NDArray[Any]]:
    """The groups on the six sides: the first and the last layer across N (p, c), C (p, n) and positions (n, c)."""
    layers = [(axis, groups.take(end, axis)) for axis in range(3) for end in (0, -1)]
    return [layer if axis == 2 else layer.T for axis, layer in layers]


def _faces(groups: NDArray[Any]) -> list[tuple[NDArray[Any], tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """The faces of the drawing: their groups, and origin, direction of columns and direction of rows in the plane."""
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
    """Row, first column, end column and color of every run of equal colors along a row."""
    for i, row in enumerate(colors):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for start, end in itertools.pairwise(edges):
            yield i, start, end, int(row[start])


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def _shapes(groups: NDArray[Any], color_of: dict[int, int]) -> list[dict[str, Any]]:
    """The cells, the shade of each face and the lines between the cells, as few paths."""
    paths: dict[int, list[str]] = {}
    lines: list[str] = []
    shades: list[str] = []
    for cells, origin, along, down in _faces(groups):
        rows, columns = cells.shape

        def at(i: float, j: float, o: Any = origin, u: Any = along, v: Any = down) -> tuple[float, float]:
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
    groups: NDArray[Any], names: Sequence[str], sizes: Sequence[int], padding: int | None = None, said: str = link.SAID
) -> go.Figure:
    """A drawing of a block of cells, one color for the cells that share one statistic; the board can turn it.

    Args:
        groups: (n, c, p) number of the statistic of each cell shown; p = 1 draws a flat sheet.
        names: the names of the three axes, as ("N", "C", "H, W"); the last is not used on a sheet.
        sizes: the sizes of the three axes of the whole tensor.
        padding: the number of the cells that belong to no statistic; they are gray.
        said: what pointing at one of these says.

    Returns:
        A figure of flat paths, no WebGL: three visible faces with N going back, C to the right and the third axis down.
        Its link holds the groups on all six sides.

    Raises:
        ValueError: not three axes, an empty one, or one with more than 16 cells.

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
        "said": said,
        "ids": link.typed(link.whole(np.array(list(color_of)))),
        "colors": link.typed(np.array(list(color_of.values()), dtype=np.uint8)),
    }
    if p == 1:
        ((cells, origin, along, down),) = _faces(groups)
        spec["faces"] = [link.face(n, c, cells, origin, along, down)]
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
