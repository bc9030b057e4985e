"""Measurement of invariance: which changes of input or weights leave the output of each method unchanged.

The matrix has one row per method and one column per change. Each cell compares the outputs before and after the change
and explains the result. `invariance.setting` defines y = norm(W x); `invariance.reasons` derives the explanations.
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
    """Result of one change.

    Attributes:
        change: relative change of the output, ‖after - before‖ / ‖before‖; NaN if the method refuses.
        unchanged: whether the relative change is below SAME.
        expected: whether the theory predicts an unchanged output, from the facts of the row and the column.
        before: (rows, columns) the output before: samples as rows, channels as columns.
        after: (rows, columns) the output after, in the same order.
        why: the change and the reason for the result, in two or three sentences.
        refused: error message if the method rejects the changed input, else "".
    """

    change: float
    unchanged: bool
    expected: bool
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    why: str
    refused: str = ""


def matrix(layout: str, seed: int = 0, delta: float = DELTA) -> tuple[tuple[Cell, ...], ...]:
    """Measure all cells of `rows(layout)` by `columns(layout)`; the arguments are those of `measure`."""
    _check(delta)
    world = make_world(layout, seed)
    known = [(row, facts(row, world)) for row in rows(layout)]
    return tuple(tuple(_measure(row, column, world, delta, of) for column in columns(layout)) for row, of in known)


def measure(row: Row, column: Column, seed: int = 0, delta: float = DELTA) -> Cell:
    """Apply one change and compare the outputs.

    Args:
        row: the method.
        column: the change, one of `columns` for the row's layout.
        seed: seed of data and weights.
        delta: size of the change: the factor or the number that is added.

    Returns:
        The relative change, both outputs, and the reason.

    Raises:
        ValueError: if delta is 1 or not above 0, or if the layout does not allow the change.
    """
    _check(delta)
    if column not in columns(row.layout):
        raise ValueError(f"inputs ({', '.join(row.layout.upper())}) have no positions to shift: choose another change")
    world = make_world(row.layout, seed)
    return _measure(row, column, world, delta, facts(row, world))


def _measure(row: Row, column: Column, world: World, delta: float, known: Facts) -> Cell:
    def y(weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
        return output(row, world, weight, x, wrap)  # (N, 6, ...) or (N, T, 6)

    try:
        before, after = column.change(y, world, delta)
    except ValueError as error:
        whole = _mosaic(y(world.weight, world.x), row.layout)
        why = f"{describe(row, column, delta)} The method refuses this input: {error}."
        return Cell(math.nan, False, False, whole, whole, why, str(error))
    change = relative(before, after)
    expected, reason = predict(row, column, known)
    why = f"{describe(row, column, delta)} {reason}"
    return Cell(change, change < SAME, expected, _mosaic(before, row.layout), _mosaic(after, row.layout), why)


def _check(delta: float) -> None:
    if not 0 < delta < math.inf or delta == 1:
        raise ValueError(f"the size of the change must be above 0 and not 1; received {delta:g}: choose 2, say")


def _mosaic(y: Tensor, layout: str) -> NDArray[np.float32]:
    """Arrange an output as one image: samples (and tokens) as rows, channels or their feature maps as columns."""
    return np.array(rearrange(y, MOSAIC[layout]).float().numpy())
