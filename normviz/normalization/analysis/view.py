"""The numbers for the figures of one normalization: a slice, a block, histograms and one row per group."""

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

BLOCK = (6, 12, 6)  # size of the displayed cube along N, C and the positions
WIDEST = 112  # largest number of rows and columns of the displayed slice
ROWS = 1024  # largest number of groups in the table
BARS = 24  # largest number of groups with their own histogram


@dataclass(frozen=True)
class Before:
    """The part of a view that depends only on the input and the groups, which callers can cache.

    Attributes:
        pattern: the pattern of the groups, or None without groups.
        live: whether the statistics are those of this tensor, and not running statistics.
        sizes: the sizes of the split axes of the pattern.
        batch: the order (N,) in which samples are split into groups, or None for the order of the batch.
        statistics: mean and standard deviation of each group, or of all values without groups.
        range: the plotting range of the values.
    """

    pattern: str | None
    live: bool
    sizes: dict[str, int]
    batch: Tensor | None
    statistics: Statistics
    range: tuple[float, float]


@dataclass(frozen=True)
class View:
    """The numbers to draw one normalization of one tensor.

    Attributes:
        pattern: the pattern of the groups; None without groups, and group 0 is then what the selected cell depends on.
        live: whether the statistics are those of this tensor, and not running statistics.
        total: the number of groups; 0 without groups.
        padding: the group number of padded cells.
        block: (n, c, p), the group of each cell of an evenly spaced block of the tensor.
        block_axes: the names of the axes of the block, and their sizes in the tensor.
        before: (rows, columns), the slice of the input.
        after: (rows, columns), the slice of the output.
        groups: (rows, columns), the group of each cell of the slice.
        slice_axes: the names of the rows and the columns of the slice.
        cell: the row and column of the selected cell in the slice.
        histogram_before: the histogram of all input values.
        histogram_after: the histogram of all output values.
        bars: the numbers of the groups with their own histogram.
        bars_before: (groups, bins), the counts of the input in these groups.
        bars_after: (groups, bins), the counts of the output in these groups.
        rows: the table of the displayed groups.
        gain: the factor of (x - center) / scale in every cell of the slice, including gamma; NaN without such a form.
        offset: the number that is added to the product.
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
    """Compute the groups of `x`, their statistics and the range of the values.

    Args:
        method: a registered normalization of activations.
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        layout: "nc", "ntd", "nchw" or "ncdhw".
        settings: the values of the knobs.
        mask: (N, T) bool, the real frames of a padded batch of sequences.

    Raises:
        ValueError: NaN or infinity in `x`, or an invalid layout or shape.
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
    """Normalize `x` and compute the numbers to draw.

    Args:
        method: a registered normalization of activations.
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        layout: "nc", "ntd", "nchw" or "ncdhw".
        settings: the values of the knobs.
        gamma: the scale of all values.
        beta: the shift of all values.
        running: running mean and variance (C,), for a method that uses them.
        cell: the index of the selected cell in `x`; the slice through it is shown. Missing indices are 0.
        bins: the number of bins of the histograms.
        mask: (N, T) bool, the real frames of a padded batch of sequences.
        sides: other tensor arguments, by name.
        known: the result of `look_before` for the same arguments, or None to compute it.

    Returns:
        The numbers, on the CPU.

    Raises:
        ValueError: NaN or infinity in `x`, or an input that the method rejects.
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
        old, marks = (
            group_statistics(x, pattern, layout, real),
            (~real).long().cpu(),
        )  # shape of x; 0 for values that the cell depends on
    padding = max(total, 2)

    def groups_at(*index: int | slice | Tensor) -> Tensor:
        """The group of each value of x[index]."""
        if marks is None:
            shuffled = (_batch_position(known.batch, index[0] if index else slice(None)), *index[1:])
            groups = group_index(pattern, x.shape, layout, shuffled, **given)
        else:
            groups = _outer_index(marks, index)
        if mask is not None:
            padded = (~mask.cpu())[..., None].expand(x.shape)  # shape of x
            groups = groups.masked_fill(_outer_index(padded, index), padding)
        return groups  # shape of x[index]

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
    """The values that count in the statistics of a method: None for all, if it does not take a mask."""
    return mask[..., None] if mask is not None and method.takes("mask") else None


def _batch_position(batch: Tensor | None, samples: int | slice | Tensor) -> int | slice | Tensor:
    """The positions of samples in the order in which the batch is split into groups."""
    return samples if batch is None else batch.argsort()[samples]


def _outer_index(values: Tensor, index: tuple[int | slice | Tensor, ...]) -> Tensor:
    """Index each of the first axes separately by an int, a slice or an index tensor, as numpy.ix_ does."""
    for axis, part in reversed(list(enumerate(index))):
        values = values[(*[slice(None)] * axis, part)]
    return values


def _slice(layout: str, cell: tuple[int, ...]) -> tuple[int, ...]:
    """The index of the slice through a cell: all axes except the last two."""
    return cell[: len(layout) - 2]


def _slice_axes(layout: str) -> tuple[str, str]:
    return layout[-2].upper(), layout[-1].upper()


def _sheet(part: Tensor) -> Tensor:
    """The displayed part of a slice: at most WIDEST rows and columns."""
    return part[:WIDEST, :WIDEST]


def block_cells(shape: Sequence[int], layout: str, around: tuple[int, ...] | None = None) -> Tensor:
    """The index in the tensor of each cell of the displayed block.

    Args:
        shape: the shape of the tensor.
        layout: the layout of the tensor.
        around: a cell to show with its neighbors, with its sample in front; None for evenly spaced cells.

    Returns:
        (n, c, p, axes), int64.
    """
    axes = _block_axes(shape, layout, around)
    spots = torch.unravel_index(axes[2], [shape[axis] for axis in _position_axes(layout)])
    index: dict[int, Tensor] = {0: axes[0][:, None, None], _channel(layout): axes[1][None, :, None]}
    index |= {axis: spot[None, None, :] for axis, spot in zip(_position_axes(layout), spots, strict=True)}
    return torch.stack(torch.broadcast_tensors(*(index[axis] for axis in range(len(shape)))), dim=-1)  # type: ignore[no-untyped-call]


def _block(
    groups_at: Callable[..., Tensor], shape: Sequence[int], layout: str, around: tuple[int, ...] | None
) -> NDArray[np.int64]:
    """The groups (n, c, p) of the cells of the block."""
    samples, channels, positions = _block_axes(shape, layout, around)
    if layout == "ntd":
        groups = groups_at(samples, slice(None), channels).transpose(1, 2)  # (n, d, T)
    else:
        groups = groups_at(samples, channels)  # (n, c, ...)
    blocks: NDArray[np.int64] = groups.reshape(*groups.shape[:2], -1)[:, :, positions].numpy()  # (n, c, p)
    return blocks


def _block_names(shape: Sequence[int], layout: str) -> tuple[tuple[str, int], ...]:
    """The names of the three axes of the block and their sizes in the tensor."""
    positions = ", ".join(layout[axis].upper() for axis in _position_axes(layout))
    whole = math.prod(shape[axis] for axis in _position_axes(layout))
    channel = _channel(layout)
    return ("N", shape[0]), (layout[channel].upper(), shape[channel]), (positions, whole)


def _block_axes(shape: Sequence[int], layout: str, around: tuple[int, ...] | None) -> tuple[Tensor, Tensor, Tensor]:
    """The samples, the channels and the flattened positions of the displayed block."""
    lengths = [shape[axis] for axis in _position_axes(layout)]
    positions, channels = math.prod(lengths), shape[_channel(layout)]
    if around is None:
        spots = torch.linspace(0, positions - 1, min(BLOCK[2], positions)).long()  # (p,)
        return _spread(shape[0], BLOCK[0]), _spread(channels, BLOCK[1]), spots
    spot = 0
    for axis, length in zip(_position_axes(layout), lengths, strict=True):
        spot = spot * length + around[axis]
    return (
        _window(shape[0], BLOCK[0], around[0]),
        _window(channels, BLOCK[1], around[_channel(layout)] - BLOCK[1] // 2),
        _window(positions, BLOCK[2], spot - BLOCK[2] // 2),
    )


def _window(size: int, most: int, first: int) -> Tensor:
    """At most `most` neighboring indices of an axis, starting at `first` and wrapping around at the end."""
    chosen = min(size, most)
    return (torch.arange(chosen) + (first if chosen < size else 0)) % size  # (chosen,)


def _channel(layout: str) -> int:
    """The axis of the channels or features."""
    return 2 if layout == "ntd" else 1


def _position_axes(layout: str) -> list[int]:
    """The axes of the positions: all axes except samples and channels."""
    return [axis for axis in range(len(layout)) if axis not in (0, _channel(layout))]


def _spread(size: int, most: int) -> Tensor:
    """At most `most` evenly spaced indices of an axis."""
    chosen = min(size, most)
    return torch.arange(chosen) * (size // chosen)  # (chosen,)


def _first(most: int, *groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `most` different groups; groups in earlier arrays come first."""
    found: dict[int, None] = {}
    for array in groups:
        found |= dict.fromkeys(np.unique(array).tolist())
    return np.array(list(found)[:most], dtype=np.int64)
