"""Who shares a statistic with whom, from a method's pattern alone; and the statistics themselves.

A pattern such as "n (g c) h w -> n g" names the axes of the input on its left, in the order that the
method expects; those on its right keep a statistic of their own, all others share one. Each axis has
one letter of the layout (n, c, t, d, h, w). A second letter in parentheses splits it, and the number
of parts is the value of the method's knob with that symbol: g is the value of the knob with symbol G.
`sizes` reads it: pass its result on to the functions here.

The groups, one per statistic, are numbered row by row in the order of the pattern's right side.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.activations import layout_of
from normviz.registry import Method, Value

LETTERS = "nctdhw"
MOST_COUNTED = 2**21  # values: a histogram of more counts an even sample of them
MOST_PER_GROUP = 2**14  # values: group_histograms counts an even sample of larger groups
MOST_HISTOGRAMS = 64  # groups: group_histograms draws at most so many at once
_SAMPLE = 2**14  # values whose quantiles value_range takes
_AT_ONCE = 2**20  # values whose variance is taken in one piece


@dataclass(frozen=True)
class Statistics:
    """Mean and biased standard deviation of each group, both (groups,)."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins from `low` to `high`, its ends included.

    Attributes:
        counts: (bins,) or (groups, bins), int64, on the CPU.
        seen: how many values were looked at.
        size: how many values there are.
    """

    low: float
    high: float
    counts: Tensor
    seen: int
    size: int

    @property
    def edges(self) -> Tensor:
        """The bins' edges, (bins + 1,), float64."""
        return torch.linspace(self.low, self.high, self.counts.shape[-1] + 1, dtype=torch.float64)

    @property
    def sampled(self) -> float:
        """The share of the values that was looked at: 1 where all were."""
        return self.seen / self.size

    @property
    def outside(self) -> float:
        """The share of the values looked at that lies outside the bins."""
        return 1 - int(self.counts.sum()) / self.seen


