"""Statistics of the groups of a pattern, and histograms of all values or of selected groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.normalization.checks import at_least_float32
from normviz.normalization.patterns import group_index, parse, split
from normviz.registry import Center, Scale

MOST_COUNTED = 2**21  # number of values; a histogram of more values counts a regular subset
MOST_PER_GROUP = 2**14  # number of values; group_histograms counts a regular subset of larger groups
MOST_HISTOGRAMS = 64  # largest number of groups in one call of group_histograms
_SAMPLE = 2**14  # number of values from which value_range computes quantiles
_CHUNK = 2**20  # number of values whose variance is computed at a time


@dataclass(frozen=True)
class Statistics:
    """Mean and biased standard deviation of each group, both (groups,)."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width from `low` to `high`, both included.

    Attributes:
        counts: (bins,) or (groups, bins), int64, on the CPU.
        counted: the number of values that were examined.
        size: the number of all values.
    """

    low: float
    high: float
    counts: Tensor
    counted: int
    size: int

    @property
    def edges(self) -> Tensor:
        """The edges of the bins, (bins + 1,), float64."""
        return torch.linspace(self.low, self.high, self.counts.shape[-1] + 1, dtype=torch.float64)

    @property
    def sampled(self) -> float:
        """The fraction of the values that was examined."""
        return self.counted / self.size

    @property
    def outside(self) -> float:
        """The fraction of the examined values outside the bins."""
        return 1 - int(self.counts.sum()) / self.counted


def group_statistics(x: Tensor, pattern: str, layout: str, real: Tensor | None = None, **sizes: int) -> Statistics:
    """The mean and the biased standard deviation of each group.

    Args:
        x: the values, in their layout.
        pattern: the pattern of the method.
        layout: the layout of `x`.
        real: bool, broadcasts to `x`, true for values that count; None for all. A group without such values has
            mean 0 and standard deviation 0.
        **sizes: the sizes of the split axes of the pattern.

    Returns:
        Two tensors (groups,), float64 for float64 input and float32 otherwise, on the device of `x`.

    Raises:
        ValueError: the shape does not match the pattern.
    """
    if real is not None:
        index = group_index(pattern, x.shape, layout, (), **sizes).to(x.device)  # shape of x
        return _counted_statistics(x, index, real.expand_as(x))
    values, names = _named(x, pattern, layout, sizes)
    kept = parse(pattern)[1]
    variance, mean = _var_mean(values, [axis for axis, name in enumerate(names) if name not in kept])
    left = [name for name in names if name in kept]
    order = [left.index(name) for name in kept]
    return Statistics(mean.permute(order).flatten(), variance.sqrt().permute(order).flatten())


def group_terms(
    x: Tensor,
    pattern: str,
    layout: str,
    center: Center,
    scale: Scale,
    eps: float = 0.0,
    power: float = 2.0,
    **sizes: int,
) -> tuple[Tensor, Tensor]:
    """The number that a method subtracts from each group, and the number that it divides by.

    Args:
        x: the values, in their layout.
        pattern: the pattern of the method.
        layout: the layout of `x`.
        center: the statistic that is subtracted, as in the registry; "" for none.
        scale: the statistic that divides, as in the registry; "" for none.
        eps: the epsilon of the method: the smallest divisor for the scales "norm" and "power".
        power: the exponent p for the scale "power".
        **sizes: the sizes of the split axes of the pattern.

    Returns:
        Two tensors (groups,): the center and the divisor. For "std" and "rms", the second is the variance or the mean
        square, without eps.
    """
    values, names = _named(x, pattern, layout, sizes)
    kept = parse(pattern)[1]
    rows = values.permute([names.index(name) for name in (*kept, *(n for n in names if n not in kept))])
    rows = rows.reshape(math.prod(rows.shape[: len(kept)]), -1)  # (groups, values in a group)
    centers: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda t: t.new_zeros(len(t)),  # (groups,), like all below
        "mean": lambda t: t.mean(1),
        "min": lambda t: t.amin(1),
        "median": lambda t: t.quantile(0.5, 1),
    }
    scales: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda t: t.new_ones(len(t)),  # (groups,), like all below
        "std": lambda t: _var_mean(t, [1])[0],
        "rms": lambda t: t.square().mean(1),
        "norm": lambda t: t.norm(dim=1).clamp_min(eps),
        "power": lambda t: t.abs().pow(power).mean(1).pow(1 / power).clamp_min(eps),
        "largest": lambda t: t.abs().amax(1),
        "range": lambda t: t.amax(1) - t.amin(1),
        "iqr": lambda t: t.quantile(0.75, 1) - t.quantile(0.25, 1),
    }
    return centers[center](rows), scales[scale](rows)


def histogram(x: Tensor, low: float, high: float, bins: int = 64) -> Histogram:
    """Count the values in bins of equal width; of more than MOST_COUNTED values, count a regular subset.

    Args:
        x: the values, of any shape.
        low: the lower edge of the first bin.
        high: the upper edge of the last bin, above `low`.
        bins: the number of bins.

    Returns:
        The histogram, with counts (bins,).

    Raises:
        ValueError: no values, no bins, or edges that are not finite and ascending.
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
    real: Tensor | None = None,
    **sizes: int,
) -> Histogram:
    """Count the values of selected groups in bins of equal width; of large groups, count a regular subset.

    Args:
        x: the values, in their layout.
        pattern: the pattern of the method.
        layout: the layout of `x`.
        low: the lower edge of the first bin.
        high: the upper edge of the last bin, above `low`.
        bins: the number of bins.
        groups: the numbers of at most MOST_HISTOGRAMS groups; None for the first groups.
        real: bool, broadcasts to `x`, true for values that count; None for all.
        **sizes: the sizes of the split axes of the pattern.

    Returns:
        The histograms, with counts (groups, bins).

    Raises:
        ValueError: as in `histogram`; a shape that does not match the pattern; too many groups, or an unknown group.
    """
    _check_bins(x, low, high, bins)
    values, names = _named(x, pattern, layout, sizes)
    kept = parse(pattern)[1]
    values = values.permute([names.index(name) for name in (*kept, *(n for n in names if n not in kept))])
    lengths = values.shape[: len(kept)]
    if groups is None:
        groups = range(min(lengths.numel(), MOST_HISTOGRAMS))
    if not 0 < len(groups) <= MOST_HISTOGRAMS or min(groups) < 0 or max(groups) >= lengths.numel():
        raise ValueError(
            f"choose 1 to {MOST_HISTOGRAMS} of the groups 0 to {lengths.numel() - 1}; received {list(groups)[:8]}"
        )
    if real is not None:
        index = group_index(pattern, x.shape, layout, (), **sizes).to(x.device)  # shape of x
        counted = [x[(index == group) & real] for group in groups]  # each (values,)
        counts = torch.stack([_counts(part, low, high, bins) for part in counted])  # (groups, bins)
        return Histogram(low, high, counts.cpu(), sum(map(len, counted)), sum(map(len, counted)))
    where = torch.unravel_index(torch.tensor(groups, device=x.device), lengths)  # one (groups,) for each kept axis
    rows = values[where].reshape(len(groups), -1)  # (groups, values in a group)
    rows = rows[:, :: _step(rows.shape[1], MOST_PER_GROUP)]  # (groups, counted values)
    counts = torch.stack([_counts(row, low, high, bins) for row in rows])  # (groups, bins)
    return Histogram(low, high, counts.cpu(), rows.numel(), len(rows) * x.numel() // lengths.numel())


def value_range(*tensors: Tensor) -> tuple[float, float]:
    """A range for plotting the values of all tensors: from minimum to maximum, without long tails.

    A tail is cut if it extends further beyond the central 99% of the values than the width of these; see
    `Histogram.outside`. A range with a single value is widened.

    Args:
        *tensors: at least one tensor of finite values, of any shape.

    Returns:
        The lower and the upper limit.
    """
    ends = [_range(tensor) for tensor in tensors]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        pad = max(0.5, 0.01 * abs(low))
        low, high = low - pad, high + pad
    return low, high


def check_finite(x: Tensor) -> None:
    """Check for NaN and infinity, which would make the result of their whole group invalid.

    Args:
        x: the values, of any shape.

    Raises:
        ValueError: there are such values; the message gives their number and the index of the first one.
    """
    if torch.isfinite(x.sum()):  # a single fast pass; with NaN or infinity the sum is never finite
        return
    bad = ~torch.isfinite(x)
    number = int(bad.sum())
    if number == 0:
        return  # the values are finite, but their sum overflows
    nans = int(torch.isnan(x).sum())
    first = tuple(int(i) for i in torch.unravel_index(bad.flatten().int().argmax(), x.shape))
    raise ValueError(
        f"the input holds {nans:,} NaN and {number - nans:,} infinite values of {x.numel():,}, "
        f"the first one at index {first}: replace them (torch.nan_to_num) or choose another input"
    )


def _named(x: Tensor, pattern: str, layout: str, given: Mapping[str, int]) -> tuple[Tensor, list[str]]:
    """A view of `x`, in float32 or float64, with one axis per name of the pattern, and the names."""
    axes = split(pattern, x.shape, layout, given)
    values = at_least_float32(x)  # shape of x
    return values.reshape([size for axis in axes for size in axis.values()]), [name for axis in axes for name in axis]


def _counted_statistics(x: Tensor, groups: Tensor, real: Tensor) -> Statistics:
    """Mean and biased standard deviation of the values with `real` true, in two passes."""
    values, index = x[real].double(), groups[real]  # (V,), (V,)
    empty = values.new_zeros(int(groups.max()) + 1)  # (groups,)
    number = empty.index_add(0, index, torch.ones_like(values)).clamp_min(1)  # (groups,)
    mean = empty.index_add(0, index, values) / number  # (groups,)
    variance = empty.index_add(0, index, (values - mean[index]).square()) / number  # (groups,)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    return Statistics(mean.to(kind), variance.sqrt().to(kind))


def _var_mean(values: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """The biased variance and the mean over some axes, in two passes, which is exact for a large mean.

    Trailing axes are reduced first because their values are contiguous, which is several times as fast. The
    total variance is the mean of the variances plus the variance of the means.
    """
    if not axes:
        return torch.zeros_like(values), values
    tail = [axis for axis in axes if set(range(axis, values.ndim)) <= set(axes)]
    if tail and tail != axes:
        within, means = _var_mean(values, tail)
        rest = axes[: -len(tail)]
        between, mean = torch.var_mean(means, rest, correction=0)
        return within.mean(rest) + between, mean
    if 0 not in axes and values.numel() > _CHUNK and len(values) > 1:  # chunks that fit in the processor's cache
        rows = max(1, _CHUNK * len(values) // values.numel())
        parts = [_var_mean(part, axes) for part in torch.split(values, rows)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    mean = values.mean(axes, keepdim=True)
    return (values - mean).square_().mean(axes), mean.squeeze(axes)


def _step(size: int, most: int) -> int:
    """A step to select at most `most` of `size` values, coprime to `size` so that no axis is sampled unevenly."""
    step = -(-size // most)
    while step > 1 and math.gcd(step, size) > 1:
        step += 1
    return step


def _counts(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """The number of values in each bin: (bins,), int64, on the device of the values."""
    return torch.histc(at_least_float32(values), bins, low, high).long()


def _check_bins(x: Tensor, low: float, high: float, bins: int) -> None:
    if x.numel() == 0:
        raise ValueError(f"a histogram needs at least one value; received the empty shape {tuple(x.shape)}")
    if bins < 1 or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"a histogram needs at least one bin and low < high; received {bins} bins, {low:g} to {high:g}"
        )


def _range(x: Tensor) -> tuple[float, float]:
    """The minimum and maximum of a tensor, without long tails."""
    low, high = (float(end) for end in torch.aminmax(x))
    ends = torch.tensor([0.005, 0.995], dtype=torch.float64)
    core_low, core_high = torch.quantile(x.reshape(-1)[:: _step(x.numel(), _SAMPLE)].cpu().double(), ends).tolist()
    width = core_high - core_low
    return (max(low, core_low - width), min(high, core_high + width)) if width > 0 else (low, high)
