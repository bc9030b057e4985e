"""What a figure tells the board, so that panels light up together: faces of cells, groups and typed numbers.

A figure carries `layout.meta.link`. Its `kind` is "cells" (one or more faces, each a grid of cells placed in the
plane by an origin and two edge vectors), "bars" (a histogram per group) or "choices" (rows that can be clicked).
Cells in figures of one `space` lie at the same place: a cell under the pointer is marked in all of them. Instead of
faces a cube has a `block`: its sizes, its axes' names and the groups on its six sides, which the browser places as the
cube is turned. Cells whose group is the link's `padding` belong to no statistic; pointing at one says what `said` is.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from normviz.figures.style import finite

Role = Literal["before", "after", "map", "photo", "overlay", "cube"]
FINE = 64 * 64  # values: up to here 16 bits each, beyond it 8
PADDING = "#A3A29E"  # cells that are not counted: a gray that is no group's and stands out on light and on dark
HATCH = "rgba(29,39,51,0.45)"
SAID = "padding: not counted"


@dataclass(frozen=True)
class Levels:
    """Numbers as whole levels: value = start + step · level."""

    levels: NDArray[Any]
    start: float
    step: float

    def at(self, value: float) -> float:
        """The level, not rounded, of a value."""
        return (value - self.start) / self.step

    def values(self) -> NDArray[np.float64]:
        """The numbers that the levels stand for."""
        return self.start + self.step * self.levels.astype(np.float64)


def quantize(values: NDArray[Any], bits: Literal[8, 16] | None = None) -> Levels:
    """Numbers as unsigned levels between their least and their greatest.

    Args:
        values: (...) finite numbers.
        bits: 8 or 16; by default 16 for at most 64·64 values.

    Raises:
        ValueError: NaN or infinity among the values.
    """
    values = finite(values).astype(np.float64)
    kind = np.uint16 if (bits or (16 if values.size <= FINE else 8)) == 16 else np.uint8
    low, high = float(values.min()), float(values.max())
    step = (high - low) / np.iinfo(kind).max or 1.0
    return Levels(np.rint((values - low) / step).astype(kind), low, step)


def whole(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers from 0 in the smallest unsigned type that holds them."""
    values = np.asarray(values)
    largest = int(values.max(initial=0))
    kind = np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.uint32
    return values.astype(kind)


def typed(array: NDArray[Any]) -> dict[str, Any]:
    """An array as its bytes in base64, with Plotly's name of its type and its shape."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    names = {"|u1": "u1", "<u2": "u2", "<u4": "u4", "<f4": "f4"}
    return {
        "dtype": names[little.dtype.str],
        "bdata": base64.b64encode(little.tobytes()).decode("ascii"),
        "shape": list(array.shape),
    }


def group_matrix(groups: NDArray[Any]) -> int | dict[str, Any]:
    """A matrix of group numbers, written short: one number, or a core and which of its rows and columns stand where.

    Shared axes make groups of rows, of columns or of blocks, so the distinct rows and columns are few:
    groups[i, j] = core[rows[i], columns[j]].

    Args:
        groups: (rows, columns) group numbers, at least 0.

    Raises:
        ValueError: a negative group number.
    """
    if groups.min() < 0:
        raise ValueError(f"group numbers start at 0; received {int(groups.min())}")
    if (groups == groups[0, 0]).all():
        return int(groups[0, 0])
    distinct, row_of = np.unique(groups, axis=0, return_inverse=True)  # (R, columns), (rows,)
    core, column_of = np.unique(distinct, axis=1, return_inverse=True)  # (R, S), (columns,)
    return {
        "core": typed(whole(core)),
        "rows": typed(whole(row_of.ravel())),
        "columns": typed(whole(column_of.ravel())),
    }


def face(
    rows: int,
    columns: int,
    groups: NDArray[Any] | int | None = None,
    origin: Sequence[float] = (-0.5, -0.5),
    along: Sequence[float] = (1, 0),
    down: Sequence[float] = (0, 1),
) -> dict[str, Any]:
    """A grid of cells in the plane of a figure: cell (i, j) starts at origin + j · along + i · down."""
    placed: int | dict[str, Any] | None = None
    if np.ndim(groups):  # type: ignore[arg-type]
        groups = np.asarray(groups)
        if groups.shape != (rows, columns):
            raise ValueError(
                f"the groups must have the shape ({rows}, {columns}) of the cells; received {groups.shape}"
            )
        placed = group_matrix(groups)
    elif groups is not None:
        placed = int(groups)
    return {
        "rows": rows, "columns": columns, "groups": placed,
        "origin": list(origin), "along": list(along), "down": list(down),
    }  # fmt: skip
