"""Several normalizations of the same numbers, side by side: what each shares, what it makes of them, what it costs."""

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
LIMIT = 3.0  # the value of the last color of the pictures of values; beyond it the color stays
SHEET = {"nc": (1, 16, 32), "ntd": (2, 1, 32), "nchw": (2, 4, 16), "ncdhw": (2, 4, 16)}  # examples, channels, cells
BLOCK = (4, 6, 4)  # cells of the cube along N, C and the positions
STEPS = 10  # training steps on this very batch before its running statistics are used
MOMENTUM = 0.1
_ONE_AT_A_TIME = threading.Lock()  # PyTorch notes for the whole process that a mode like Allocations is entered
CALLS, BUDGET = (3, 9), 0.005  # timed calls, at least and at most, and the seconds after which no further one is made


@dataclass(frozen=True)
class SharedScale:
    """What all methods are drawn on: the input, and one scale for all of them.

    Attributes:
        low: the start of the histograms' axis.
        high: its end.
        counts: (BINS,) how many values of the input lie in each bin.
        sheet: (rows, columns) the part of the input that is shown; see `sheet`.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    sheet: NDArray[np.float32]


@dataclass(frozen=True)
class Compared:
    """One method on the common input.

    Attributes:
        name: of the method.
        title: of the method.
        settings: its knobs: the defaults, but for sizes that have to fit the shape.
        shares: which values share a statistic, in words.
        groups: (n, c, p) the group of each cell of an evenly spaced block, or None where there are no groups.
        statistics: how many of each kind there are, or None without groups.
        parameters: how many numbers it learns.
        seconds: the median time of a call.
        memory: bytes that PyTorch's operations held at most during a call, beyond input and output.
        output: bytes of the output.
        distance: the root mean square of what the output differs from the input.
        mean: of all outputs.
        std: their standard deviation.
        counts: (BINS,) how many outputs lie in each of the ground's bins.
        outside: the share of the outputs that lies outside them.
        sheet: (rows, columns) the same part of the output as the ground's.
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
    """The common ground of an input: scales that hold it and outputs of about unit variance.

    Args:
        x: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).
        mask: (N, T) bool, the real frames of padded sequences; only they are counted.

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
    """Normalize the common input with one method, measure and count.

    Args:
        method: a registered normalization of activations that takes the layout of `x`.
        x: the input, in its own layout; it is not changed.
        ground: what `look` found for it.
        running: stored mean and variance (C,), for a method that reads them; None for those after some training steps
            on this very input.
        mask: (N, T) bool, the real frames of padded sequences: what is counted, and what a method that knows of
            padding normalizes.

    Returns:
        The numbers, on the CPU.

    Raises:
        ValueError: what the method refuses.
    """
    layout = layout_of(x.shape)
    settings = fitting(method, x.shape)
    sides = make_sides(method, x) | ({} if mask is None else {"mask": mask})
    stored = (running or _running(x)) if method.takes("running_sq") else None

    def call() -> Tensor:
        return apply(method, x, layout, running=stored, sides=sides, **settings)  # shape of x

    with _ONE_AT_A_TIME, Allocations() as seen:
        y = call()  # shape of x; the first call, which is not timed
    seconds = _median_time(call, x.device)
    pattern, given = method.pattern(layout, settings), sizes(method, settings)
    before, after = ((t if mask is None else t[mask]).float() for t in (x, y))  # shape of x, or (frames, D)
    drawn = histogram(after, ground.low, ground.high, BINS)
    return Compared(
        method.name,
        method.title,
        settings,
        describe_axes(pattern) if pattern else _reads(method, x, settings, stored, sides),
        _block(method, pattern, x.shape, settings) if pattern else None,
        count(pattern, x.shape, **given) if pattern else None,
        sum(math.prod(shape) for shape in learned(method, x.shape, settings).values()),
        seconds,
        max(0, seen.peak - y.nbytes),
        y.nbytes,
        float((after - before).square().mean().sqrt()),
        float(after.mean()),
        float(after.std(correction=0)),
        drawn.counts.numpy(),
        drawn.outside,
        sheet(y),
    )


def fitting(method: Normalization, shape: torch.Size) -> dict[str, Value]:
    """A method's default settings, but for sizes that have to fit the shape: of these the largest proper part.

    Args:
        method: a registered normalization of activations.
        shape: of the input, in its own layout.

    Returns:
        Every knob's value; groups, say, divide the channels, and are fewer than these.
    """
    layout, settings = layout_of(shape), method.settings()
    for knob, axis in divided_axes(method, layout).items():
        length = shape[layout.index(axis)]
        settings[knob] = max((part for part in divisors(length)[:-1] if part <= int(settings[knob])), default=1)
    return settings


def learned(method: Normalization, shape: torch.Size, settings: Mapping[str, Value]) -> dict[str, tuple[int, ...]]:
    """The shapes of what a method learns, by the name of the argument.

    Args:
        method: a registered normalization of activations.
        shape: of the input, in its own layout.
        settings: the method's knobs.

    Returns:
        Shapes, () for one number. What another network would learn (scale, shift, style) is not counted.
    """
    layout = layout_of(shape)
    channels = (shape[channel_axis(layout)],)
    pattern = method.pattern(layout, settings)
    if method.family == "layer" and pattern:  # one number for each element that is normalized together
        kept = parse(pattern)[1]
        affine = tuple(size for letter, size in zip(layout, shape, strict=True) if letter not in kept)
    else:
        affine = channels
    known: dict[str, tuple[int, ...]] = {
        "weight": affine, "bias": affine, "threshold": channels, "g": (), "mean_weights": (3,), "var_weights": (3,),
    }  # fmt: skip
    found = {name: size for name, size in known.items() if method.takes(name)}
    return found | {knob.name: () for knob in method.knobs if "learned" in knob.help}


def sheet(t: Tensor) -> NDArray[np.float32]:
    """A part of a tensor as one picture: of maps four channels of two examples, of sequences two examples.

    Args:
        t: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W), of which the middle slice is taken.

    Returns:
        (rows, columns), a copy.
    """
    layout = layout_of(t.shape)
    examples, channels, side = SHEET[layout]
    if layout == "nc":
        part = t[:side, :side]  # (n, c)
    elif layout == "ntd":
        part = t[:examples, :side, :side].flatten(0, 1)  # (n t, d)
    else:
        maps = t[:, :, t.shape[2] // 2] if layout == "ncdhw" else t  # (N, C, H, W)
        step = max(-(-size // side) for size in maps.shape[2:])
        part = rearrange(maps[:examples, :channels, ::step, ::step], "n c h w -> (n h) (c w)")
    return np.array(part.float().cpu().numpy())


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, the bytes of the tensors that PyTorch's operations make, at most at one time.

    What a single operation needs inside itself is not seen, and neither is what existed before.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so would load PyTorch's compiler: 1.5 s

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
    """The number that names a tensor's memory, which its views share, and that memory."""
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _median_time(call: Callable[[], Tensor], device: torch.device) -> float:
    """The median of some calls, in seconds."""
    times: list[float] = []
    while len(times) < CALLS[0] or (len(times) < CALLS[1] and sum(times) < BUDGET):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _running(x: Tensor) -> tuple[Tensor, Tensor]:
    """The running mean and variance after some training steps on this very input; at the start 0 and 1."""
    values = x.movedim(channel_axis(layout_of(x.shape)), 1)  # (N, C, ...)
    start = x.new_zeros(values.shape[1]), x.new_ones(values.shape[1])  # (C,), (C,)
    return running_statistics(values, *start, 1 - (1 - MOMENTUM) ** STEPS)  # equal steps are one larger step


