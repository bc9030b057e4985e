"""Several normalizations of the same input: groups, output statistics, time and memory of each."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from normviz.activations import channel_axis, layout_of
from normviz.normalization.analysis.conditioning import make_sides
from normviz.normalization.analysis.receptive_field import reads
from normviz.normalization.analysis.statistics import check_finite, histogram, value_range
from normviz.normalization.apply import apply
from normviz.normalization.methods.batch import running_statistics
from normviz.normalization.methods.channel import divisors
from normviz.normalization.patterns import count, describe_axes, divided_axes, group_index, parse, sizes
from normviz.registry import Normalization, Value

BINS = 48
LIMIT = 3.0  # largest absolute value on the color scale; larger values are clipped
SHEET = {
    "nc": (1, 16, 32),
    "ntd": (2, 1, 32),
    "nchw": (2, 4, 16),
    "ncdhw": (2, 4, 16),
}  # samples, channels, cells per side
BLOCK = (4, 6, 4)  # size of the displayed cube along N, C and the positions
STEPS = 10  # training steps on the batch before its running statistics are used
MOMENTUM = 0.1
_ONE_AT_A_TIME = threading.Lock()  # a dispatch mode such as Allocations sets a flag of the whole process
CALLS, BUDGET = (3, 9), 0.005  # minimum and maximum number of timed calls, and time limit in seconds


@dataclass(frozen=True)
class SharedScale:
    """The input of a comparison and the common scale of its figures.

    Attributes:
        low: the lower limit of the histograms.
        high: the upper limit of the histograms.
        counts: (BINS,), the number of input values in each bin.
        sheet: (rows, columns), the displayed part of the input; see `sheet`.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    sheet: NDArray[np.float32]


@dataclass(frozen=True)
class Compared:
    """The result of one method on the input of a comparison.

    Attributes:
        name: the name of the method.
        title: the title of the method.
        settings: the values of the knobs: defaults, except for sizes that must divide an axis.
        shares: a description of the values that share a statistic.
        groups: (n, c, p), the group of each cell of an evenly spaced block, or None without groups.
        statistics: the number of groups, or None without groups.
        parameters: the number of learned parameters.
        seconds: the median time of a call.
        memory: the peak memory of a call in bytes, without input and output.
        output: the size of the output in bytes.
        distance: the root mean square difference of output and input.
        mean: the mean of the output.
        std: the standard deviation of the output.
        counts: (BINS,), the number of output values in each bin of the common scale.
        outside: the fraction of the output values outside the bins.
        sheet: (rows, columns), the displayed part of the output.
    """

    name: str
    title: str
    settings: dict[str, Value]
    shares: str
    groups: NDArray[np.int64] | None
    statistics: int | None
    parameters: int
    seconds: float
    memory: int
    output: int
    distance: float
    mean: float
    std: float
    counts: NDArray[np.int64]
    outside: float
    sheet: NDArray[np.float32]


def look(x: Tensor, mask: Tensor | None = None) -> SharedScale:
    """Compute the common scale, which covers the input and outputs of unit variance.

    Args:
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        mask: (N, T) bool, the real frames of padded sequences; other frames are not counted.

    Raises:
        ValueError: NaN or infinity in `x`.
    """
    check_finite(x)
    real = x if mask is None else x[mask]  # shape of x, or (frames, D)
    low, high = value_range(real)
    low, high = min(low, -LIMIT), max(high, LIMIT)
    return SharedScale(low, high, histogram(real, low, high, BINS).counts.numpy(), sheet(x))


