"""Prediction of whether a change leaves the output unchanged, and the reason as a sentence.

A change multiplies values of W x by a factor, adds a number to them, reorders the batch, changes other samples of the
batch, or shifts positions. Whether the output changes follows from two facts measured on the method: whether it
removes a factor or number common to all values, and along which axes its values depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.experiments.invariance.setting import (
    ORDER,
    OUTLIER,
    Column,
    Row,
    World,
    first,
    linear,
    moved,
    normalized,
    normalized_weight,
    sides,
)
from normviz.normalization.analysis.receptive_field import reads
from normviz.normalization.patterns import group_index, sizes

SAME = 1e-6  # relative change below which an output counts as unchanged
LETTERS = {"n": "n", "c": "c", "d": "c"}  # axes that are not positions
WORDS = {  # names of the axes in sentences
    "nc": {"channel": "feature", "place": "sample"},
    "ntd": {"channel": "feature", "place": "token"},
    "nchw": {"channel": "channel", "place": "pixel"},
}


@dataclass(frozen=True)
class Facts:
    """Facts measured on a method.

    Attributes:
        coupled: axes along which values depend on each other: n samples, c channels, p positions; for weights
            c rows and j inputs along a row.
        centered: axes along which values share the subtracted statistic.
        factor: whether a common factor of all values leaves the output unchanged.
        number: whether a number added to all values leaves the output unchanged.
        any_order: whether the order of the samples does not matter.
        any_place: whether shifting the input shifts the output by the same amount.
        balanced: whether the normalized weights of each row add up to 0.
    """

    coupled: frozenset[str]
    centered: frozenset[str]
    factor: bool
    number: bool
    any_order: bool = True
    any_place: bool = True
    balanced: bool = False


def relative(before: Tensor, after: Tensor) -> float:
    """Compute ‖after - before‖ / ‖before‖."""
    return float((after - before).norm() / before.norm())


def facts(row: Row, world: World) -> Facts:
    """Measure the facts of a row by running its method on the seeded data."""
    if row.on_weights:
        weight = normalized_weight(row, world.weight)  # (6, ...)
        other = normalized_weight(row, first(world.weight * 2 + 1, world.weight))  # (6, ...)
        coupled = frozenset("j" if relative(weight[1:], other[1:]) < SAME else "cj")
        return Facts(
            coupled,
            coupled,
            relative(weight, normalized_weight(row, world.weight * 2)) < SAME,
            relative(weight, normalized_weight(row, world.weight + 1)) < SAME,
            balanced=bool(weight.flatten(1).sum(1).abs().max() < SAME),
        )
    z, order = linear(row.layout, world.weight, world.x), torch.tensor(ORDER)  # (N, 6, ...) or (N, T, 6); (N,)
    y = normalized(row, world, z)  # shape of z
    coupled = _coupled_axes(row, world, z)
    return Facts(
        coupled,
        coupled if row.pattern else frozenset(axis for axis in coupled if _offset_remains(row, world, z, y, axis)),
        relative(y, normalized(row, world, z * 2)) < SAME,
        relative(y, normalized(row, world, z + 1)) < SAME,
        relative(y, normalized(row, world, z[order])[order.argsort()]) < SAME,
        relative(y, moved(normalized(row, world, moved(z, row.layout, 1)), row.layout, -1)) < SAME,
    )


def _coupled_axes(row: Row, world: World, z: Tensor) -> frozenset[str]:
    """Find the axes along which values share a statistic, from the pattern or from the receptive field."""
    settings = row.all_settings()
    if row.pattern:
        groups = group_index(row.pattern, z.shape, row.layout, (), **sizes(row.method, settings))  # shape of z
        if row.method.batch_order:
            groups = groups[row.method.batch_order(len(z), **settings).argsort()]  # shape of z
        together = groups == groups[(0,) * z.ndim]  # shape of z
    else:
        middle = tuple(size // 2 for size in z.shape)
        together = reads(row.method, z, row.layout, middle, settings, world.running, sides(z))  # shape of z
    spans = zip(row.layout, together.nonzero().unbind(1), strict=True)
    return frozenset(LETTERS.get(letter, "p") for letter, index in spans if index.min() != index.max())


def _offset_remains(row: Row, world: World, z: Tensor, y: Tensor, axis: str) -> bool:
    """Whether adding numbers that differ only along one axis (n, c or p) changes the output."""
    numbers = torch.zeros_like(z)  # shape of z
    for index, letter in enumerate(row.layout):
        if LETTERS.get(letter, "p") == axis:
            along = [-1 if other == index else 1 for other in range(z.ndim)]
            numbers = numbers + torch.arange(z.shape[index]).view(along)  # shape of z
    return relative(y, normalized(row, world, z + numbers)) >= SAME


def describe(row: Row, column: Column, delta: float) -> str:
    """Describe the change and its effect on the values in one sentence."""
    words = WORDS[row.layout] | {"delta": f"{delta:g}", "outlier": f"{OUTLIER * delta:g}"}
    plain = row.on_weights and column.kind in ("factor", "number")
    return f"{column.change_text if plain else f'{column.change_text}: {column.effect}'}.".format_map(words)


def predict(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    """Predict from the facts whether the output stays unchanged, and give the reason in a sentence."""
    if row.on_weights and column.on == "x":
        return _weights_reason(column, known)
    reasons = {
        "factor": _factor_reason,
        "number": _offset_reason,
        "order": _order_reason,
        "batch": _batch_reason,
        "place": _position_reason,
    }
    return reasons[column.kind](row, column, known)


def _weights_reason(column: Column, known: Facts) -> tuple[bool, str]:
    """Predict the effect of a change of the data on a method that normalizes weights."""
    if column.kind == "factor":
        return False, "Only the weights are normalized, so the output is multiplied by the same factor."
    if column.kind == "number" and known.balanced:
        return True, "The normalized weights of each row add up to 0, so a number added to all data cancels."
    if column.kind == "number":
        return False, "The weights of a row do not add up to 0, so a number added to all data changes the output."
    if column.kind == "place":
        return True, "The same weights are used at every position, so the output shifts with the input."
    return True, "The normalization of the weights does not depend on the batch, and samples do not affect each other."


def _factor_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if not known.factor:
        stored = row.method.takes("running_mean") and dict(row.settings).get("training") is not True
        reason = ": some or all of its statistics are stored values" if stored else ""
        return False, f"This method does not remove a factor, not even one common to all values{reason}."
    if mixed := known.coupled & set(column.varies):
        text = f"{_axes_text(row, mixed)} {_coupling_text(row)}, but only some of them are multiplied"
        return False, f"{text[0].upper()}{text[1:]}: the factor does not cancel."
    if not column.varies:
        return True, "All values and their divisor are multiplied by the same factor, so it cancels."
    return True, (
        f"Only {_axes_text(row, known.coupled)} {_coupling_text(row)}. All of these are multiplied by the same "
        "factor, and so is their divisor: the factor cancels."
    )


def _offset_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    center = {"": "mean", "min": "minimum"}.get(row.method.center, row.method.center)
    if not known.number:
        reason = f": it subtracts no {center}" if row.method.scale and not row.method.center else ""
        return False, f"This method does not remove an added number, not even the same number for all values{reason}."
    if mixed := known.centered & set(column.varies):
        over = f"{_axes_text(row, mixed)} to which different numbers are added"
        return False, f"The subtracted {center} is computed over {over}, so subtracting it does not remove them."
    over = f"{_axes_text(row, known.centered)} only, to which the same number is added"
    return True, f"The subtracted {center} is computed over {over}, so subtracting it removes this number."


def _order_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if not known.any_order:
        return False, "Which samples share a statistic depends on the batch order, so reordering changes the groups."
    if "n" in known.coupled:
        return True, "The statistics are computed over all samples and do not depend on their order."
    return True, "Samples do not affect each other, so their order in the batch does not matter."


def _batch_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if "n" in known.coupled:
        return False, f"Samples {_coupling_text(row)}, so an output depends on the other samples in the batch."
    return True, "Samples do not affect each other, so an output does not depend on the rest of the batch."


def _position_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if known.any_place:
        return True, "All positions are treated in the same way, so the output shifts with the input."
    return False, "Near an edge a window contains fewer positions, so values that cross the edge get other neighbors."


def _axes_text(row: Row, axes: Iterable[str]) -> str:
    """Name the axes, for example "samples and positions"."""
    channels = "rows of W" if row.on_weights else WORDS[row.layout]["channel"] + "s"
    names = {"n": "samples", "c": channels, "p": "positions", "j": "the weights of a row"}
    found = [names[axis] for axis in "ncpj" if axis in axes]
    return " and ".join([*([", ".join(found[:-1])] if found[:-1] else []), found[-1]])


def _coupling_text(row: Row) -> str:
    """Describe how values depend on each other."""
    return "share a statistic" if row.pattern or row.on_weights else "affect each other"
