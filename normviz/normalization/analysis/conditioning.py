"""What a conditional normalization reads besides its input, made up where nothing is given: for demonstrations."""

from __future__ import annotations

import torch
from torch import Tensor

from normviz.activations import channel_axis, layout_of
from normviz.registry import Normalization


def make_sides(method: Normalization, x: Tensor, strength: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    """Side inputs of the right shapes for a method that takes them.

    Args:
        method: a registered normalization of activations.
        x: the input, in its own layout.
        strength: the standard deviation of the conditioning's scales and shifts; 0 conditions on nothing.
        seed: of the conditioning.

    Returns:
        By the name of the argument: `style`, each example's predecessor in the batch; `scale` and `shift`, one number
        for each example and channel, or for a method of maps a smooth map of them. Empty for other methods.
    """
    sides: dict[str, Tensor] = {}
    if method.takes("style"):
        sides["style"] = x.roll(1, 0)  # shape of x
    if method.takes("scale") and method.takes("shift"):
        generator = torch.Generator().manual_seed(seed)
        channels = x.shape[channel_axis(layout_of(x.shape))]
        for name in ("scale", "shift"):
            drawn = torch.randn(x.shape[0], channels, generator=generator).to(x) * strength  # (N, C)
            sides[name] = _as_map(drawn, x) if method.family == "conditional" and x.ndim > 3 else drawn
    return sides


def _as_map(values: Tensor, x: Tensor) -> Tensor:
    """Each number spread over the map as a ramp that falls from its value on the left to its opposite on the right."""
    ramp = torch.linspace(1, -1, x.shape[-1]).to(x)  # (W,)
    return (values.reshape(*values.shape, *[1] * (x.ndim - 2)) * ramp).expand_as(x)  # shape of x
