"""The readout below the panels: the formula of a normalization with the numbers of the cell under the pointer.

A template is MathML. The board puts the numbers into its elements `<mn data-term="x">` (or mu, var, eps, gamma, beta,
y). A term under the pointer is highlighted in the symbols, in the numbers and in the panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from normviz.figures import link
from normviz.registry import Center, Scale

_X, _GAP = "<mi>x</mi>", '<mspace width=".2em"/>'
_SIZE = f"<mrow><mo>|</mo>{_X}<mo>|</mo></mrow>"
# Symbols of the center and of the scale; std and rms are under a square root, together with ε.
CENTERS: dict[Center, str] = {
    "mean": "<mi>μ</mi>",
    "min": f"<mi>min</mi>{_GAP}{_X}",
    "median": f"<mi>median</mi>{_GAP}{_X}",
}
SCALES: dict[Scale, str] = {
    "std": "<msup><mi>σ</mi><mn>2</mn></msup>",
    "rms": f"<mi>mean</mi><mo>(</mo><msup>{_X}<mn>2</mn></msup><mo>)</mo>",
    "norm": f"<msub><mrow><mo>‖</mo>{_X}<mo>‖</mo></mrow><mn>2</mn></msub>",
    "power": f"<msup><mrow><mo>(</mo><mi>mean</mi>{_GAP}<msup>{_SIZE}<mi>p</mi></msup><mo>)</mo></mrow>"
    "<mrow><mn>1</mn><mo>/</mo><mi>p</mi></mrow></msup>",
    "largest": f"<mi>max</mi>{_GAP}{_SIZE}",
    "range": f"<mi>max</mi>{_GAP}{_X}<mo>−</mo><mi>min</mi>{_GAP}{_X}",
    "iqr": "<msub><mi>Q</mi><mn>3</mn></msub><mo>−</mo><msub><mi>Q</mi><mn>1</mn></msub>",
}
ROOTS = ("std", "rms")


@dataclass(frozen=True)
class GroupStatistics:
    """Statistics of the groups: means and standard deviations before and after, and the terms of the formula.

    Attributes:
        ids: (G,) indices of the groups, as in the figures.
        labels: G short names, as "n 3, group 2".
        mean_before, std_before, mean_after, std_after: (G,) statistics before and after.
        center: (G,) values that are subtracted; by default mean_before. Batch norm in inference subtracts the
            running mean.
        spread: (G,) the term added to ε under the square root (by default std_before²; RMS: the mean square), or the
            divisor.
        total: number of groups, if only some of them are given.
    """

    ids: NDArray[Any]
    labels: Sequence[str]
    mean_before: NDArray[Any]
    std_before: NDArray[Any]
    mean_after: NDArray[Any]
    std_after: NDArray[Any]
    center: NDArray[Any] | None = None
    spread: NDArray[Any] | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        size = len(self.ids)
        columns = (self.labels, self.mean_before, self.std_before, self.mean_after, self.std_after)
        lengths = [len(column) for column in (*columns, self.center, self.spread) if column is not None]
        if any(length != size for length in lengths):
            raise ValueError(f"all columns of the statistics must have {size} rows, like ids; received {lengths}")


@dataclass(frozen=True)
class Readout:
    """Content of the readout below the panels.

    Attributes:
        kind: "normalization" (a formula and a table of statistics) or "map" (position, value, share).
        symbols, numbers: the formula in MathML, with symbols and with placeholders for numbers.
        eps: ε.
        gamma, beta: a number, or an array that broadcasts to (rows, columns) of the slice.
        statistics: statistics of the groups.
        unit: unit of the values of a map.
        title: a line above the numbers.
        cell: (row, column) of the cell that is pinned when the page opens; a new value moves the pin.
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
    cell: tuple[int, int] | None = None


def _template(center: Center, scale: Scale, scaled: bool, shifted: bool, power: float, numbers: bool) -> str:
    """Returns y = γ (x − center)/scale + β as MathML, with symbols or with placeholders for numbers."""

    def term(name: str, symbol: str) -> str:
        return f'<mn data-term="{name}"></mn>' if numbers else f'<mrow data-term="{name}">{symbol}</mrow>'

    x, y = term("x", _X), term("y", "<mi>y</mi>")
    right = f"<mrow>{x}<mo>−</mo>{term('mu', CENTERS[center])}</mrow>" if center else x
    if scale:
        divisor = term("var", SCALES[scale])
        if scale in ROOTS:
            divisor = f"<msqrt>{divisor}<mo>+</mo>{term('eps', '<mi>ε</mi>')}</msqrt>"
        right = f"<mfrac>{right}{divisor}</mfrac>"
    elif center and scaled:
        right = f"<mrow><mo>(</mo>{right}<mo>)</mo></mrow>"
    if not center and not scale:
        right = f"<mi>f</mi><mo>(</mo>{x}<mo>)</mo>"
    else:
        right = f"{term('gamma', '<mi>γ</mi>')}<mo>{'·' if numbers else '&#8290;'}</mo>{right}" if scaled else right
        right = f"{right}<mo>+</mo>{term('beta', '<mi>β</mi>')}" if shifted else right
    left, end = ("", f"<mo>=</mo>{y}") if numbers else (y, "")
    if scale == "power" and not numbers:
        end = f'<mo>,</mo><mspace width="1em"/><mi>p</mi><mo>=</mo><mn>{power:g}</mn>'
    return f'<math display="block"><mrow>{left}<mo>=</mo>{right}{end}</mrow></math>'


