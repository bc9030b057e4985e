"""The einops patterns of the methods: which values share a statistic.

A pattern such as "n (g c) h w -> n g" names the axes of the input on its left, in the order that the
method expects. Axes on its right keep separate statistics; all other axes share one. Each axis has
one letter of the layout (n, c, t, d, h, w). A second letter in parentheses splits the axis; its size is
the value of the knob with that symbol. "(g c)" means G groups of C/G channels; "(n b)" means N/B
batches of B samples. `sizes` reads the knobs; pass its result to the functions below.

Groups are the sets of values that share a statistic. They are numbered in row-major order of the right side.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from normviz.activations import layout_of
from normviz.registry import Normalization, Value

LETTERS = "nctdhw"


@functools.lru_cache(maxsize=256)
def parse(pattern: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Split a pattern into the names in each axis of its left side, and the names on its right side."""
    left, right = pattern.split("->")
    axes = tuple(tuple(names.strip("()").split()) for names in re.findall(r"\([^)]*\)|\w+", left))
    return axes, tuple(right.split())


def sizes(method: Normalization, settings: Mapping[str, Value]) -> dict[str, int]:
    """The values of the whole-number knobs by the letter of their symbol, for the split axes of a pattern."""
    return {knob.symbol.lower(): int(settings[knob.name]) for knob in method.knobs if knob.type is int}


def divided_axes(method: Normalization, layout: str) -> dict[str, str]:
    """The axes of a layout that are split into parts, by the name of the knob that sets the number of parts or samples.

    Example: {"num_groups": "c"} for "n (g c) h w -> n g".
    """
    knobs = {knob.symbol.lower(): knob.name for knob in method.knobs if knob.type is int}
    return {
        knobs[name]: letter
        for pattern in method.patterns(layout).values()
        for names in (parse(pattern)[0] if pattern else ())
        for letter in names
        for name in names
        if letter in LETTERS and name in knobs
    }


def order(pattern: str) -> str:
    """The letters of the layout in the order that the method expects: "ndt" for "n (g d) t -> n g"."""
    return "".join(name for names in parse(pattern)[0] for name in names if name in LETTERS)


def shared_axes(pattern: str) -> tuple[str, ...]:
    """The names of the axes that share a statistic: ("c", "h", "w") for "n (g c) h w -> n g"."""
    axes, kept = parse(pattern)
    return tuple(name for names in axes for name in names if name not in kept)


def describe_axes(pattern: str) -> str:
    """Describe the shared axes: "shared over N, H, W", or "shared over C/G, H, W" if an axis is split."""
    axes, kept = parse(pattern)
    parts = []
    for names in axes:
        shared = [name.upper() for name in names if name in LETTERS and name not in kept]
        parts += ["/".join([*shared, *(name.upper() for name in names if name in kept)])] if shared else []
        split_off = [name.upper() for name in names if name not in LETTERS and name not in kept]
        whole = "/".join(name.upper() for name in names if name in LETTERS)
        parts += [f"{part} of {whole}" for part in split_off]
    return f"shared over {', '.join(parts)}" if parts else "nothing is shared"


def split(pattern: str, shape: Sequence[int], layout: str, given: Mapping[str, int]) -> list[dict[str, int]]:
    """The names and sizes in each axis of the input, in the order of its layout.

    Raises:
        ValueError: the shape does not match the layout or the pattern, or an axis cannot be split evenly.
    """
    axes, _ = parse(pattern)
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
    """The number of groups.

    Args:
        pattern: the method's pattern.
        shape: the shape of the input, in its layout.
        **sizes: the sizes of the split axes, from `sizes`.

    Raises:
        ValueError: the shape does not match the pattern.
    """
    return math.prod(kept_axes(pattern, shape, layout_of(shape), **sizes).values())


def kept_axes(pattern: str, shape: Sequence[int], layout: str, **sizes: int) -> dict[str, int]:
    """The axes with separate statistics and their sizes, in the order in which groups are numbered."""
    lengths = {name: size for axis in split(pattern, shape, layout, sizes) for name, size in axis.items()}
    return {name: lengths[name] for name in parse(pattern)[1]}


def group_index(
    pattern: str, shape: Sequence[int], layout: str, index: tuple[int | slice | Tensor, ...] = (), **sizes: int
) -> Tensor:
    """The number of the group of each value in `x[index]`.

    Args:
        pattern: the method's pattern.
        shape: the shape of the whole input, in its layout.
        layout: the layout of the input.
        index: an int, a slice or an index tensor for each of the first axes; the other axes are complete.
        **sizes: the sizes of the split axes, from `sizes`.

    Returns:
        An int64 tensor with the shape of `x[index]`.

    Raises:
        ValueError: the shape does not match the pattern.
    """
    axes = split(pattern, shape, layout, sizes)
    lengths = {name: size for axis in axes for name, size in axis.items()}
    kept = parse(pattern)[1]
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
