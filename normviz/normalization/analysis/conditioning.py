"""Generated styles, scales and shifts, to demonstrate conditional normalizations without a condition."""

from __future__ import annotations

import torch
from torch import Tensor

from normviz.activations import channel_axis, layout_of
from normviz.registry import Normalization


def make_sides(method: Normalization, x: Tensor, strength: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    """Generate the side inputs that a method takes.

    Args:
        method: a registered normalization of activations.
        x: the input, in its layout.
        strength: the standard deviation of scales and shifts; 0 has no effect.
        seed: the seed of scales and shifts.

    Returns:
        By the name of the argument: `style`, the previous sample in the batch; `scale` and `shift`, one number per
        sample and channel, or a smooth map for each of them if the method takes maps. Empty for other methods.
    """
    sides: dict[str, Tensor] = {}
    if method.takes("style"):
        sides["style"] = x.roll(1, 0)  # shape of x
    if method.takes("scale") and method.takes("shift"):
        generator = torch.Generator().manual_seed(seed)
        channels = x.shape[channel_axis(layout_of(x.shape))]
        for name in ("scale", "shift"):
            values = torch.randn(x.shape[0], channels, generator=generator).to(x) * strength  # (N, C)
            sides[name] = _as_map(values, x) if method.family == "conditional" and x.ndim > 3 else values
    return sides


def _as_map(values: Tensor, x: Tensor) -> Tensor:
    """Expand each number to a map: a linear ramp from the number at the left to its negative at the right."""
    ramp = torch.linspace(1, -1, x.shape[-1]).to(x)  # (W,)
    return (values.reshape(*values.shape, *[1] * (x.ndim - 2)) * ramp).expand_as(x)  # shape of x
