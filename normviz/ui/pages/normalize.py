"""The formula with numbers on the page Normalize, and the choice of a slice and a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from torch import Tensor

from normviz.figures import formula
from normviz.normalization.analysis.view import View, block_cells
from normviz.normalization.patterns import describe_axes
from normviz.registry import Normalization, Value
from normviz.ui.inputs.source import Source
from normviz.ui.kit import url_widgets

SLICE = {"example": "Sample", "channel": "Channel", "slice": "Depth"}  # axes before the last two: URL keys and labels


@dataclass(frozen=True)
class Affine:
    """The scale and shift after a normalization.

    Attributes:
        gamma: a number, or an array that broadcasts to the slice (rows, columns).
        beta: the same.
        sides: the other inputs of the method, by argument name.
    """

    gamma: float | NDArray[np.float32] = 1.0
    beta: float | NDArray[np.float32] = 0.0
    sides: dict[str, Tensor] = field(default_factory=dict)

    @property
    def scalars(self) -> tuple[float, float]:
        """Gamma and beta for `apply`; 1 and 0 if the other inputs contain them."""
        gamma, beta = (value if isinstance(value, float) else None for value in (self.gamma, self.beta))
        return (1.0 if gamma is None else gamma), (0.0 if beta is None else beta)

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies these values in a cache key."""
        return tuple(v if isinstance(v, float) else v.tobytes() for v in (self.gamma, self.beta)) + tuple(self.sides)


def readout(
    method: Normalization, result: View, settings: dict[str, Value], affine: Affine, pinned: bool
) -> formula.Readout:
    """The formula with the numbers of the chosen cell, and the table of statistics."""
    rows = result.rows
    table = formula.GroupStatistics(
        rows.ids, rows.labels, rows.mean_before, rows.std_before, rows.mean_after, rows.std_after, rows.center,
        rows.spread, max(result.total, 1),
    )  # fmt: skip
    what = "No groups: the inputs of the cell are colored"
    if result.pattern:
        shared = describe_axes(result.pattern)
        what = f"{result.total:,} statistics, {shared}" if result.live else f"{result.total:,} stored statistics"
    gamma, beta = affine.gamma, affine.beta
    fits = not isinstance(gamma, float) or not math.isnan(result.gain)
    if isinstance(gamma, float) and isinstance(beta, float) and fits:  # a method with its own gain: min-max, scale norm
        own = abs(result.gain - gamma) > 1e-3 * abs(gamma) + 1e-6 or abs(result.offset - beta) > 1e-3 * abs(beta) + 1e-4
        gamma, beta = (result.gain, result.offset) if own else (gamma, beta)
    return formula.normalization(
        table, float(settings.get("eps", 0.0)), gamma, beta, what,
        center=method.center if fits else "", scale=method.scale if fits else "",
        shifted=method.takes("bias") or bool(np.any(beta)), scaled=method.takes("weight"),
        cell=result.cell if pinned else None, power=float(settings.get("p", 2.0)),
    )  # fmt: skip


def place(chosen: Source) -> tuple[tuple[int, ...], bool, str]:
    """Draw the widgets for the slice and the cell; its index, whether it was chosen, and the slice in words."""
    index: list[int] = []
    words = []
    for name, size in zip(SLICE, chosen.x.shape[:-2], strict=False):
        index.append(url_widgets.slider(SLICE[name], 0, size - 1, 0, name) if size > 1 else 0)
        label = chosen.names[index[0]] if name == "example" and chosen.names[0] != "0" else str(index[-1])
        words.append(f"{SLICE[name].lower()} {label}" if label.isdigit() else label)
    rows, columns = chosen.layout[-2:].upper(), chosen.x.shape[-2:]
    text = url_widgets.text_field(
        f"Cell ({rows[0]}, {rows[1]})",
        "",
        "cell",
        limit=20,
        help="The row and column in the slice, such as 3, 5; or click a cell.",
    )
    parts = text.split(",") if text.strip() else ["0", "0"]
    cell = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(cell) != 2 or not all(0 <= part < size for part, size in zip(cell, columns, strict=True)):
        raise ValueError(
            f"a cell must be a row from 0 to {columns[0] - 1} and a column from 0 to {columns[1] - 1}, such as 0, 0; "
            f"received {text!r}"
        )
    return (*index, *cell), bool(text.strip()), ", ".join(words) or "all values"


def clicked(what: str, chosen: Source, around: tuple[int, ...] | None) -> None:
    """Select the clicked cell: "slice:ROW,COLUMN", or "cube:" with an index into the block around a cell."""
    kind, _, numbers = what.partition(":")
    index = [int(number) for number in numbers.split(",")] if numbers else []
    if kind == "cube" and index:
        index = block_cells(chosen.x.shape, chosen.layout, around)[tuple(index)].tolist()
        for name, number in zip(SLICE, index[:-2], strict=False):
            st.session_state[name] = number
    st.session_state["cell"] = ", ".join(map(str, index[-2:]))