def compare(
    method: Normalization,
    x: Tensor,
    ground: SharedScale,
    running: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
) -> Compared:
    """Normalize the input with one method and measure the result.

    Args:
        method: a registered normalization of activations that accepts the layout of `x`.
        x: the input, in its layout; not modified.
        ground: the result of `look` for `x`.
        running: running mean and variance (C,), for a method that uses them; None for those after training steps
            on `x`.
        mask: (N, T) bool, the real frames of padded sequences. Other frames are not counted, and not normalized by a
            method that takes a mask.

    Returns:
        The numbers, on the CPU.

    Raises:
        ValueError: an input that the method rejects.
    """
    layout = layout_of(x.shape)
    settings = fitting(method, x.shape)
    sides = make_sides(method, x) | ({} if mask is None else {"mask": mask})
    stored = (running or _running(x)) if method.takes("running_sq") else None

    def call() -> Tensor:
        return apply(method, x, layout, running=stored, sides=sides, **settings)  # shape of x

    with _ONE_AT_A_TIME, Allocations() as allocations:
        y = call()  # shape of x; not timed, as the first call is slower
    seconds = _median_time(call, x.device)
    pattern, given = method.pattern(layout, settings), sizes(method, settings)
    before, after = ((t if mask is None else t[mask]).float() for t in (x, y))  # shape of x, or (frames, D)
    drawn = histogram(after, ground.low, ground.high, BINS)
    return Compared(
        method.name,
        method.title,
        settings,
        describe_axes(pattern) if pattern else _describe_receptive_field(method, x, settings, stored, sides),
        _block(method, pattern, x.shape, settings) if pattern else None,
        count(pattern, x.shape, **given) if pattern else None,
        sum(math.prod(shape) for shape in learned(method, x.shape, settings).values()),
        seconds,
        max(0, allocations.peak - y.nbytes),
        y.nbytes,
        float((after - before).square().mean().sqrt()),
        float(after.mean()),
        float(after.std(correction=0)),
        drawn.counts.numpy(),
        drawn.outside,
        sheet(y),
    )


def fitting(method: Normalization, shape: torch.Size) -> dict[str, Value]:
    """The default settings of a method, with sizes that divide the axes of the shape.

    Args:
        method: a registered normalization of activations.
        shape: the shape of the input, in its layout.

    Returns:
        The value of every knob. A size is the largest divisor that is smaller than the axis and at most the default.
    """
    layout, settings = layout_of(shape), method.settings()
    for knob, axis in divided_axes(method, layout).items():
        length = shape[layout.index(axis)]
        settings[knob] = max((part for part in divisors(length)[:-1] if part <= int(settings[knob])), default=1)
    return settings


def learned(method: Normalization, shape: torch.Size, settings: Mapping[str, Value]) -> dict[str, tuple[int, ...]]:
    """The shapes of the learned parameters of a method, by the name of the argument.

    Args:
        method: a registered normalization of activations.
        shape: the shape of the input, in its layout.
        settings: the values of the knobs.

    Returns:
        The shapes, () for a scalar. Arguments that another network computes (scale, shift, style) are not included.
    """
    layout = layout_of(shape)
    channels = (shape[channel_axis(layout)],)
    pattern = method.pattern(layout, settings)
    if method.family == "layer" and pattern:  # one parameter per element of the shared axes
        kept = parse(pattern)[1]
        affine = tuple(size for letter, size in zip(layout, shape, strict=True) if letter not in kept)
    else:
        affine = channels
    shapes: dict[str, tuple[int, ...]] = {
        "weight": affine, "bias": affine, "threshold": channels, "g": (), "mean_weights": (3,), "var_weights": (3,),
    }  # fmt: skip
    taken = {name: size for name, size in shapes.items() if method.takes(name)}
    return taken | {knob.name: () for knob in method.knobs if "learned" in knob.help}


