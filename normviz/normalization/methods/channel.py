"""Normalization of channels within one example: instance norm, group norm, and their kin."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, normalization

__all__ = ["divisors", "filter_response_norm", "global_response_norm", "group_norm", "instance_norm", "switchable_norm"]

_PER_CHANNEL = {"ntd": "n d t -> n d", "nchw": "n c h w -> n c", "ncdhw": "n c d h w -> n c"}


@normalization(
    title="Instance Normalization",
    cite="ulyanov2016instance",
    aliases=("IN", "InstanceNorm", "contrast normalization"),
    axes=_PER_CHANNEL,
    formula=r"y = \gamma_c\,\frac{x - \mu_{nc}}{\sqrt{\sigma^2_{nc} + \epsilon}} + \beta_c",
    center="mean",
    scale="std",
    use="For style transfer and image generation: it removes the contrast of each picture, channel by channel.",
    torch="F.instance_norm(x, weight=weight, bias=bias, eps=eps)",
    common_mistake="nn.InstanceNorm2d learns no gamma and beta unless affine=True, unlike all other norms of PyTorch.",
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
    check_positions("instance_norm", x)
    return torch.group_norm(x, x.shape[1], weight, bias, eps)  # (N, C, ...)


@normalization(
    title="Group Normalization",
    cite="wu2018group",
    aliases=("GN", "GroupNorm"),
    axes={
        "nc": "n (g c) -> n g",
        "ntd": "n (g d) t -> n g",
        "nchw": "n (g c) h w -> n g",
        "ncdhw": "n (g c) d h w -> n g",
    },
    formula=r"y = \gamma_c\,\frac{x - \mu_{ng}}{\sqrt{\sigma^2_{ng} + \epsilon}} + \beta_c,"
    r" \quad g = 1, \dots, G \text{ groups}",
    center="mean",
    scale="std",
    use="In place of batch norm where batches are small, as in detection and segmentation.",
    torch="F.group_norm(x, num_groups, weight, bias, eps)",
    common_mistake="nn.GroupNorm(1, C) is not layer norm: its gamma and beta are one for each channel, not one for each element; "
    "and on tokens it wants (N, D, T), not (N, T, D).",
)
def group_norm(
    x: Tensor,
    num_groups: Annotated[int, Range(1, 1024, symbol="G", log=True)] = 8,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each group of neighboring channels of each example with its own mean and variance.

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


@normalization(
    title="Filter Response Normalization",
    cite="singh2020frn",
    aliases=("FRN",),
    axes=_PER_CHANNEL,
    formula=r"y = \max\Bigl(\gamma_c\,\frac{x}{\sqrt{\operatorname{mean}_{hw} x^2 + \epsilon}} + \beta_c,"
    r"\; \tau_c\Bigr)",
    scale="rms",
    use="In convolutional networks where batches are too small for batch norm.",
    torch="torch.maximum(F.rms_norm(x, x.shape[2:], None, eps) * weight[:, None, None] + bias[:, None, None], "
    "threshold[:, None, None])",
    common_mistake="It subtracts no mean, so a ReLU after it can switch whole maps off: learn its threshold instead of a ReLU.",
)
def filter_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Divide each channel of each example by its root mean square, and cut it off below a threshold.

    Args:
        x: (N, C, ...); the channels of a sequence come second: (N, D, T).
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        threshold: (C,), the least output tau, or None for no threshold.
        eps: added to the mean square under the root.

    Returns:
        The normalized activations, shape and dtype of `x`; where a map is a single value, only its sign is left.

    Raises:
        ValueError: an unfit shape.

    Source:
        Singh & Krishnan 2020, Eqs. 1, 2 and 3.
    """
    check_input("filter_response_norm", x, lowest_rank=3)
    check_parameters("filter_response_norm", (x.shape[1],), weight=weight, bias=bias, threshold=threshold)
    y = _scaled(F.rms_norm(x, x.shape[2:], None, eps), weight, bias)  # (N, C, ...)
    return y if threshold is None else torch.maximum(y, per_channel(threshold, x))  # (N, C, ...)


