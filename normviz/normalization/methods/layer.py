"""Normalization within one sample: layer norm, RMS norm, and division by other norms."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters
from normviz.registry import Range, normalization

__all__ = ["l2_norm", "layer_norm", "layer_norm_arithmetic", "lp_norm", "rms_norm"]

_AXES = {
    "nc": "n c -> n",
    "ntd": "n t d -> n t",
    "nchw": "n c h w -> n",
    "nchw per_position": "n c h w -> n h w",
    "ncdhw": "n c d h w -> n",
    "ncdhw per_position": "n c d h w -> n d h w",
}


@normalization(
    title="Layer Normalization",
    cite="ba2016layer",
    aliases=("LN", "LayerNorm"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_i",
    center="mean",
    scale="std",
    use="The norm of transformers and recurrent networks: it works at any batch size, and the same at inference.",
    torch="F.layer_norm(x, x.shape[1:], weight, bias, eps)",
    common_mistake="nn.LayerNorm normalizes the last axes and has one gamma per element. On feature maps it differs "
    "from nn.GroupNorm(1, C), which has one gamma per channel, and from a norm per pixel.",
)
def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each sample, token or pixel with its own mean and variance.

    The computation runs in PyTorch's kernel; `layer_norm_arithmetic` shows it step by step.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two position axes.
        weight: the scale gamma, in the shape of the normalized axes, or None for 1.
        bias: the shift beta, in the same shape, or None for 0.
        per_position: for maps, whether to normalize the channels of each pixel separately.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`. The normalized axes are C of (N, C), D of (N, T, D), and
        C, H, W of (N, C, H, W), or only C if `per_position` is true.

    Raises:
        ValueError: an invalid shape.

    Source:
        Ba, Kiros & Hinton 2016, Eqs. 3 and 4; per pixel as in ConvNeXt.
    """
    x, shape, moved = _feature_axes_last("layer_norm", x, per_position)
    check_parameters("layer_norm", shape, weight=weight, bias=bias)
    y = F.layer_norm(x, shape, weight, bias, eps)  # shape of x
    return y.movedim(-1, 1) if moved else y