def _reads(
    method: Normalization,
    x: Tensor,
    settings: Mapping[str, Value],
    running: tuple[Tensor, Tensor] | None,
    sides: Mapping[str, Tensor],
) -> str:
    """Which values one result in the middle reads, in words."""
    layout = layout_of(x.shape)
    middle = tuple(size // 2 for size in x.shape)
    index = reads(method, x, layout, middle, settings, running, sides).nonzero().cpu()  # (values, axes)
    spans = [len(set(places.tolist())) for places in index.unbind(1)]
    axes = zip(layout.upper(), spans, x.shape, strict=True)
    wide = [f"all {axis}" if span == size else f"{span} of {size} {axis}" for axis, span, size in axes if span > 1]
    return f"no groups: each result reads {', '.join(wide)}" if wide else "each value on its own"


def _block(method: Normalization, pattern: str, shape: torch.Size, settings: Mapping[str, Value]) -> NDArray[np.int64]:
    """The groups (n, c, p) of evenly spaced cells."""
    layout = layout_of(shape)
    channel = channel_axis(layout)
    examples, channels = (_spread(shape[axis], most) for axis, most in ((0, BLOCK[0]), (channel, BLOCK[1])))
    if method.batch_order:
        examples = method.batch_order(shape[0], **settings).argsort()[examples]  # (n,) places in the shuffled batch
    index = (examples, slice(None), channels) if layout == "ntd" else (examples, channels)
    groups = group_index(pattern, shape, layout, index, **sizes(method, settings)).movedim(channel, 1)  # (n, c, ...)
    groups = groups.reshape(len(examples), len(channels), -1)  # (n, c, P)
    return groups[:, :, _spread(groups.shape[2], BLOCK[2])].numpy()


def _spread(size: int, most: int) -> Tensor:
    """At most `most` evenly spaced indices of an axis."""
    return torch.linspace(0, size - 1, min(most, size)).round().long()  # (chosen,)
