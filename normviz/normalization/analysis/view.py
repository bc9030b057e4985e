"""What a picture of one normalization needs, and nothing more: a slice, a block, bins, and one row per statistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.normalization.analysis.group_rows import Rows, cut, gain_of, numpy, rows_of
from normviz.normalization.analysis.receptive_field import reads
from normviz.normalization.analysis.statistics import (
    Histogram,
    Statistics,
    check_finite,
    group_histograms,
    group_statistics,
    histogram,
    value_range,
)
from normviz.normalization.apply import apply, expected_order
from normviz.normalization.patterns import count, group_index, sizes
from normviz.registry import Normalization, Value

BLOCK = (6, 12, 6)  # cells of the cube that are shown along N, C and the positions
WIDEST = 112  # rows and columns of a slice that are shown
ROWS = 1024  # statistics that are sent at most
BARS = 24  # statistics with a histogram of their own


@dataclass(frozen=True)
class Before:
    """What is known of a tensor before any knob of a method but the groups is turned; worth keeping.

    Attributes:
        pattern: the axes pattern that the groups follow, or None where the values do not fall into groups.
        live: whether the statistics come from this tensor (else they were stored before).
        sizes: what the pattern asks for.
        batch: the order (N,) in which the examples were cut into groups, or None for their own.
        statistics: of the groups, or of everything.
        range: of the values.
    """

    pattern: str | None
    live: bool
    sizes: dict[str, int]
    batch: Tensor | None
    statistics: Statistics
    range: tuple[float, float]


@dataclass(frozen=True)
class View:
    """Numbers of one normalization of one tensor.

    Attributes:
        pattern: the axes pattern that the groups follow, or None: group 0 is then what the chosen cell reads.
        live: whether the statistics come from this tensor (else they were stored before).
        total: the number of statistics; 0 without groups.
        padding: the group number of padded cells.
        block: (n, c, p) group of each cell of an evenly spaced block of the tensor.
        block_axes: the names of the block's axes, and their sizes in the whole tensor.
        before: (rows, columns) the slice before.
        after: (rows, columns) the slice after.
        groups: (rows, columns) the group of each cell of the slice.
        slice_axes: the names of the slice's rows and columns.
        cell: row and column of the chosen cell in the slice.
        histogram_before: of all values.
        histogram_after: of all values.
        bars: the groups that have a histogram of their own.
        bars_before: (groups, bins) their counts before.
        bars_after: (groups, bins) their counts after.
        rows: mean and standard deviation of the groups that the picture shows.
        gain: what multiplies (x - center) / scale in every cell of the slice, gamma included; NaN without such a form.
        offset: what is added to it.
    """

    pattern: str | None
    live: bool
    total: int
    padding: int
    block: NDArray[np.int64]
    block_axes: tuple[tuple[str, int], ...]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    groups: NDArray[np.int64]
    slice_axes: tuple[str, str]
    cell: tuple[int, int]
    histogram_before: Histogram
    histogram_after: Histogram
    bars: NDArray[np.int64]
    bars_before: NDArray[np.int64]
    bars_after: NDArray[np.int64]
    rows: Rows
    gain: float
    offset: float


def look_before(
    method: Normalization, x: Tensor, layout: str, settings: dict[str, Value], mask: Tensor | None = None
) -> Before:
    """The groups of `x` under a method's settings, their statistics and the range of the values.

    Args:
        method: a registered normalization of activations.
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        layout: "nc", "ntd", "nchw" or "ncdhw".
        settings: the method's knobs.
        mask: (N, T) bool, the real frames of a padded batch of sequences.

    Raises:
        ValueError: NaN or infinity in `x`, or a layout or shape that the method does not take.
    """
    check_finite(x)
    expected_order(method, layout)
    pattern = method.pattern(layout, settings)
    stored = list(method.patterns(layout).values())
    groups, given = pattern or stored[0], sizes(method, settings)
    batch = method.batch_order(len(x), **settings) if method.batch_order else None
    statistics = group_statistics(cut(x, batch), groups or _EVERYTHING[layout], layout, _real(mask, method), **given)
    return Before(groups, pattern is not None or groups is None, given, batch, statistics, value_range(x))


def view(
    method: Normalization,
    x: Tensor,
    layout: str,
    settings: dict[str, Value],
    gamma: float = 1.0,
    beta: float = 0.0,
    running: tuple[Tensor, Tensor] | None = None,
    cell: tuple[int, ...] = (),
    bins: int = 60,
    mask: Tensor | None = None,
    sides: Mapping[str, Tensor] | None = None,
    known: Before | None = None,
) -> View:
    """Normalize `x` and gather what is drawn of it.

    Args:
        method: a registered normalization of activations.
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        layout: "nc", "ntd", "nchw" or "ncdhw".
        settings: the method's knobs.
        gamma: one scale for all values.
        beta: one shift for all values.
        running: running mean and variance (C,), for a method that reads them.
        cell: the index of the chosen cell in `x`; the slice through it is shown. Missing indices are 0.
        bins: of the histograms.
        mask: (N, T) bool, the real frames of a padded batch of sequences.
        sides: further tensors that the method reads, by the name of the argument.
        known: the result of `look_before` for the same arguments, if it was kept.

    Returns:
        The numbers, on the CPU.

    Raises:
        ValueError: NaN or infinity in `x`, or what the method refuses.
    """
    known = known or look_before(method, x, layout, settings, mask)
    given, real = known.sizes, _real(mask, method)
    cell = tuple(min(i, size - 1) for i, size in zip((*cell, *[0] * x.ndim), x.shape, strict=False))
    more = dict(sides or {}) | ({} if mask is None else {"mask": mask})
    y = apply(method, x, layout, gamma, beta, running=running, sides=more, **settings)
    if known.pattern:
        pattern, total = known.pattern, count(known.pattern, x.shape, **given)
        old, marks = known.statistics, None
    else:
        pattern, total = _EVERYTHING[layout], 0
        real = reads(method, x, layout, cell, settings, running, more)  # shape of x
        old, marks = group_statistics(x, pattern, layout, real), (~real).long().cpu()  # shape of x; 0: is read
    padding = max(total, 2)

    def groups_at(*index: int | slice | Tensor) -> Tensor:
        """The group of each value of x[index], from the pattern, from what is read, or padding."""
        if marks is None:
            place = (_place(known.batch, index[0] if index else slice(None)), *index[1:])
            found = group_index(pattern, x.shape, layout, place, **given)
        else:
            found = _outer(marks, index)
        if mask is not None:
            found = found.masked_fill(_outer((~mask.cpu())[..., None].expand(x.shape), index), padding)
        return found  # shape of x[index]

    where = _slice(layout, cell)
    before, after = (numpy(_sheet(t[where])) for t in (x, y))
    groups = _sheet(groups_at(*where)).numpy()
    block = _block(groups_at, x.shape, layout, None if known.pattern else cell)
    shown = _first(ROWS, groups, block, np.arange(min(total, 64)))
    shown = shown[shown < max(total, 1)]
    new = group_statistics(cut(y, known.batch), pattern, layout, real, **given)
    counted = (x, y) if mask is None else (x[mask], y[mask])
    after_range = value_range(counted[1])
    low, high = min(known.range[0], after_range[0]), max(known.range[1], after_range[1])
    bars = _first(BARS, groups, block)
    bars = bars[bars < max(total, 1)]
    bars_before, bars_after = (
        group_histograms(
            cut(t, known.batch), pattern, layout, low, high, bins, bars.tolist(), real, **given
        ).counts.numpy()
        for t in (x, y)
    )
    rows = rows_of(
        method, np.unique(shown), known.pattern, known.batch, old, given, x, layout, settings, new,
        None if known.live else running,
    )  # fmt: skip
    gain, offset = gain_of(method, before, after, groups, rows, float(settings.get("eps", 0.0)))
    return View(
        known.pattern, known.live, total, padding, block, _block_names(x.shape, layout), before, after, groups,
        _slice_axes(layout), (min(cell[-2], WIDEST - 1), min(cell[-1], WIDEST - 1)),
        histogram(counted[0], low, high, bins), histogram(counted[1], low, high, bins), bars,
        bars_before, bars_after, rows, gain, offset,
    )  # fmt: skip


_EVERYTHING = {"nc": "n c ->", "ntd": "n t d ->", "nchw": "n c h w ->", "ncdhw": "n c d h w ->"}


def _real(mask: Tensor | None, method: Normalization) -> Tensor | None:
    """The values that a method counts, for the statistics: all, where it does not know of padding."""
    return mask[..., None] if mask is not None and method.takes("mask") else None


def _place(batch: Tensor | None, examples: int | slice | Tensor) -> int | slice | Tensor:
    """Where examples stand in the order in which the batch is cut into groups."""
    return examples if batch is None else batch.argsort()[examples]


def _outer(values: Tensor, index: tuple[int | slice | Tensor, ...]) -> Tensor:
    """The part of a tensor at an int, a slice or an index tensor for each of the first axes, as in their grid."""
    for axis, part in reversed(list(enumerate(index))):
        values = values[(*[slice(None)] * axis, part)]
    return values


def _slice(layout: str, cell: tuple[int, ...]) -> tuple[int, ...]:
    """The index of the part of the tensor that the heatmaps show: the last two axes."""
    return cell[: len(layout) - 2]


def _slice_axes(layout: str) -> tuple[str, str]:
    return layout[-2].upper(), layout[-1].upper()


def _sheet(part: Tensor) -> Tensor:
    """The part of a slice that is shown: (rows, columns), each at most WIDEST."""
    return part[:WIDEST, :WIDEST]


def block_cells(shape: Sequence[int], layout: str, around: tuple[int, ...] | None = None) -> Tensor:
    """The index in the whole tensor of each cell of the block that is shown.

    Args:
        shape: of the tensor.
        layout: of the tensor.
        around: a cell whose neighbors are shown, its example in front; None: cells evenly spaced over the tensor.

    Returns:
        (n, c, p, axes), int64.
    """
    axes = _block_axes(shape, layout, around)
    spots = torch.unravel_index(axes[2], [shape[axis] for axis in _places(layout)])
    index: dict[int, Tensor] = {0: axes[0][:, None, None], _channel(layout): axes[1][None, :, None]}
    index |= {axis: spot[None, None, :] for axis, spot in zip(_places(layout), spots, strict=True)}
    return torch.stack(torch.broadcast_tensors(*(index[axis] for axis in range(len(shape)))), dim=-1)  # type: ignore[no-untyped-call]


def _block(
    groups_at: Callable[..., Tensor], shape: Sequence[int], layout: str, around: tuple[int, ...] | None
) -> NDArray[np.int64]:
    """The groups (n, c, p) of the cells of the block."""
    examples, channels, spots = _block_axes(shape, layout, around)
    if layout == "ntd":
        groups = groups_at(examples, slice(None), channels).transpose(1, 2)  # (n, d, T)
    else:
        groups = groups_at(examples, channels)  # (n, c, ...)
    blocks: NDArray[np.int64] = groups.reshape(*groups.shape[:2], -1)[:, :, spots].numpy()  # (n, c, p)
    return blocks


def _block_names(shape: Sequence[int], layout: str) -> tuple[tuple[str, int], ...]:
    """The names of the block's three axes and their sizes in the whole tensor."""
    positions = ", ".join(layout[axis].upper() for axis in _places(layout))
    whole = math.prod(shape[axis] for axis in _places(layout))
    channel = _channel(layout)
    return ("N", shape[0]), (layout[channel].upper(), shape[channel]), (positions, whole)


