"""What a picture of one normalization needs, and nothing more: a slice, a block, bins, and one row per statistic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.normalization.apply import apply
from normviz.normalization.statistics import (
    Histogram,
    Statistics,
    check_finite,
    count,
    group_histograms,
    group_index,
    group_statistics,
    histogram,
    kept_axes,
    sizes,
    value_range,
)
from normviz.registry import Method, Value

BLOCK = (6, 12, 6)  # cells of the cube that are shown along N, C and the positions
WIDEST = 112  # rows and columns of a slice that are shown
ROWS = 1024  # statistics that are sent at most
BARS = 24  # statistics with a histogram of their own


@dataclass(frozen=True)
class Rows:
    """Some of the statistics, one row each: number, name, mean and standard deviation before and after."""

    ids: NDArray[np.int64]
    labels: list[str]
    mean_before: NDArray[np.float32]
    std_before: NDArray[np.float32]
    mean_after: NDArray[np.float32]
    std_after: NDArray[np.float32]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True)
class Before:
    """What is known of a tensor before any knob of a method but the groups is turned; worth keeping."""

    pattern: str
    live: bool
    sizes: dict[str, int]
    statistics: Statistics
    range: tuple[float, float]


@dataclass(frozen=True)
class View:
    """Numbers of one normalization of one tensor.

    Attributes:
        pattern: the axes pattern that the groups follow.
        live: whether the statistics come from this tensor (else they were stored before).
        total: the number of statistics.
        block: (n, c, p) group of each cell of an evenly spaced block of the tensor.
        block_axes: the names of the block's axes, and their sizes in the whole tensor.
        before: (rows, columns) the slice before.
        after: (rows, columns) the slice after.
        groups: (rows, columns) the group of each cell of the slice.
        slice_axes: the names of the slice's rows and columns.
        histogram_before: of all values.
        histogram_after: of all values.
        bars: the groups that have a histogram of their own.
        bars_before: (groups, bins) their counts before.
        bars_after: (groups, bins) their counts after.
        rows: mean and standard deviation of the groups that the picture shows.
    """

    pattern: str
    live: bool
    total: int
    block: NDArray[np.int64]
    block_axes: tuple[tuple[str, int], ...]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    groups: NDArray[np.int64]
    slice_axes: tuple[str, str]
    histogram_before: Histogram
    histogram_after: Histogram
    bars: NDArray[np.int64]
    bars_before: NDArray[np.int64]
    bars_after: NDArray[np.int64]
    rows: Rows


def look_before(method: Method, x: Tensor, layout: str, settings: dict[str, Value]) -> Before:
    """The groups of `x` under a method's settings, their statistics and the range of the values.

    Args:
        method: a registered normalization that shares axes in this layout.
        x: (N, C), (N, T, D) or (N, C, H, W).
        layout: "nc", "ntd" or "nchw".
        settings: the method's knobs.

    Raises:
        ValueError: NaN or infinity in `x`, or a layout or shape that the method does not take.
    """
    check_finite(x)
    pattern = method.pattern(layout, settings)
    stored = [p for key, p in method.axes.items() if key.split(" ")[0] == layout]
    if not stored:
        shapes = ", ".join(f"({', '.join(name.upper())})" for name in method.layouts())
        raise ValueError(f"{method.name} takes inputs {shapes}; received shape {tuple(x.shape)}")
    given = sizes(method, settings)
    groups = pattern or stored[0]
    return Before(groups, pattern is not None, given, group_statistics(x, groups, layout, **given), value_range(x))


def view(
    method: Method,
    x: Tensor,
    layout: str,
    settings: dict[str, Value],
    gamma: float = 1.0,
    beta: float = 0.0,
    running: tuple[Tensor, Tensor] | None = None,
    example: int = 0,
    channel: int = 0,
    bins: int = 60,
    known: Before | None = None,
) -> View:
    """Normalize `x` and gather what is drawn of it.

    Args:
        method: a registered normalization that shares axes in this layout.
        x: (N, C), (N, T, D) or (N, C, H, W).
        layout: "nc", "ntd" or "nchw".
        settings: the method's knobs.
        gamma: one scale for all values.
        beta: one shift for all values.
        running: running mean and variance (C,), for a method that reads them.
        example: which example the slice shows, where it shows one.
        channel: which channel the slice shows, where it shows one.
        bins: of the histograms.
        known: the result of `look_before` for the same arguments, if it was kept.

    Returns:
        The numbers, on the CPU.

    Raises:
        ValueError: NaN or infinity in `x`, or what the method refuses.
    """
    known = known or look_before(method, x, layout, settings)
    pattern, given = known.pattern, known.sizes
    y = apply(method, x, layout, gamma, beta, running, **settings)
    where = _slice(layout, example, channel)
    before, after = (_numpy(_sheet(t[where])) for t in (x, y))
    groups = _sheet(group_index(pattern, x.shape, layout, where, **given)).numpy()
    block, block_axes = _block(pattern, x.shape, layout, given)
    total = count(pattern, x.shape, **given)
    ids = np.unique(_first(ROWS, groups, block, np.arange(min(total, 64))))
    new = group_statistics(y, pattern, layout, **given)
    after_range = value_range(y)
    low, high = min(known.range[0], after_range[0]), max(known.range[1], after_range[1])
    bars = _first(BARS, groups, block)
    return View(
        pattern, known.live, total, block, block_axes, before, after, groups, _slice_axes(layout),
        histogram(x, low, high, bins), histogram(y, low, high, bins), bars,
        group_histograms(x, pattern, layout, low, high, bins, bars.tolist(), **given).counts.numpy(),
        group_histograms(y, pattern, layout, low, high, bins, bars.tolist(), **given).counts.numpy(),
        _rows(method, ids, known, x, layout, new, None if known.live else running),
    )  # fmt: skip


def _slice(layout: str, example: int, channel: int) -> tuple[int | slice, ...]:
    """The index of the part of the tensor that the heatmaps show."""
    return {"nc": (), "ntd": (example,), "nchw": (example, channel)}[layout]


def _slice_axes(layout: str) -> tuple[str, str]:
    return {"nc": ("N", "C"), "ntd": ("T", "D"), "nchw": ("H", "W")}[layout]


def _sheet(part: Tensor) -> Tensor:
    """The part of a slice that is shown: (rows, columns), each at most WIDEST."""
    return part[:WIDEST, :WIDEST]


def _numpy(part: Tensor) -> NDArray[np.float32]:
    return np.array(part.float().cpu().numpy())  # a copy: it must not hold on to the whole tensor


def _block(
    pattern: str, shape: torch.Size, layout: str, given: dict[str, int]
) -> tuple[NDArray[np.int64], tuple[tuple[str, int], ...]]:
    """The groups (n, c, p) of evenly spaced cells, with the axes' names and whole sizes."""
    order = {"nc": "nc", "ntd": "ndt", "nchw": "nchw"}[layout]
    steps: list[int | slice] = []
    for letter, size in zip(layout, shape, strict=True):
        most = BLOCK["ncd".find(letter)] if letter in "nc" else BLOCK[1] if letter == "d" else size
        chosen = min(size, most)
        steps.append(slice(0, size - size // chosen + 1, size // chosen))
    groups = group_index(pattern, shape, layout, tuple(steps), **given)
    groups = groups.permute([layout.index(letter) for letter in order])
    groups = groups.reshape(groups.shape[0], groups.shape[1], -1)[: BLOCK[0], : BLOCK[1]]  # (n, c, P)
    positions = groups.shape[2]
    groups = groups[:, :, torch.linspace(0, positions - 1, min(BLOCK[2], positions)).long()]  # (n, c, p)
    names = {"nc": ("N", "C", ""), "ntd": ("N", "D", "T"), "nchw": ("N", "C", "H, W")}[layout]
    whole = [shape[layout.index(letter)] for letter in order]
    return groups.numpy(), tuple(zip(names, (whole[0], whole[1], math.prod(whole[2:])), strict=True))


def _first(most: int, *groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `most` different groups, those of the earlier arrays first."""
    found: dict[int, None] = {}
    for array in groups:
        found |= dict.fromkeys(np.unique(array).tolist())
    return np.array(list(found)[:most], dtype=np.int64)


def _rows(
    method: Method,
    ids: NDArray[np.int64],
    known: Before,
    x: Tensor,
    layout: str,
    new: Statistics,
    stored: tuple[Tensor, Tensor] | None,
) -> Rows:
    """The rows of the chosen groups; centre and spread are what the formula subtracts and puts under the root."""
    mean_before, std_before, mean_after, std_after = (
        _numpy(t)[ids] for t in (known.statistics.mean, known.statistics.std, new.mean, new.std)
    )
    if stored is not None:
        centre, spread = (_numpy(t)[ids] for t in stored)
    elif r"\mu" in method.formula:
        centre, spread = mean_before, std_before**2
    else:
        centre, spread = np.zeros_like(mean_before), mean_before**2 + std_before**2
    names = kept_axes(known.pattern, x.shape, layout, **known.sizes)
    places = np.unravel_index(ids, list(names.values()) or [1])
    labels = [
        ", ".join(f"{name.upper()} {place}" for name, place in zip(names, row, strict=False)) or "all"
        for row in zip(*(place.tolist() for place in places), strict=True)
    ]
    return Rows(ids, labels, mean_before, std_before, mean_after, std_after, centre, spread)