def normalization(
    statistics: GroupStatistics | None,
    eps: float,
    gamma: NDArray[Any] | float = 1.0,
    beta: NDArray[Any] | float = 0.0,
    title: str = "",
    center: Center = "mean",
    scale: Scale = "std",
    shifted: bool = True,
    cell: tuple[int, int] | None = None,
    power: float = 2.0,
    scaled: bool = True,
) -> Readout:
    """Returns the readout of a normalization: y = γ (x − center)/scale + β, or y = f(x) without center and scale.

    Args:
        statistics: statistics of the groups in the panels; None if there are none.
        eps: ε, under the square root of "std" and "rms"; not shown for other scales.
        gamma: γ, a number or an array that broadcasts to (rows, columns) of the slice; always shown if it is not 1.
        beta: β, likewise; always shown if it is not 0.
        title: a line above the formula, as "16 statistics over N, H, W".
        center: the subtracted statistic of the group: "mean", "min", "median", or "" for none.
        scale: the divisor: "std" √(σ² + ε), "rms" √(mean x² + ε), "norm" ‖x‖₂, "power" (mean |x|^p)^(1/p),
            "largest" max |x|, "range" max x − min x, "iqr" Q₃ − Q₁, or "" for none.
        shifted: whether the method adds β.
        cell: (row, column) of the cell that is pinned when the page opens.
        power: p, if `scale` is "power".
        scaled: whether the method multiplies by γ.

    Raises:
        ValueError: if the center or the scale is unknown, or the statistics lack its column.
    """
    for word, known, value in (("center", [*CENTERS], center), ("scale", [*SCALES], scale)):
        if value and value not in known:
            raise ValueError(f"{word} must be one of {', '.join(known)}, or empty; received {value!r}")
    for column, value, usual in (("center", center, "mean"), ("spread", scale, "std")):
        if value not in ("", usual) and (statistics is None or getattr(statistics, column) is None):
            raise ValueError(f"{value!r} needs the column {column!r} of the statistics; received none")
    parts = scaled or bool(np.any(np.asarray(gamma) != 1)), shifted or bool(np.any(np.asarray(beta) != 0))
    symbols, numbers = (_template(center, scale, *parts, power, numbers) for numbers in (False, True))
    return Readout("normalization", symbols, numbers, eps, gamma, beta, statistics, "", title, cell)


def attribution(unit: str = "", title: str = "") -> Readout:
    """Returns the readout of a map: row and column, value with its unit, and share of the positive evidence."""
    return Readout("map", unit=unit, title=title)


def _encode_numbers(values: NDArray[Any]) -> dict[str, Any]:
    """Encodes numbers for the browser: as 32-bit floats, or as 16-bit levels if there are more than 256."""
    values = np.asarray(values, dtype=np.float64)
    if values.size <= 256:
        return link.encode(values.astype(np.float32))
    levels = link.quantize(values, bits=16)
    return link.encode(levels.levels) | {"start": levels.start, "step": levels.step}


def payload(readout: Readout) -> dict[str, Any]:
    """Returns the readout as JSON values."""
    packed: dict[str, Any] = {
        "kind": readout.kind, "symbols": readout.symbols, "numbers": readout.numbers, "eps": readout.eps,
        "unit": readout.unit, "title": readout.title, "cell": list(readout.cell) if readout.cell else None,
    }  # fmt: skip
    for name in ("gamma", "beta"):
        value = np.atleast_2d(np.asarray(getattr(readout, name)))  # (rows or 1, columns or 1)
        packed[name] = float(value[0, 0]) if value.size == 1 else _encode_numbers(value)
    table = readout.statistics
    if table is not None:
        packed["statistics"] = {
            "ids": link.encode(link.smallest_unsigned(np.asarray(table.ids))),
            "labels": list(table.labels)[:64],
            "total": len(table.ids) if table.total is None else table.total,
            "mean_before": _encode_numbers(table.mean_before), "std_before": _encode_numbers(table.std_before),
            "mean_after": _encode_numbers(table.mean_after), "std_after": _encode_numbers(table.std_after),
        }  # fmt: skip
        for name in ("center", "spread"):
            if (values := getattr(table, name)) is not None:
                packed["statistics"][name] = _encode_numbers(values)
    return packed
