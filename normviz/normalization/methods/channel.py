"""Normalization of channels within one sample: instance norm, group norm and related methods."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters, per_channel
from normviz.registry import Range, normalization

__all__ = [
    "divisors",
    "filter_response_norm",
    "global_response_norm",
    "group_norm",
    "group_norm_arithmetic",
    "instance_norm",
    "instance_norm_arithmetic",
    "switchable_norm",
]

_PER_CHANNEL = {"ntd": "n d t -> n d", "nchw": "n c h w -> n c", "ncdhw": "n c d h w -> n c"}


@normalization(
    title="Instance Normalization",
    cite="ulyanov2016instance",
    aliases=("IN", "InstanceNorm", "contrast normalization"),
    axes=_PER_CHANNEL,
    formula=r"y = \gamma_c\,\frac{x - \mu_{nc}}{\sqrt{\sigma^2_{nc} + \epsilon}} + \beta_c",
    center="mean",
    scale="std",
    use="For style transfer and image generation: it removes the contrast of each image, channel by channel.",
    torch="F.instance_norm(x, weight=weight, bias=bias, eps=eps)",
    common_mistake="Unlike the other norms of PyTorch, nn.InstanceNorm2d has no gamma and beta unless affine=True.",
)
def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each channel of each sample with its own mean and variance.

    The computation runs in the kernel of group norm with C groups, which is faster than that of instance norm;
    `instance_norm_arithmetic` shows it step by step.

    Args:
        x: (N, C, ...) with more than one position; a sequence is (N, D, T).
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, or a single position.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, Eq. 3.
    """
    check_input("instance_norm", x, lowest_rank=3)
    check_parameters("instance_norm", (x.shape[1],), weight=weight, bias=bias)
    check_positions("instance_norm", x)
    return torch.group_norm(x, x.shape[1], weight, bias, eps)  # (N, C, ...)


def instance_norm_arithmetic(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Compute `instance_norm` step by step; arguments and result are the same, but inputs are not checked.

    PyTorch's kernel avoids the intermediate tensors and is about 10 times as fast (docs/BENCHMARKS.md).

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, Eq. 3.
    """
    values = at_least_float32(x)  # (N, C, H, W), as an example
    axes = tuple(range(2, x.ndim))
    mean = values.mean(axes, keepdim=True)  # (N, C, 1, 1)
    var = (values - mean).square().mean(axes, keepdim=True)  # (N, C, 1, 1)
    y = (values - mean) / (var + eps).sqrt()  # (N, C, H, W)
    y = y if weight is None else y * per_channel(weight, x)  # (N, C, H, W)
    y = y if bias is None else y + per_channel(bias, x)  # (N, C, H, W)
    return y.to(x.dtype)  # (N, C, H, W)


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
    use="A replacement for batch norm if batches are small, as in detection and segmentation.",
    torch="F.group_norm(x, num_groups, weight, bias, eps)",
    common_mistake="nn.GroupNorm(1, C) is not nn.LayerNorm: it has one gamma and beta per channel, not per element, "
    "and it expects (N, D, T), not tokens (N, T, D).",
)
def group_norm(
    x: Tensor,
    num_groups: Annotated[int, Range(1, 1024, symbol="G", log=True)] = 8,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each group of neighboring channels of each sample with its own mean and variance.

    The computation runs in PyTorch's kernel; `group_norm_arithmetic` shows it step by step.

    Args:
        x: (N, C) or (N, C, ...); a sequence is (N, D, T).
        num_groups: the number of groups; must divide the number of channels.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`; beta where a group has a single value.

    Raises:
        ValueError: an invalid shape, or num_groups does not divide the number of channels.

    Source:
        Wu & He 2018, Eqs. 1, 2, 6 and 7.
    """
    check_input("group_norm", x)
    channels = x.shape[1]
    check_parameters("group_norm", (channels,), weight=weight, bias=bias)
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm needs num_groups to divide the number of channels; {channels} channels "
            f"(shape {tuple(x.shape)}) cannot be split into {num_groups} groups: "
            f"choose one of {', '.join(map(str, divisors(channels)))}"
        )
    return torch.group_norm(x, num_groups, weight, bias, eps)  # (N, C, ...)