@functools.lru_cache(maxsize=256)
def _parse(pattern: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The names in each axis of the left side, and the names on the right side."""
    left, right = pattern.split("->")
    axes = tuple(tuple(names.strip("()").split()) for names in re.findall(r"\([^)]*\)|\w+", left))
    return axes, tuple(right.split())


def sizes(method: Method, settings: Mapping[str, Value]) -> dict[str, int]:
    """The sizes that a method's patterns may ask for: the value of each whole-number knob by its symbol's letter."""
    return {knob.symbol.lower(): int(settings[knob.name]) for knob in method.knobs if knob.type is int}


def order(pattern: str) -> str:
    """The layout's letters in the order that the method expects: "ndt" for "n (g d) t -> n g"."""
    return "".join(name for names in _parse(pattern)[0] for name in names if name in LETTERS)


def shared_axes(pattern: str) -> tuple[str, ...]:
    """The names of the axes whose values share a statistic: ("c", "h", "w") for "n (g c) h w -> n g"."""
    axes, kept = _parse(pattern)
    return tuple(name for names in axes for name in names if name not in kept)


def describe_axes(pattern: str) -> str:
    """The shared axes in words: "shared over N, H, W", or "shared over C/G, H, W" where an axis is split."""
    axes, kept = _parse(pattern)
    words = []
    for names in axes:
        shared = [name.upper() for name in names if name in LETTERS and name not in kept]
        words += ["/".join([*shared, *(name.upper() for name in names if name in kept)])] if shared else []
    return f"shared over {', '.join(words)}" if words else "nothing is shared"


def _split(pattern: str, shape: Sequence[int], layout: str, given: Mapping[str, int]) -> list[dict[str, int]]:
    """For each axis of the input, in the input's own order, the names in it and their sizes.

    Raises:
        ValueError: the shape does not fit the layout or the pattern, or cannot be split evenly.
    """
    axes, _ = _parse(pattern)
    if sorted(order(pattern)) != sorted(layout) or len(shape) != len(layout):
        raise ValueError(
            f"the pattern {pattern!r} and the layout {layout} need {len(layout)} axes; received shape {tuple(shape)}"
        )
    result = []
    for letter, length in zip(layout, shape, strict=True):
        names = next(names for names in axes if letter in names)
        missing = [name for name in names if name != letter and name not in given]
        if missing:
            raise ValueError(f"the pattern {pattern!r} needs the size {missing[0]}")
        parts = math.prod(given[name] for name in names if name != letter)
        if parts < 1 or length % parts:
            raise ValueError(
                f"the size of axis {letter.upper()}, {length} in shape {tuple(shape)}, must be divisible by {parts}"
            )
        result.append({name: length // parts if name == letter else given[name] for name in names})
    return result


def count(pattern: str, shape: Sequence[int], **sizes: int) -> int:
    """How many statistics of each kind there are.

    Args:
        pattern: the method's pattern.
        shape: the input's shape, in its own layout.
        **sizes: the sizes that the pattern asks for.

    Returns:
        The number of groups.

    Raises:
        ValueError: the shape does not fit the pattern.
    """
    return math.prod(kept_axes(pattern, shape, layout_of(shape), **sizes).values())


def kept_axes(pattern: str, shape: Sequence[int], layout: str, **sizes: int) -> dict[str, int]:
    """The axes that keep a statistic of their own and their sizes, in the order in which groups are numbered."""
    lengths = {name: size for axis in _split(pattern, shape, layout, sizes) for name, size in axis.items()}
    return {name: lengths[name] for name in _parse(pattern)[1]}


def group_index(
    pattern: str, shape: Sequence[int], layout: str, index: tuple[int | slice, ...] = (), **sizes: int
) -> Tensor:
    """The number of the group to which each value belongs; only for the part that is asked for.

    Args:
        pattern: the method's pattern.
        shape: the whole input's shape, in its own layout.
        layout: the input's layout.
        index: as in x[index]: an int or a slice for each of the first axes; the others are whole.
        **sizes: the sizes that the pattern asks for.

    Returns:
        An int64 tensor in the shape of x[index].

    Raises:
        ValueError: the shape does not fit the pattern.
    """
    axes = _split(pattern, shape, layout, sizes)
    lengths = {name: size for axis in axes for name, size in axis.items()}
    kept = _parse(pattern)[1]
    stride = {name: math.prod(lengths[later] for later in kept[i + 1 :]) for i, name in enumerate(kept)}
    groups = torch.zeros((), dtype=torch.int64)
    for number, axis in enumerate(axes):
        coordinate = torch.arange(math.prod(axis.values()))
        part = torch.zeros_like(coordinate)
        for name in reversed(axis):
            part += coordinate % lengths[name] * stride.get(name, 0)
            coordinate = coordinate // lengths[name]
        part = part[index[number]] if number < len(index) else part  # () or (length,)
        groups = groups[..., None] + part if part.ndim else groups + part  # the axes so far
    return groups  # shape of x[index]


def group_statistics(x: Tensor, pattern: str, layout: str, **sizes: int) -> Statistics:
    """The mean and the biased standard deviation of each group.

    Args:
        x: the values, in their own layout.
        pattern: the method's pattern.
        layout: the layout of `x`.
        **sizes: the sizes that the pattern asks for.

    Returns:
        Two tensors (groups,), float32, or float64 where `x` is; on the device of `x`.

    Raises:
        ValueError: the shape does not fit the pattern.
    """
    values, names = _named(x, pattern, layout, sizes)
    kept = _parse(pattern)[1]
    variance, mean = _var_mean(values, [axis for axis, name in enumerate(names) if name not in kept])
    left = [name for name in names if name in kept]
    order = [left.index(name) for name in kept]
    return Statistics(mean.permute(order).flatten(), variance.sqrt().permute(order).flatten())


def histogram(x: Tensor, low: float, high: float, bins: int = 64) -> Histogram:
    """Count the values in equal bins; of more than MOST_COUNTED values, an even sample of them.

    Args:
        x: the values, of any shape.
        low: the first bin's lower edge.
        high: the last bin's upper edge, above `low`.
        bins: the number of bins.

    Returns:
        The histogram, its counts (bins,).

    Raises:
        ValueError: no values, no bins, or edges that are not finite and in rising order.
    """
    _check_bins(x, low, high, bins)
    values = x.reshape(-1)[:: _step(x.numel(), MOST_COUNTED)]
    return Histogram(low, high, _counts(values, low, high, bins).cpu(), values.numel(), x.numel())


def group_histograms(
    x: Tensor,
    pattern: str,
    layout: str,
    low: float,
    high: float,
    bins: int = 64,
    groups: Sequence[int] | None = None,
    **sizes: int,
) -> Histogram:
    """Count the values of each of some groups in equal bins; of large groups, an even sample of them.

    Args:
        x: the values, in their own layout.
        pattern: the method's pattern.
        layout: the layout of `x`.
        low: the first bin's lower edge.
        high: the last bin's upper edge, above `low`.
        bins: the number of bins.
        groups: the numbers of at most MOST_HISTOGRAMS groups; None for the first ones.
        **sizes: the sizes that the pattern asks for.

    Returns:
        The histograms, their counts (groups, bins).

    Raises:
        ValueError: as `histogram`; a shape that does not fit the pattern; too many groups, or one that is not there.
    """
    _check_bins(x, low, high, bins)
    values, names = _named(x, pattern, layout, sizes)
    kept = _parse(pattern)[1]
    values = values.permute([names.index(name) for name in (*kept, *(n for n in names if n not in kept))])
    lengths = values.shape[: len(kept)]
    if groups is None:
        groups = range(min(lengths.numel(), MOST_HISTOGRAMS))
    if not 0 < len(groups) <= MOST_HISTOGRAMS or min(groups) < 0 or max(groups) >= lengths.numel():
        raise ValueError(
            f"choose 1 to {MOST_HISTOGRAMS} of the groups 0 to {lengths.numel() - 1}; received {list(groups)[:8]}"
        )
    where = torch.unravel_index(torch.tensor(groups, device=x.device), lengths)  # one (groups,) for each kept axis
    rows = values[where].reshape(len(groups), -1)  # (groups, values in a group)
    rows = rows[:, :: _step(rows.shape[1], MOST_PER_GROUP)]  # (groups, values seen)
    counts = torch.stack([_counts(row, low, high, bins) for row in rows])  # (groups, bins)
    return Histogram(low, high, counts.cpu(), rows.numel(), len(rows) * x.numel() // lengths.numel())


def value_range(*tensors: Tensor) -> tuple[float, float]:
    """The range that shows the values of all tensors well: their extremes, but long tails are cut.

    A tail is cut where it reaches further beyond the middle 99 % of the values than these are wide;
    `Histogram.outside` says how much lies beyond. A range of one value is widened around it.

    Args:
        *tensors: finite values of any shape, at least one tensor.

    Returns:
        The lower and the upper end.
    """
    ends = [_range(tensor) for tensor in tensors]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        pad = max(0.5, 0.01 * abs(low))
        low, high = low - pad, high + pad
    return low, high


def check_finite(x: Tensor) -> None:
    """Refuse NaN and infinite values, which would spread over every group that holds one.

    Args:
        x: the values, of any shape.

    Raises:
        ValueError: how many such values there are, where the first one is, and what to do.
    """
    if torch.isfinite(x.sum()):  # one fast pass: a NaN or an infinity never leaves a finite sum
        return
    bad = ~torch.isfinite(x)
    number = int(bad.sum())
    if number == 0:
        return  # finite values whose sum overflows
    nans = int(torch.isnan(x).sum())
    first = tuple(int(i) for i in torch.unravel_index(bad.flatten().int().argmax(), x.shape))
    raise ValueError(
        f"the input holds {nans:,} NaN and {number - nans:,} infinite values of {x.numel():,}, "
        f"the first one at index {first}: replace them (torch.nan_to_num) or choose other input"
    )


def _named(x: Tensor, pattern: str, layout: str, given: Mapping[str, int]) -> tuple[Tensor, list[str]]:
    """A view of `x`, in float32 or float64, with one axis for each name of the pattern, and these names."""
    axes = _split(pattern, x.shape, layout, given)
    values = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return values.reshape([size for axis in axes for size in axis.values()]), [name for axis in axes for name in axis]


def _var_mean(values: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """The biased variance and the mean over some axes, in two passes, which stay exact far from zero.

    Axes at the end are reduced first, where the values lie side by side (several times faster); the
    variance of all is then the mean of the variances plus the variance of the means.
    """
    if not axes:
        return torch.zeros_like(values), values
    tail = [axis for axis in axes if set(range(axis, values.ndim)) <= set(axes)]
    if tail and tail != axes:
        within, means = _var_mean(values, tail)
        rest = axes[: -len(tail)]
        between, mean = torch.var_mean(means, rest, correction=0)
        return within.mean(rest) + between, mean
    if 0 not in axes and values.numel() > _AT_ONCE and len(values) > 1:  # pieces that stay in the processor's cache
        rows = max(1, _AT_ONCE * len(values) // values.numel())
        parts = [_var_mean(part, axes) for part in torch.split(values, rows)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    mean = values.mean(axes, keepdim=True)
    return (values - mean).square_().mean(axes), mean.squeeze(axes)


def _step(size: int, most: int) -> int:
    """A step that takes at most `most` of `size` values, prime to `size` and so to every axis: none is favoured."""
    step = -(-size // most)
    while step > 1 and math.gcd(step, size) > 1:
        step += 1
    return step


def _counts(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """How many values lie in each bin: (bins,), int64, on the device of the values."""
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    return torch.histc(values, bins, low, high).long()


def _check_bins(x: Tensor, low: float, high: float, bins: int) -> None:
    if x.numel() == 0:
        raise ValueError(f"a histogram needs at least one value; received the empty shape {tuple(x.shape)}")
    if bins < 1 or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"a histogram needs at least one bin and low < high; received {bins} bins, {low:g} to {high:g}"
        )


def _range(x: Tensor) -> tuple[float, float]:
    """The extremes of one tensor's values, long tails cut."""
    low, high = (float(end) for end in torch.aminmax(x))
    ends = torch.tensor([0.005, 0.995], dtype=torch.float64)
    core_low, core_high = torch.quantile(x.reshape(-1)[:: _step(x.numel(), _SAMPLE)].cpu().double(), ends).tolist()
    width = core_high - core_low
    return (max(low, core_low - width), min(high, core_high + width)) if width > 0 else (low, high)
