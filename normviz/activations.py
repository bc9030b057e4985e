"""Generated activations: seeded, in four layouts and seven distributions; and the padding of sequences."""

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
    "shifted": "each channel with a mean and a scale of its own",
    "outliers": "normal, one value in 200 is 20 times larger",
    "sparse": "after a ReLU: half of the values are 0",
    "constant": "one constant per channel",
}
LARGEST = 2**25  # values: a generated tensor has at most this many (128 MB)


def layout_of(shape: Sequence[int]) -> Layout:
    """The layout that a shape has by its rank: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W).

    Raises:
        ValueError: another rank.
    """
    layouts: dict[int, Layout] = {len(layout): layout for layout in LAYOUTS}
    if len(shape) not in layouts:
        raise ValueError(
            f"the input must be (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W); received shape {tuple(shape)}"
        )
    return layouts[len(shape)]


def channel_axis(layout: Layout) -> int:
    """The index of the axis that holds channels or features."""
    return 2 if layout == "ntd" else 1


def generate(
    shape: Sequence[int], distribution: Distribution = "normal", seed: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Random activations; the same arguments give the same numbers on every machine.

    Args:
        shape: (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W), each size at least 1.
        distribution: one of DISTRIBUTIONS.
        seed: the seed of the generator.
        device: where the result goes; the numbers are drawn on the CPU.

    Returns:
        A float32 tensor of that shape.

    Raises:
        ValueError: a rank, size or distribution that is not offered.
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
        mean = torch.randn(*per_channel, generator=generator) * 3  # 1 but for the channels
        scale = torch.exp(torch.randn(*per_channel, generator=generator) * 0.7)  # 1 but for the channels
        z = z * scale + mean
    elif distribution == "outliers":
        z = torch.where(torch.rand(*shape, generator=generator) < 0.005, z * 20, z)
    elif distribution == "sparse":
        z = z.relu_()
    elif distribution == "constant":
        z = (torch.randn(*per_channel, generator=generator) * 3).expand(*shape).clone()
    return z.to(device)  # shape


def padding_mask(examples: int, steps: int, share: float, seed: int = 0) -> Tensor:
    """Which frames of a batch of sequences are real: each sequence is padded at its end, the longest not at all.

    Args:
        examples: the number of sequences, N.
        steps: the length of the longest, T.
        share: the share of all frames that is padding, about; 0 to below 1.
        seed: the seed of the lengths.

    Returns:
        A bool tensor (N, T), True for a real frame; each sequence has at least one.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(examples, generator=generator)  # (N,)
    low = max(0.0, 1 - 2 * share)  # lengths spread evenly from here to 1; beyond a half they crowd at the short end
    lengths = low + (1 - low) * uniform ** max(1.0, share / (1 - share))  # (N,) shares of T
    lengths = (lengths * steps).round().clamp(1, steps)  # (N,)
    lengths[0] = steps
    return torch.arange(steps) < lengths[:, None]  # (N, T)
