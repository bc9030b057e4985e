"""Layouts of activations, and random activations and padding masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Layout = Literal["nc", "ntd", "nchw", "ncdhw"]
Distribution = Literal["normal", "skewed", "heavy-tailed", "shifted", "outliers", "sparse", "constant"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
DESCRIPTIONS: dict[Distribution, str] = {
    "normal": "normal, mean 0 and standard deviation 1",
    "skewed": "skewed to the right (exponential)",
    "heavy-tailed": "heavy tails (Student's t, 3 degrees of freedom)",
    "shifted": "a different mean and scale for each channel",
    "outliers": "normal, with one value in 200 multiplied by 20",
    "sparse": "after a ReLU, so half of the values are 0",
    "constant": "the same value everywhere in a channel",
}
LARGEST = 2**25  # largest number of values in a generated tensor (128 MB)


def layout_of(shape: Sequence[int]) -> Layout:
    """The layout of a shape by its rank: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).

    Raises:
        ValueError: the rank is not 2 to 5.
    """
    layouts: dict[int, Layout] = {len(layout): layout for layout in LAYOUTS}
    if len(shape) not in layouts:
        raise ValueError(
            f"the input must be (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W); received shape {tuple(shape)}"
        )
    return layouts[len(shape)]


def channel_axis(layout: Layout) -> int:
    """The index of the channel or feature axis."""
    return 2 if layout == "ntd" else 1


def generate(
    shape: Sequence[int], distribution: Distribution = "normal", seed: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Generate random activations; the same arguments give the same values on every machine.

    Args:
        shape: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W), each size at least 1.
        distribution: one of DISTRIBUTIONS.
        seed: the seed of the generator.
        device: the device of the result; values are generated on the CPU.

    Returns:
        A float32 tensor of that shape.

    Raises:
        ValueError: an invalid rank, size or distribution.
    """
    layout = layout_of(shape)
    if min(shape) < 1:
        raise ValueError(f"every size must be at least 1; received shape {tuple(shape)}")
    if torch.Size(shape).numel() > LARGEST:
        raise ValueError(
            f"at most {LARGEST:,} values can be generated; shape {tuple(shape)} has {torch.Size(shape).numel():,}"
        )
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"the distribution must be one of {', '.join(DISTRIBUTIONS)}; received {distribution!r}")
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(*shape, generator=generator)  # shape
    per_channel = [1] * len(shape)
    per_channel[channel_axis(layout)] = shape[channel_axis(layout)]
    if distribution == "skewed":
        z = torch.empty(*shape).exponential_(generator=generator)  # shape
    elif distribution == "heavy-tailed":
        chi2 = torch.randn(3, *shape, generator=generator).square_().sum(0)  # shape
        z = z / (chi2 / 3).sqrt()
    elif distribution == "shifted":
        mean = torch.randn(*per_channel, generator=generator) * 3  # size 1 except for the channels
        scale = torch.exp(torch.randn(*per_channel, generator=generator) * 0.7)  # size 1 except for the channels
        z = z * scale + mean
    elif distribution == "outliers":
        z = torch.where(torch.rand(*shape, generator=generator) < 0.005, z * 20, z)
    elif distribution == "sparse":
        z = z.relu_()
    elif distribution == "constant":
        z = (torch.randn(*per_channel, generator=generator) * 3).expand(*shape).clone()
    return z.to(device)  # shape


def padding_mask(samples: int, steps: int, share: float, seed: int = 0) -> Tensor:
    """Generate the mask of a batch of sequences of random lengths, padded at the end.

    Args:
        samples: the number of sequences, N.
        steps: the length of the longest sequence, T.
        share: the approximate fraction of padding, from 0 to below 1.
        seed: the seed of the lengths.

    Returns:
        A bool tensor (N, T), true for a real frame; each sequence has at least one.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(samples, generator=generator)  # (N,)
    low = max(
        0.0, 1 - 2 * share
    )  # relative lengths are uniform from here to 1; for shares above 0.5 short ones are more frequent
    lengths = low + (1 - low) * uniform ** max(1.0, share / (1 - share))  # (N,), relative to T
    lengths = (lengths * steps).round().clamp(1, steps)  # (N,)
    lengths[0] = steps
    return torch.arange(steps) < lengths[:, None]  # (N, T)
