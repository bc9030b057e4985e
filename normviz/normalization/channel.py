"""Normalization of channels within one example: group norm and instance norm."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, register


@register(
    title="Instance Normalization",
    kind="normalization",
    cite="ulyanov2016instance",
    aliases=("IN", "InstanceNorm", "contrast normalization"),
    axes={"ntd": "n d t -> n d", "nchw": "n c h w -> n c"},
    formula=r"y = \gamma_c\,\frac{x - \mu_{nc}}{\sqrt{\sigma^2_{nc} + \epsilon}} + \beta_c",
)
def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each channel of each example with its own mean and variance.

    It is group norm with as many groups as channels, and runs on that kernel, which is faster.

    Args:
        x: (N, C, ...) with more than one position; the channels of a sequence come second: (N, D, T).
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an unfit shape, or one position only.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, Eq. 3.
    """
    check_input("instance_norm", x, lowest_rank=3)
    check_parameters("instance_norm", (x.shape[1],), weight=weight, bias=bias)
    if x[0, 0].numel() == 1:
        raise ValueError(
            "instance_norm needs more than one position per example and channel; "
            f"shape {tuple(x.shape)} has one: use larger maps, or layer_norm or group_norm"
        )
    return torch.group_norm(x, x.shape[1], weight, bias, eps)  # (N, C, ...)


@register(
    title="Group Normalization",
    kind="normalization",
    cite="wu2018group",
    aliases=("GN", "GroupNorm"),
    axes={"nc": "n (g c) -> n g", "ntd": "n (g d) t -> n g", "nchw": "n (g c) h w -> n g"},
    formula=r"y = \gamma_c\,\frac{x - \mu_{ng}}{\sqrt{\sigma^2_{ng} + \epsilon}} + \beta_c,"
    r" \quad g = 1, \dots, G \text{ groups}",
)
def group_norm(
    x: Tensor,
    num_groups: Annotated[int, Range(1, 1024, symbol="G", log=True)] = 8,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each group of neighbouring channels of each example with its own mean and variance.

    Args:
        x: (N, C) or (N, C, ...); the channels of a sequence come second: (N, D, T).
        num_groups: the number of groups; it must divide the number of channels.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`; where a group holds a single value, beta.

    Raises:
        ValueError: an unfit shape, or a number of groups that does not divide the channels.

    Source:
        Wu & He 2018, Eqs. 1, 2, 6 and 7.
    """
    check_input("group_norm", x)
    channels = x.shape[1]
    check_parameters("group_norm", (channels,), weight=weight, bias=bias)
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm needs a number of groups that divides the channels; {channels} channels "
            f"(shape {tuple(x.shape)}) cannot be split into {num_groups} groups: "
            f"choose one of {', '.join(map(str, divisors(channels)))}"
        )
    return torch.group_norm(x, num_groups, weight, bias, eps)  # (N, C, ...)


def divisors(number: int) -> list[int]:
    """The whole numbers that divide `number`, in rising order: the group counts that so many channels allow."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]