def _block_axes(shape: Sequence[int], layout: str, around: tuple[int, ...] | None) -> tuple[Tensor, Tensor, Tensor]:
    """The examples, the channels and the positions (counted through all their axes) that the block shows."""
    lengths = [shape[axis] for axis in _places(layout)]
    positions, channels = math.prod(lengths), shape[_channel(layout)]
    if around is None:
        spots = torch.linspace(0, positions - 1, min(BLOCK[2], positions)).long()  # (p,)
        return _spread(shape[0], BLOCK[0]), _spread(channels, BLOCK[1]), spots
    spot = 0
    for axis, length in zip(_places(layout), lengths, strict=True):
        spot = spot * length + around[axis]
    return (
        _window(shape[0], BLOCK[0], around[0]),
        _window(channels, BLOCK[1], around[_channel(layout)] - BLOCK[1] // 2),
        _window(positions, BLOCK[2], spot - BLOCK[2] // 2),
    )


def _window(size: int, most: int, first: int) -> Tensor:
    """At most `most` neighboring indices of an axis from about `first` on; an axis that is cut wraps round."""
    chosen = min(size, most)
    return (torch.arange(chosen) + (first if chosen < size else 0)) % size  # (chosen,)


def _channel(layout: str) -> int:
    """The axis of the channels or features."""
    return 2 if layout == "ntd" else 1


def _places(layout: str) -> list[int]:
    """The axes of the positions: all but examples and channels."""
    return [axis for axis in range(len(layout)) if axis not in (0, _channel(layout))]


def _spread(size: int, most: int) -> Tensor:
    """At most `most` evenly spaced indices of an axis."""
    chosen = min(size, most)
    return torch.arange(chosen) * (size // chosen)  # (chosen,)


def _first(most: int, *groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `most` different groups, those of the earlier arrays first."""
    found: dict[int, None] = {}
    for array in groups:
        found |= dict.fromkeys(np.unique(array).tolist())
    return np.array(list(found)[:most], dtype=np.int64)