def group_norm_arithmetic(
    x: Tensor, num_groups: int = 8, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Compute `group_norm` step by step; arguments and result are the same, but inputs are not checked.

    PyTorch's kernel avoids the intermediate tensors and is about 10 times as fast (docs/BENCHMARKS.md).

    Source:
        Wu & He 2018, Eqs. 1, 2, 6 and 7.
    """
    values = at_least_float32(x).reshape(len(x), num_groups, -1, *x.shape[2:])  # (N, G, C/G, H, W), as an example
    axes = tuple(range(2, values.ndim))
    mean = values.mean(axes, keepdim=True)  # (N, G, 1, 1, 1)
    var = (values - mean).square().mean(axes, keepdim=True)  # (N, G, 1, 1, 1)
    y = ((values - mean) / (var + eps).sqrt()).flatten(1, 2)  # (N, C, H, W)
    y = y if weight is None else y * per_channel(weight, x)  # (N, C, H, W)
    y = y if bias is None else y + per_channel(bias, x)  # (N, C, H, W)
    return y.to(x.dtype)  # (N, C, H, W)


@normalization(
    title="Filter Response Normalization",
    cite="singh2020frn",
    aliases=("FRN",),
    axes=_PER_CHANNEL,
    formula=r"y = \max\Bigl(\gamma_c\,\frac{x}{\sqrt{\operatorname{mean}_{hw} x^2 + \epsilon}} + \beta_c,"
    r"\; \tau_c\Bigr)",
    scale="rms",
    use="In convolutional networks, if batches are too small for batch norm.",
    torch="torch.maximum(F.rms_norm(x, x.shape[2:], None, eps) * weight[:, None, None] + bias[:, None, None], "
    "threshold[:, None, None])",
    common_mistake="No mean is subtracted, so a ReLU after it can set whole maps to 0: use the learned threshold "
    "instead.",
)
def filter_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Divide each channel of each sample by its root mean square, then apply a learned lower threshold.

    Args:
        x: (N, C, ...); a sequence is (N, D, T).
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        threshold: (C,), the smallest output tau, or None for no threshold.
        eps: added to the mean square under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`; about the sign of `x` where a map is a single value.

    Raises:
        ValueError: an invalid shape.

    Source:
        Singh & Krishnan 2020, Eqs. 1, 2 and 3.
    """
    check_input("filter_response_norm", x, lowest_rank=3)
    check_parameters("filter_response_norm", (x.shape[1],), weight=weight, bias=bias, threshold=threshold)
    values = at_least_float32(x)  # (N, C, ...)
    mean_square = values.square().mean(tuple(range(2, x.ndim)), keepdim=True)  # (N, C, 1, ...)
    y = _scale_and_shift((values / (mean_square + eps).sqrt()).to(x.dtype), weight, bias)  # (N, C, ...)
    return y if threshold is None else torch.maximum(y, per_channel(threshold, x))  # (N, C, ...)


@normalization(
    title="Switchable Normalization",
    cite="luo2018switchable",
    aliases=("SwitchNorm",),
    axes={"nchw": None, "ncdhw": None},
    formula=r"y = \gamma_c\,\frac{x - \sum_k w_k \mu_k}{\sqrt{\sum_k w'_k \sigma^2_k + \epsilon}} + \beta_c,"
    r" \quad k \in \{\text{IN}, \text{LN}, \text{BN}\}",
    use="To let each layer learn a mixture of instance, layer and batch norm.",
    torch="",
    common_mistake="Part of the statistics comes from the batch: that part needs running statistics at inference and "
    "is noisy in small batches.",
)
def switchable_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean_weights: Tensor | None = None,
    var_weights: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize with a learned mixture of the statistics of instance, layer and batch norm.

    Args:
        x: (N, C, ...) with more than one position; batch statistics are those of `x`, as in training.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        mean_weights: (3,), logits of the weights of the three means, in this order, or None for equal weights.
        var_weights: (3,), logits of the weights of the three variances, or None for equal weights.
        eps: added to the mixed variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, or a single position.

    Source:
        Luo et al. 2018, Eqs. 3 to 5.
    """
    check_input("switchable_norm", x, lowest_rank=3)
    check_parameters("switchable_norm", (x.shape[1],), weight=weight, bias=bias)
    check_parameters("switchable_norm", (3,), mean_weights=mean_weights, var_weights=var_weights)
    check_positions("switchable_norm", x)
    values = at_least_float32(x.flatten(2))  # (N, C, P)
    mean = values.mean(2, keepdim=True)  # (N, C, 1), of instance norm
    centered = values - mean  # (N, C, P)
    var = centered.square().mean(2, keepdim=True)  # (N, C, 1), of instance norm
    between = [torch.var_mean(mean, axis, correction=0, keepdim=True) for axis in (1, 0)]  # for layer and batch norm
    means = [mean, *(part[1] for part in between)]  # (N, C, 1), (N, 1, 1), (1, C, 1)
    variances = [var, *(var.mean(axis, True) + part[0] for axis, part in zip((1, 0), between, strict=True))]
    mixed_mean, mixed_var = _mix(means, mean_weights), _mix(variances, var_weights)  # (N, C, 1), (N, C, 1)
    y = (centered + (mean - mixed_mean)) * (mixed_var + eps).rsqrt()  # (N, C, P)
    return _scale_and_shift(y.to(x.dtype).view_as(x), weight, bias)  # (N, C, ...)


@normalization(
    title="Global Response Normalization",
    cite="woo2023convnext",
    aliases=("GRN",),
    axes={"ntd": "n d t -> n", "nchw": "n c h w -> n", "ncdhw": "n c d h w -> n"},
    formula=r"y = \gamma_c\,x\,\frac{G_c}{\operatorname{mean}_j G_j + \epsilon} + \beta_c + x,"
    r" \quad G_c = \lVert x_c \rVert_2 \text{ over the map}",
    use="In ConvNeXt V2, to increase the contrast between channels, so that fewer channels are redundant.",
    torch="x + bias[:, None, None] + weight[:, None, None] * x * x.norm(dim=(2, 3), keepdim=True) / "
    "(x.norm(dim=(2, 3), keepdim=True).mean(1, keepdim=True) + eps)",
    common_mistake="At initialization gamma and beta are 0 and the layer is the identity; it never changes the scale "
    "of its input as a whole.",
)
def global_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Multiply each channel by its norm relative to the mean norm of all channels, and add the input.

    Args:
        x: (N, C, ...); a sequence is (N, D, T).
        weight: (C,), the scale gamma, or None for 0, its initial value.
        bias: (C,), the shift beta, or None for 0.
        eps: added to the mean norm.

    Returns:
        The activations, shape and dtype of `x`; equal to `x` if gamma and beta are 0.

    Raises:
        ValueError: an invalid shape.

    Source:
        Woo et al. 2023, Eqs. 1, 2 and 3 and Algorithm 1.
    """
    check_input("global_response_norm", x, lowest_rank=3)
    check_parameters("global_response_norm", (x.shape[1],), weight=weight, bias=bias)
    norm = torch.linalg.vector_norm(x.flatten(2), dim=2)  # (N, C)
    relative = norm / (norm.mean(1, keepdim=True) + eps)  # (N, C)
    gain = 1 + relative * (x.new_zeros(x.shape[1]) if weight is None else weight)  # (N, C)
    y = x * per_channel(gain, x)  # (N, C, ...)
    return y if bias is None else y + per_channel(bias, x)  # (N, C, ...)


def check_positions(name: str, x: Tensor) -> None:
    """Check that maps have a variance.

    Raises:
        ValueError: one position per sample and channel.
    """
    if x[0, 0].numel() == 1:
        raise ValueError(
            f"{name} needs more than one position per sample and channel; "
            f"shape {tuple(x.shape)} has one: use larger maps, or layer_norm or group_norm"
        )


def _scale_and_shift(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Compute gamma * y + beta per channel, in one pass over memory."""
    if weight is None:
        return y if bias is None else y + per_channel(bias, y)  # (N, C, ...)
    if bias is None:
        return y * per_channel(weight, y)  # (N, C, ...)
    return torch.addcmul(per_channel(bias, y), y, per_channel(weight, y))  # (N, C, ...)


def _mix(statistics: list[Tensor], logits: Tensor | None) -> Tensor:
    """The sum of three statistics, weighted by the softmax of three logits; equal weights without logits."""
    if logits is None:
        logits = statistics[0].new_zeros(3)  # (3,)
    weights = logits.to(statistics[0].dtype).softmax(0)  # (3,)
    return sum(
        (weight * statistic for weight, statistic in zip(weights, statistics, strict=True)),
        start=statistics[0].new_zeros(()),
    )  # (N, C, 1)


def divisors(number: int) -> list[int]:
    """The divisors of a positive integer in ascending order, such as the valid numbers of groups of its channels."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]