def layer_norm_arithmetic(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_position: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    """Compute `layer_norm` step by step; arguments and result are the same.

    PyTorch's kernel avoids the intermediate tensors and is 5 to 7 times as fast (docs/BENCHMARKS.md).

    Source:
        Ba, Kiros & Hinton 2016, Eqs. 3 and 4.
    """
    x, shape, moved = _feature_axes_last("layer_norm", x, per_position)  # (N, T, D), as an example
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    values = at_least_float32(x)  # (N, T, D)
    mean = values.mean(axes, keepdim=True)  # (N, T, 1)
    var = (values - mean).square().mean(axes, keepdim=True)  # (N, T, 1)
    y = (values - mean) / (var + eps).sqrt()  # (N, T, D)
    y = y if weight is None else y * weight  # (N, T, D)
    y = (y if bias is None else y + bias).to(x.dtype)  # (N, T, D)
    return y.movedim(-1, 1) if moved else y


@normalization(
    title="RMS Normalization",
    cite="zhang2019rms",
    aliases=("RMSNorm", "root mean square layer normalization"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i}{\sqrt{\operatorname{mean}_j x_j^2 + \epsilon}}",
    scale="rms",
    use="The norm of most large language models: similar to layer norm, but no mean is computed.",
    torch="F.rms_norm(x, x.shape[1:], weight, eps)",
    common_mistake="F.rms_norm without eps uses 1.2e-7 for float32 and bfloat16, but 2.2e-16 for float64: always pass "
    "eps.",
)
def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Divide each sample, token or pixel by its root mean square; no mean is subtracted.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two position axes.
        weight: the scale gamma, in the shape of the normalized axes, or None for 1.
        per_position: for maps, whether to normalize the channels of each pixel separately.
        eps: added to the mean square under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`, over the same axes as `layer_norm`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Zhang & Sennrich 2019, Eq. 4.
    """
    x, shape, moved = _feature_axes_last("rms_norm", x, per_position)
    check_parameters("rms_norm", shape, weight=weight)
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    values = at_least_float32(x)  # (N, T, D), as an example
    mean_square = values.square().mean(axes, keepdim=True)  # (N, T, 1)
    y = values / (mean_square + eps).sqrt()  # (N, T, D)
    y = (y if weight is None else y * weight).to(x.dtype)  # (N, T, D)
    return y.movedim(-1, 1) if moved else y


@normalization(
    title="Lp Normalization",
    cite="zhang2019rms",
    aliases=("power normalization", "Lp norm"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i}{\max\bigl((\operatorname{mean}_j |x_j|^p)^{1/p},\, \epsilon\bigr)}",
    scale="power",
    use="To choose how strongly large values affect the scale: p = 1 is robust to outliers, p = 2 is RMS norm, and a "
    "large p approaches division by the maximum.",
    torch="weight * F.normalize(x.flatten(1), p, eps=eps).view_as(x) * x[0].numel() ** (1 / p)",
    common_mistake="F.normalize uses the sum of |x|^p, not the mean, so its result shrinks as the number of features "
    "grows.",
)
def lp_norm(
    x: Tensor,
    p: Annotated[float, Range(1.0, 8.0, symbol="p")] = 2.0,
    weight: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12,
) -> Tensor:
    """Divide each sample, token or pixel by the p-th root of its mean p-th power.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two position axes.
        p: the power, at least 1.
        weight: the scale gamma, in the shape of the normalized axes, or None for 1.
        per_position: for maps, whether to normalize the channels of each pixel separately.
        eps: the smallest divisor.

    Returns:
        The normalized activations, shape and dtype of `x`, over the same axes as `layer_norm`.

    Raises:
        ValueError: an invalid shape, or a power below 1.

    Source:
        Zhang & Sennrich 2019, Eq. 4, with p in place of 2.
    """
    x, shape, moved = _feature_axes_last("lp_norm", x, per_position)
    check_parameters("lp_norm", shape, weight=weight)
    if p < 1:
        raise ValueError(f"lp_norm needs a power p of at least 1; received {p:g}: p = 2 is RMS norm")
    shared = tuple(range(x.ndim - len(shape), x.ndim))
    values = at_least_float32(x)  # shape of x
    sizes = values.abs()  # shape of x
    largest = sizes.detach().amax(shared, keepdim=True)  # (N, ..., 1)
    parts = sizes / torch.where(largest > 0, largest, 1)  # shape of x; at most 1, so that powers do not overflow
    power = parts.pow(p).mean(shared, keepdim=True).pow(1 / p) * largest  # (N, ..., 1)
    y = (values / power.clamp_min(eps)).to(x.dtype)  # shape of x
    y = y if weight is None else y * weight  # shape of x
    return y.movedim(-1, 1) if moved else y


@normalization(
    title="L2 Normalization",
    cite="zhang2019rms",
    aliases=("L2Norm",),
    axes={"nc": "n c -> n", "ntd": "n t d -> n t", "nchw": "n c h w -> n h w", "ncdhw": "n c d h w -> n d h w"},
    formula=r"y_i = \frac{x_i}{\max(\lVert x \rVert_2,\, \epsilon)}",
    scale="norm",
    use="For embeddings that are compared by direction: the dot product of two results is their cosine similarity.",
    torch="F.normalize(x, dim=1, eps=eps)",
    common_mistake="F.normalize uses dim=1 by default, which is the time axis of tokens (N, T, D): pass dim=-1.",
)
def l2_norm(
    x: Tensor,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12,
) -> Tensor:
    """Divide each sample, token or pixel by its L2 norm: RMS norm divided by sqrt(number of features).

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two position axes.
        eps: the smallest divisor.

    Returns:
        The vectors along C (along D for tokens) with L2 norm 1, shape and dtype of `x`; zero vectors are unchanged.

    Raises:
        ValueError: an invalid shape.

    Source:
        Zhang & Sennrich 2019, Eq. 4, with the sum in place of the mean.
    """
    check_input("l2_norm", x)
    values = at_least_float32(x)  # shape of x
    squares = values.square().sum(2 if x.ndim == 3 else 1, keepdim=True)  # (N, 1) or (N, T, 1) or (N, 1, ...)
    return (values / squares.clamp_min(eps**2).sqrt()).to(x.dtype)  # shape of x; 4 times as fast as F.normalize


def _feature_axes_last(name: str, x: Tensor, per_position: bool) -> tuple[Tensor, tuple[int, ...], bool]:
    """The input with the normalized axes last, the shape of these axes, and whether the channel axis was moved."""
    check_input(name, x)
    if x.ndim == 3:
        return x, tuple(x.shape[2:]), False  # (N, T, D), (D,)
    if x.ndim > 3 and per_position:
        x = x.movedim(1, -1)  # (N, H, W, C)
        return x, tuple(x.shape[-1:]), True
    return x, tuple(x.shape[1:]), False  # (N, C, H, W), (C, H, W)
