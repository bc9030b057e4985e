"""Why an output stays as it is or not: from a few facts that are measured on the method, and from what a change does.

A change multiplies values of W x by a factor, adds a number to them, or gives the cases another order, company or
place. Whether that leaves a trace follows from two things: whether the method takes out a factor or number that all
values share, and across which axes its values have to do with each other.
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

SAME = 1e-6  # relative change up to which an output counts as unchanged
LETTERS = {"n": "n", "c": "c", "d": "c"}  # of the axes that are not positions
WORDS = {  # what the axes hold; a case is one example
    "nc": {"channel": "feature", "place": "case"},
    "ntd": {"channel": "feature", "place": "token"},
    "nchw": {"channel": "channel", "place": "pixel"},
}


@dataclass(frozen=True)
class Facts:
    """What is measured on a method.

    Attributes:
        coupled: the axes across which values have to do with each other: n cases, c channels, p positions; for weights
            c rows and j inputs along a row.
        centered: those across which values share what is subtracted.
        factor: a factor that all values share leaves no trace.
        number: a number added to all values leaves no trace.
        any_order: the cases may stand in any order.
        any_place: what is moved comes out moved.
        balanced: for weights, those of each row add up to 0.
    """

    coupled: frozenset[str]
    centered: frozenset[str]
    factor: bool
    number: bool
    any_order: bool = True
    any_place: bool = True
    balanced: bool = False


def relative(before: Tensor, after: Tensor) -> float:
    """The length of the difference over the length of what was before."""
    return float((after - before).norm() / before.norm())


def facts(row: Row, world: World) -> Facts:
    """Measure the facts of a row on the method itself, at the seeded numbers."""
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
    """The axes across which values share a statistic, by the pattern, or else by what one result reads."""
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
    """Whether numbers that differ along one axis only (n, c or p) leave a trace."""
    numbers = torch.zeros_like(z)  # shape of z
    for index, letter in enumerate(row.layout):
        if LETTERS.get(letter, "p") == axis:
            along = [-1 if other == index else 1 for other in range(z.ndim)]
            numbers = numbers + torch.arange(z.shape[index]).view(along)  # shape of z
    return relative(y, normalized(row, world, z + numbers)) >= SAME


def describe(row: Row, column: Column, delta: float) -> str:
    """What is changed and what that makes of the values, in a sentence."""
    words = WORDS[row.layout] | {"delta": f"{delta:g}", "outlier": f"{OUTLIER * delta:g}"}
    plain = row.on_weights and column.kind in ("factor", "number")
    return f"{column.change_text if plain else f'{column.change_text}: {column.effect}'}.".format_map(words)


def predict(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    """Whether the output stays as it is, derived from the facts, and why, in a sentence."""
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
    """What a method of weights leaves of a change of the data."""
    if column.kind == "factor":
        return False, "Only the weights are normalized: the output follows the data, factor and all."
    if column.kind == "number" and known.balanced:
        return True, "The normalized weights of each row add up to 0, so what is added to all data drops out."
    if column.kind == "number":
        return False, "The weights of a row do not add up to 0, so what is added to all data reaches the output."
    if column.kind == "place":
        return True, "The same weights work at every position, so the output moves along with the input."
    return True, "The weights are normalized without a look at the batch, and no case has to do with another."


def _factor_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if not known.factor:
        stored = row.method.takes("running_mean") and dict(row.settings).get("training") is not True
        reason = ": its statistics, or a part of them, were stored before" if stored else ""
        return False, f"This method does not take out a factor, not even one that all values share{reason}."
    if mixed := known.coupled & set(column.varies):
        text = f"{_axes_text(row, mixed)} {_coupling_text(row)}, and some of them grew while others stayed"
        return False, f"{text[0].upper()}{text[1:]}: the factor does not cancel."
    if not column.varies:
        return True, "All values grew alike, and what they are divided by grew with them: the factor cancels."
    return True, (
        f"Only {_axes_text(row, known.coupled)} {_coupling_text(row)}. Where these grew, they all grew alike, "
        "and what they are divided by grew with them: the factor cancels."
    )


def _offset_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    center = {"": "mean", "min": "minimum"}.get(row.method.center, row.method.center)
    if not known.number:
        reason = f": it subtracts no {center}" if row.method.scale and not row.method.center else ""
        return False, f"This method does not take out a number that is added, not even to all values alike{reason}."
    if mixed := known.centered & set(column.varies):
        over = f"{_axes_text(row, mixed)} that got different numbers"
        return False, f"The {center} that is subtracted is taken over {over}: it does not take them out."
    over = f"{_axes_text(row, known.centered)} only, and these got the same number"
    return True, f"The {center} that is subtracted is taken over {over}: it takes this number out."


def _order_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if not known.any_order:
        return False, "Which cases share a statistic depends on their places in the batch: another order, other groups."
    if "n" in known.coupled:
        return True, "The statistics are taken over all cases, whatever their order."
    return True, "No case has to do with another, so its place in the batch does not matter."


def _batch_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if "n" in known.coupled:
        return False, f"Cases {_coupling_text(row)}, so an output depends on who else is in the batch."
    return True, "No case has to do with another: its output is the same in any company."


def _position_reason(row: Row, column: Column, known: Facts) -> tuple[bool, str]:
    if known.any_place:
        return True, "All positions are treated alike, so the output moves along with the input."
    return False, "Near an edge a window holds fewer positions, so what coupled the edge meets other neighbors."


def _axes_text(row: Row, axes: Iterable[str]) -> str:
    """The axes in words: cases and positions; the weights of a row."""
    channels = "rows of W" if row.on_weights else WORDS[row.layout]["channel"] + "s"
    names = {"n": "cases", "c": channels, "p": "positions", "j": "the weights of a row"}
    found = [names[axis] for axis in "ncpj" if axis in axes]
    return " and ".join([*([", ".join(found[:-1])] if found[:-1] else []), found[-1]])


def _coupling_text(row: Row) -> str:
    """How values have to do with each other."""
    return "share a statistic" if row.pattern or row.on_weights else "act on each other"