@normalization(
    title="Switchable Normalization",
    cite="luo2018switchable",
    aliases=("SwitchNorm",),
    axes={"nchw": None, "ncdhw": None},
    formula=r"y = \gamma_c\,\frac{x - \sum_k w_k \mu_k}{\sqrt{\sum_k w'_k \sigma^2_k + \epsilon}} + \beta_c,"
    r" \quad k \in \{\text{IN}, \text{LN}, \text{BN}\}",
    use="To let training choose, layer by layer, between instance, layer and batch norm.",
    torch="",
    common_mistake="A part of its statistics comes from the batch: at inference that part needs running statistics, "
    "and very small batches hurt it.",
)
def switchable_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean_weights: Tensor | None = None,
    var_weights: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize with a learned mixture of the statistics of instance norm, layer norm and batch norm.

    Args:
        x: (N, C, ...) with more than one position, in training: the batch's own statistics are mixed in.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        mean_weights: (3,), logits of the means of instance, layer and batch norm, or None for equal shares.
        var_weights: (3,), logits of their variances, or None for equal shares.
        eps: added to the mixed variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an unfit shape, or one position only.

    Source:
        Luo et al. 2018, Eqs. 3 to 5.
    """
    check_input("switchable_norm", x, lowest_rank=3)
    check_parameters("switchable_norm", (x.shape[1],), weight=weight, bias=bias)
    check_parameters("switchable_norm", (3,), mean_weights=mean_weights, var_weights=var_weights)
    check_positions("switchable_norm", x)
    values = x.flatten(2) if x.dtype in (torch.float32, torch.float64) else x.flatten(2).float()  # (N, C, P)
    mean = values.mean(2, keepdim=True)  # (N, C, 1), that of instance norm, like `inside`
    around = values - mean  # (N, C, P)
    inside = around.square().mean(2, keepdim=True)  # (N, C, 1), the variance
    across = [torch.var_mean(mean, axis, correction=0, keepdim=True) for axis in (1, 0)]  # of layer and batch norm
    means = [mean, *(part[1] for part in across)]  # (N, C, 1), (N, 1, 1), (1, C, 1)
    variances = [inside, *(inside.mean(axis, True) + part[0] for axis, part in zip((1, 0), across, strict=True))]
    center, spread = _mixed(means, mean_weights), _mixed(variances, var_weights)  # (N, C, 1), (N, C, 1)
    y = (around + (mean - center)) * (spread + eps).rsqrt()  # (N, C, P)
    return _scaled(y.to(x.dtype).view_as(x), weight, bias)  # (N, C, ...)


@normalization(
    title="Global Response Normalization",
    cite="woo2023convnext",
    aliases=("GRN",),
    axes={"ntd": "n d t -> n", "nchw": "n c h w -> n", "ncdhw": "n c d h w -> n"},
    formula=r"y = \gamma_c\,x\,\frac{G_c}{\operatorname{mean}_j G_j + \epsilon} + \beta_c + x,"
    r" \quad G_c = \lVert x_c \rVert_2 \text{ over the map}",
    use="In ConvNeXt V2, to make channels compete: strong ones grow, and fewer repeat each other.",
    torch="x + bias[:, None, None] + weight[:, None, None] * x * x.norm(dim=(2, 3), keepdim=True) / "
    "(x.norm(dim=(2, 3), keepdim=True).mean(1, keepdim=True) + eps)",
    common_mistake="With gamma and beta at 0, as it starts, it changes nothing; and it leaves the scale of the input as it is.",
)
def global_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Weigh each channel by its share of the response of all channels, and add the input again.

    Args:
        x: (N, C, ...); the channels of a sequence come second: (N, D, T).
        weight: (C,), the scale gamma, or None for 0, with which it starts.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the mean of the channels' norms.

    Returns:
        The activations, shape and dtype of `x`; with gamma and beta at 0, those of `x`.

    Raises:
        ValueError: an unfit shape.

    Source:
        Woo et al. 2023, Eqs. 1, 2 and 3 and Algorithm 1.
    """
    check_input("global_response_norm", x, lowest_rank=3)
    check_parameters("global_response_norm", (x.shape[1],), weight=weight, bias=bias)
    norm = torch.linalg.vector_norm(x.flatten(2), dim=2)  # (N, C)
    share = norm / (norm.mean(1, keepdim=True) + eps)  # (N, C)
    gain = 1 + share * (x.new_zeros(x.shape[1]) if weight is None else weight)  # (N, C)
    y = x * per_channel(gain, x)  # (N, C, ...)
    return y if bias is None else y + per_channel(bias, x)  # (N, C, ...)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Values (C,) or (N, C) with as many axes behind the channels as `x` has positions."""
    return values.reshape(*values.shape, *[1] * (x.ndim - 2))  # (C, 1, ...) or (N, C, 1, ...)


def check_positions(name: str, x: Tensor) -> None:
    """Refuse maps of a single value: they have no variance.

    Raises:
        ValueError: one position per example and channel.
    """
    if x[0, 0].numel() == 1:
        raise ValueError(
            f"{name} needs more than one position per example and channel; "
            f"shape {tuple(x.shape)} has one: use larger maps, or layer_norm or group_norm"
        )


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Gamma y + beta, one of each for a channel, in one pass."""
    if weight is None:
        return y if bias is None else y + per_channel(bias, y)  # (N, C, ...)
    if bias is None:
        return y * per_channel(weight, y)  # (N, C, ...)
    return torch.addcmul(per_channel(bias, y), y, per_channel(weight, y))  # (N, C, ...)


def _mixed(statistics: list[Tensor], logits: Tensor | None) -> Tensor:
    """The sum of three statistics, weighted by the softmax of three logits, or in equal parts."""
    if logits is None:
        logits = statistics[0].new_zeros(3)  # (3,)
    shares = logits.to(statistics[0].dtype).softmax(0)  # (3,)
    return sum(
        (share * statistic for share, statistic in zip(shares, statistics, strict=True)),
        start=statistics[0].new_zeros(()),
    )  # (N, C, 1)


def divisors(number: int) -> list[int]:
    """The whole numbers that divide `number`, in rising order: the group counts that so many channels allow."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]
