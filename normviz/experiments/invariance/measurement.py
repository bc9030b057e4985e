"""What can be changed without the output noticing: each method, each change, measured on the spot.

`rows` are the methods and `columns` the changes; every cell compares the two outputs, and says why they are alike or
not. The setting is y = norm(W x), see `invariance_setting`; the reasons are derived in `invariance_reasons`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from normviz.experiments.invariance.reasons import SAME, Facts, describe, facts, predict, relative
from normviz.experiments.invariance.setting import COLUMNS, Column, Row, World, columns, make_world, output, rows

__all__ = ["COLUMNS", "DELTA", "SAME", "Cell", "Column", "Row", "columns", "matrix", "measure", "rows"]

DELTA = 2.5
MOSAIC = {"nc": "n c -> n c", "ntd": "n t d -> (n t) d", "nchw": "n c h w -> (n h) (c w)"}


@dataclass(frozen=True)
class Cell:
    """What came out of one change.

    Attributes:
        change: the length of the difference of the outputs over the length of the output before; NaN if refused.
        unchanged: whether that is below SAME.
        expected: whether it should be, derived from the facts of the row and what the column changes.
        before: (rows, columns) the output before: cases below each other, channels side by side.
        after: (rows, columns) the output after, in the same order.
        why: what was done and why the outputs are alike or not, in two or three sentences.
        refused: what the method says where it does not take the changed input, else "".
    """

    change: float
    unchanged: bool
    expected: bool
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    why: str
    refused: str = ""


def matrix(layout: str, seed: int = 0, delta: float = DELTA) -> tuple[tuple[Cell, ...], ...]:
    """Every cell of `rows(layout)` by `columns(layout)`; the arguments are those of `measure`."""
    _check(delta)
    world = make_world(layout, seed)
    known = [(row, facts(row, world)) for row in rows(layout)]
    return tuple(tuple(_measure(row, column, world, delta, of) for column in columns(layout)) for row, of in known)


def measure(row: Row, column: Column, seed: int = 0, delta: float = DELTA) -> Cell:
    """Change one thing and compare the outputs.

    Args:
        row: the method.
        column: the change, one of `columns` for the row's layout.
        seed: of data and weights.
        delta: the size of the change: the factor, or what is added.

    Returns:
        The relative change, both outputs, and why.

    Raises:
        ValueError: a delta that changes nothing or is not above 0, or a change that the layout does not allow.
    """
    _check(delta)
    if column not in columns(row.layout):
        raise ValueError(f"inputs ({', '.join(row.layout.upper())}) have no positions to move: choose another change")
    world = make_world(row.layout, seed)
    return _measure(row, column, world, delta, facts(row, world))


def _measure(row: Row, column: Column, world: World, delta: float, known: Facts) -> Cell:
    def y(weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
        return output(row, world, weight, x, wrap)  # (N, 6, ...) or (N, T, 6)

    try:
        before, after = column.change(y, world, delta)
    except ValueError as error:
        whole = _mosaic(y(world.weight, world.x), row.layout)
        why = f"{describe(row, column, delta)} The method refuses that: {error}."
        return Cell(math.nan, False, False, whole, whole, why, str(error))
    change = relative(before, after)
    expected, reason = predict(row, column, known)
    why = f"{describe(row, column, delta)} {reason}"
    return Cell(change, change < SAME, expected, _mosaic(before, row.layout), _mosaic(after, row.layout), why)


def _check(delta: float) -> None:
    if not 0 < delta < math.inf or delta == 1:
        raise ValueError(f"the size of the change must be above 0 and not 1; received {delta:g}: choose 2, say")


def _mosaic(y: Tensor, layout: str) -> NDArray[np.float32]:
    """An output as one picture: cases (and tokens) below each other, channels, each with its map, side by side."""
    return np.array(rearrange(y, MOSAIC[layout]).float().numpy())
