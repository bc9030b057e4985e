"""Metadata that links the figures of a board: grids of cells, group indices and encoded arrays.

A figure carries `layout.meta.link`. Its `kind` is "cells" (one or more grids of cells, `faces`, each placed in the
plane by an origin and two edge vectors), "bars" (a histogram per group) or "choices" (rows that can be clicked).
Figures with the same `space` show the same cells: a cell under the pointer is marked in all of them. Instead of faces,
a cube has a `block`: its sizes, the names of its axes and the groups on its six sides, which the browser places as the
cube is turned. Cells whose group is `padding` belong to no statistic; `said` is their label in the readout.
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
MOST_16_BIT = 64 * 64  # up to this many values get 16 bits each, more get 8
PADDING = "#A3A29E"  # gray of cells that belong to no group, visible on light and dark pages
HATCH = "rgba(29,39,51,0.45)"
PADDING_LABEL = "padding: not counted"


@dataclass(frozen=True)
class Quantized:
    """Numbers as integer levels: value = start + step · level."""

    levels: NDArray[Any]
    start: float
    step: float

    def at(self, value: float) -> float:
        """Returns the level of a value, not rounded."""
        return (value - self.start) / self.step

    def values(self) -> NDArray[np.float64]:
        """Returns the numbers that the levels represent."""
        return self.start + self.step * self.levels.astype(np.float64)


def quantize(values: NDArray[Any], bits: Literal[8, 16] | None = None) -> Quantized:
    """Quantizes numbers to unsigned integers between their minimum and maximum.

    Args:
        values: (...) finite numbers.
        bits: 8 or 16; by default 16 for at most 64·64 values.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    values = finite(values).astype(np.float64)
    dtype = np.uint16 if (bits or (16 if values.size <= MOST_16_BIT else 8)) == 16 else np.uint8
    low, high = float(values.min()), float(values.max())
    step = (high - low) / np.iinfo(dtype).max or 1.0
    return Quantized(np.rint((values - low) / step).astype(dtype), low, step)


def smallest_unsigned(values: NDArray[Any]) -> NDArray[Any]:
    """Converts integers from 0 to the smallest unsigned type that holds them."""
    values = np.asarray(values)
    largest = int(values.max(initial=0))
    dtype = np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.uint32
    return values.astype(dtype)


def encode(array: NDArray[Any]) -> dict[str, Any]:
    """Encodes an array as base64 bytes, with its shape and Plotly's name of its type."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    names = {"|u1": "u1", "<u2": "u2", "<u4": "u4", "<f4": "f4"}
    return {
        "dtype": names[little.dtype.str],
        "bdata": base64.b64encode(little.tobytes()).decode("ascii"),
        "shape": list(array.shape),
    }


def group_matrix(groups: NDArray[Any]) -> int | dict[str, Any]:
    """Compresses a matrix of group indices to one number, or to its distinct rows and columns.

    Groups are made of whole rows, columns or blocks, so there are few distinct rows and columns:
    groups[i, j] = core[rows[i], columns[j]].

    Args:
        groups: (rows, columns) group indices, at least 0.

    Raises:
        ValueError: if a group index is negative.
    """
    if groups.min() < 0:
        raise ValueError(f"group indices start at 0; received {int(groups.min())}")
    if (groups == groups[0, 0]).all():
        return int(groups[0, 0])
    distinct, row_of = np.unique(groups, axis=0, return_inverse=True)  # (R, columns), (rows,)
    core, column_of = np.unique(distinct, axis=1, return_inverse=True)  # (R, S), (columns,)
    return {
        "core": encode(smallest_unsigned(core)),
        "rows": encode(smallest_unsigned(row_of.ravel())),
        "columns": encode(smallest_unsigned(column_of.ravel())),
    }


def cell_grid(
    rows: int,
    columns: int,
    groups: NDArray[Any] | int | None = None,
    origin: Sequence[float] = (-0.5, -0.5),
    column_step: Sequence[float] = (1, 0),
    row_step: Sequence[float] = (0, 1),
) -> dict[str, Any]:
    """Describes a grid of cells in the plane: cell (i, j) starts at origin + j · column_step + i · row_step.

    Args:
        rows: number of rows.
        columns: number of columns.
        groups: (rows, columns) group index of each cell, or one index for all.
        origin: the corner of cell (0, 0).
        column_step: vector from a cell to the next one in its row.
        row_step: vector from a cell to the next one in its column.

    Raises:
        ValueError: if the groups have another shape than (rows, columns).
    """
    packed: int | dict[str, Any] | None = None
    if np.ndim(groups):  # type: ignore[arg-type]
        groups = np.asarray(groups)
        if groups.shape != (rows, columns):
            raise ValueError(
                f"the groups must have the shape ({rows}, {columns}) of the cells; received {groups.shape}"
            )
        packed = group_matrix(groups)
    elif groups is not None:
        packed = int(groups)
    return {
        "rows": rows, "columns": columns, "groups": packed,
        "origin": list(origin), "along": list(column_step), "down": list(row_step),
    }  # fmt: skip