def sheet(t: Tensor) -> NDArray[np.float32]:
    """A part of a tensor as one image: four channels of two samples of maps, or two samples of sequences.

    Args:
        t: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W), of which the central slice is used.

    Returns:
        (rows, columns), a copy.
    """
    layout = layout_of(t.shape)
    samples, channels, side = SHEET[layout]
    if layout == "nc":
        part = t[:side, :side]  # (n, c)
    elif layout == "ntd":
        part = t[:samples, :side, :side].flatten(0, 1)  # (n t, d)
    else:
        maps = t[:, :, t.shape[2] // 2] if layout == "ncdhw" else t  # (N, C, H, W)
        step = max(-(-size // side) for size in maps.shape[2:])
        part = rearrange(maps[:samples, :channels, ::step, ::step], "n c h w -> (n h) (c w)")
    return np.array(part.float().cpu().numpy())


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that measures the peak size in bytes of the tensors that operations create in it.

    Temporary memory inside a single operation and tensors that existed before are not included.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the default implementation imports the compiler, which takes 1.5 s

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {_storage(leaf)[0] for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                name, storage = _storage(leaf)
                if name not in given and name not in self._live:
                    self._live[name] = storage.nbytes()
                    weakref.finalize(storage, self._live.pop, name, None)
        self.peak = max(self.peak, sum(self._live.values()))
        return result


def _storage(tensor: Tensor) -> tuple[int, torch.UntypedStorage]:
    """The memory of a tensor, which its views share, and a number that identifies it."""
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _median_time(call: Callable[[], Tensor], device: torch.device) -> float:
    """The median time of several calls, in seconds."""
    times: list[float] = []
    while len(times) < CALLS[0] or (len(times) < CALLS[1] and sum(times) < BUDGET):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _running(x: Tensor) -> tuple[Tensor, Tensor]:
    """The running mean and variance after STEPS training steps on `x`, initially 0 and 1."""
    values = x.movedim(channel_axis(layout_of(x.shape)), 1)  # (N, C, ...)
    start = x.new_zeros(values.shape[1]), x.new_ones(values.shape[1])  # (C,), (C,)
    return running_statistics(
        values, *start, 1 - (1 - MOMENTUM) ** STEPS
    )  # repeated steps on one batch equal a single larger step


def _describe_receptive_field(
    method: Normalization,
    x: Tensor,
    settings: Mapping[str, Value],
    running: tuple[Tensor, Tensor] | None,
    sides: Mapping[str, Tensor],
) -> str:
    """Describe the values that the result in the central cell depends on."""
    layout = layout_of(x.shape)
    middle = tuple(size // 2 for size in x.shape)
    index = reads(method, x, layout, middle, settings, running, sides).nonzero().cpu()  # (values, axes)
    spans = [len(set(coordinates.tolist())) for coordinates in index.unbind(1)]
    axes = zip(layout.upper(), spans, x.shape, strict=True)
    extents = [f"all {axis}" if span == size else f"{span} of {size} {axis}" for axis, span, size in axes if span > 1]
    return f"no groups: each result depends on {', '.join(extents)}" if extents else "each value separately"


def _block(method: Normalization, pattern: str, shape: torch.Size, settings: Mapping[str, Value]) -> NDArray[np.int64]:
    """The groups (n, c, p) of a block of evenly spaced cells."""
    layout = layout_of(shape)
    channel = channel_axis(layout)
    samples, channels = (_spread(shape[axis], most) for axis, most in ((0, BLOCK[0]), (channel, BLOCK[1])))
    if method.batch_order:
        samples = method.batch_order(shape[0], **settings).argsort()[samples]  # (n,), positions in the shuffled batch
    index = (samples, slice(None), channels) if layout == "ntd" else (samples, channels)
    groups = group_index(pattern, shape, layout, index, **sizes(method, settings)).movedim(channel, 1)  # (n, c, ...)
    groups = groups.reshape(len(samples), len(channels), -1)  # (n, c, P)
    return groups[:, :, _spread(groups.shape[2], BLOCK[2])].numpy()


def _spread(size: int, most: int) -> Tensor:
    """At most `most` evenly spaced indices of an axis."""
    return torch.linspace(0, size - 1, min(most, size)).round().long()  # (chosen,)
