"""The readout under the pictures: a normalization's formula with the numbers of the cell under the pointer.

A template is MathML in which `<mn data-term="x">` (or mu, var, eps, gamma, beta, y) is a place for a number; the board
fills it. A term that is pointed at lights up in the symbols, in the numbers and in the panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from normviz.figures import link

SYMBOLS = {"x": "x", "mu": "μ", "var": "σ²", "ms": "mean x²", "eps": "ε", "gamma": "γ", "beta": "β", "y": "y"}


@dataclass(frozen=True)
class GroupStatistics:
    """One row per statistic: mean and standard deviation before and after, and what the formula subtracts and divides.

    Attributes:
        ids: (G,) the numbers of the statistics, as in the figures.
        labels: G short names, as "n 3, group 2".
        mean_before, std_before, mean_after, std_after: (G,) numbers.
        centre: (G,) what is subtracted; by default mean_before (inference subtracts the running mean).
        spread: (G,) what stands under the root beside ε; by default std_before² (RMS: the mean square).
        total: how many statistics there are, where not all are given.
    """

    ids: NDArray[Any]
    labels: Sequence[str]
    mean_before: NDArray[Any]
    std_before: NDArray[Any]
    mean_after: NDArray[Any]
    std_after: NDArray[Any]
    centre: NDArray[Any] | None = None
    spread: NDArray[Any] | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        size = len(self.ids)
        columns = (self.labels, self.mean_before, self.std_before, self.mean_after, self.std_after)
        lengths = [len(column) for column in (*columns, self.centre, self.spread) if column is not None]
        if any(length != size for length in lengths):
            raise ValueError(f"every column of the statistics needs {size} rows, as many as ids; received {lengths}")


@dataclass(frozen=True)
class Readout:
    """What the board writes under its panels.

    Attributes:
        kind: "normalization" (a formula and a table of statistics) or "map" (position, value, share).
        symbols, numbers: the formula in MathML, once with letters and once with places for numbers.
        eps: ε.
        gamma, beta: one number each, or an array that broadcasts to the slice's (rows, columns).
        statistics: the groups' numbers.
        unit: what a map's values are counted in.
        title: a line above the numbers.
    """

    kind: Literal["normalization", "map"]
    symbols: str = ""
    numbers: str = ""
    eps: float = 0.0
    gamma: NDArray[Any] | float = 1.0
    beta: NDArray[Any] | float = 0.0
    statistics: GroupStatistics | None = None
    unit: str = ""
    title: str = ""


def _template(centred: bool, scaled: bool, shifted: bool, numbers: bool) -> str:
    """MathML of y = γ (x − μ)/√(σ² + ε) + β with or without its parts, in letters or with places for numbers."""
    spread = "var" if centred else "ms"

    def term(name: str) -> str:
        place = "var" if name == "ms" else name
        if numbers:
            return f'<mn data-term="{place}"></mn>'
        letters = {
            "var": "<msup><mi>σ</mi><mn>2</mn></msup>",
            "ms": "<mrow><mi>mean</mi><mo>(</mo><msup><mi>x</mi><mn>2</mn></msup><mo>)</mo></mrow>",
        }
        return f'<mrow data-term="{place}">{letters.get(name, f"<mi>{SYMBOLS[name]}</mi>")}</mrow>'

    top = f"<mrow>{term('x')}<mo>−</mo>{term('mu')}</mrow>" if centred else term("x")
    right = f"<mfrac>{top}<msqrt>{term(spread)}<mo>+</mo>{term('eps')}</msqrt></mfrac>"
    if scaled:
        right = f"{term('gamma')}<mo>{'·' if numbers else '&#8290;'}</mo>{right}"
    if shifted:
        right = f"{right}<mo>+</mo>{term('beta')}"
    left, end = ("", f"<mo>=</mo>{term('y')}") if numbers else (term("y"), "")
    return f'<math display="block"><mrow>{left}<mo>=</mo>{right}{end}</mrow></math>'


def normalization(
    statistics: GroupStatistics,
    eps: float,
    gamma: NDArray[Any] | float = 1.0,
    beta: NDArray[Any] | float = 0.0,
    title: str = "",
    centred: bool = True,
    shifted: bool = True,
) -> Readout:
    """The readout of a normalization: y = γ (x − μ)/√(σ² + ε) + β, or without μ, or without β.

    Args:
        statistics: the numbers of the groups that the panels show.
        eps: ε, inside the root.
        gamma: one number, or an array that broadcasts to the slice's (rows, columns).
        beta: the same.
        title: a line above the formula, as "16 statistics over N, H, W".
        centred: whether a mean is subtracted; else the root holds the mean square.
        shifted: whether β is added.
    """
    symbols, numbers = (_template(centred, True, shifted, numbers) for numbers in (False, True))
    return Readout("normalization", symbols, numbers, eps, gamma, beta, statistics, "", title)


def attribution(unit: str = "", title: str = "") -> Readout:
    """The readout of a map: row and column, value with its unit, and share of all positive evidence."""
    return Readout("map", unit=unit, title=title)


def _numbers(values: NDArray[Any]) -> dict[str, Any]:
    """A column for the browser: 32-bit floats, or, if it is long, 16-bit levels."""
    values = np.asarray(values, dtype=np.float64)
    if values.size <= 256:
        return link.typed(values.astype(np.float32))
    levels = link.quantise(values, bits=16)
    return link.typed(levels.levels) | {"start": levels.start, "step": levels.step}


def payload(readout: Readout) -> dict[str, Any]:
    """The readout as plain JSON values."""
    packed: dict[str, Any] = {
        "kind": readout.kind, "symbols": readout.symbols, "numbers": readout.numbers, "eps": readout.eps,
        "unit": readout.unit, "title": readout.title,
    }  # fmt: skip
    for name in ("gamma", "beta"):
        value = np.atleast_2d(np.asarray(getattr(readout, name)))  # (rows or 1, columns or 1)
        packed[name] = float(value[0, 0]) if value.size == 1 else _numbers(value)
    table = readout.statistics
    if table is not None:
        packed["statistics"] = {
            "ids": link.typed(link.whole(np.asarray(table.ids))),
            "labels": list(table.labels)[:64],
            "total": table.total or len(table.ids),
            "mean_before": _numbers(table.mean_before), "std_before": _numbers(table.std_before),
            "mean_after": _numbers(table.mean_after), "std_after": _numbers(table.std_after),
        }  # fmt: skip
        for name in ("centre", "spread"):
            if (values := getattr(table, name)) is not None:
                packed["statistics"][name] = _numbers(values)
    return packed
