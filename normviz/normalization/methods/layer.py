"""Normalization within one example: layer norm, RMS norm, and division by other norms."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, normalization

__all__ = ["l2_norm", "layer_norm", "lp_norm", "rms_norm"]

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
    use="The norm of transformers and recurrent networks: it works at any batch size, the same in training and in use.",
    torch="F.layer_norm(x, x.shape[1:], weight, bias, eps)",
    common_mistake="nn.LayerNorm works on the last axes and has one gamma for each element: on maps it is neither per pixel nor "
    "the same as nn.GroupNorm(1, C), whose gamma is one for each channel.",
)
def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each example, or each token or pixel of it, with its own mean and variance.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two axes of positions.
        weight: the scale gamma in the shape of what is normalized together, or None for 1.
        bias: the shift beta in the same shape, or None for 0.
        per_position: for maps, normalize the channels of each pixel alone instead of channels and pixels together.
        eps: added to the variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`. (N, C) is normalized over C and (N, T, D)
        over D, per token; (N, C, H, W) over C, H, W, or over C where `per_position` is true.

    Raises:
        ValueError: an unfit shape.

    Source:
        Ba, Kiros & Hinton 2016, Eqs. 3 and 4; per pixel as in ConvNeXt.
    """
    x, shape, moved = _feature_axes_last("layer_norm", x, per_position)
    check_parameters("layer_norm", shape, weight=weight, bias=bias)
    y = F.layer_norm(x, shape, weight, bias, eps)  # shape of x
    return y.movedim(-1, 1) if moved else y


@normalization(
    title="RMS Normalization",
    cite="zhang2019rms",
    aliases=("RMSNorm", "root mean square layer normalization"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i}{\sqrt{\operatorname{mean}_j x_j^2 + \epsilon}}",
    scale="rms",
    use="The norm of most large language models: like layer norm, without the cost of a mean.",
    torch="F.rms_norm(x, x.shape[1:], weight, eps)",
    common_mistake="F.rms_norm without eps takes 1.2e-7 in bfloat16 too, and 2.2e-16 in float64: always write the eps you mean.",
)
def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Divide each example, or each token or pixel of it, by its root mean square; no mean is subtracted.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two axes of positions.
        weight: the scale gamma in the shape of what is normalized together, or None for 1.
        per_position: for maps, normalize the channels of each pixel alone instead of channels and pixels together.
        eps: added to the mean square under the root.

    Returns:
        The normalized activations, shape and dtype of `x`, over the same axes as `layer_norm`.

    Raises:
        ValueError: an unfit shape.

    Source:
        Zhang & Sennrich 2019, Eq. 4.
    """
    x, shape, moved = _feature_axes_last("rms_norm", x, per_position)
    check_parameters("rms_norm", shape, weight=weight)
    y = F.rms_norm(x, shape, weight, eps)  # shape of x
    return y.movedim(-1, 1) if moved else y


@normalization(
    title="Lp Normalization",
    cite="zhang2019rms",
    aliases=("power normalization", "Lp norm"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i}{\max\bigl((\operatorname{mean}_j |x_j|^p)^{1/p},\, \epsilon\bigr)}",
    scale="power",
    use="To choose how much large values count for the scale: p = 1 is calm about outliers, p = 2 is RMS norm, "
    "a large p nearly divides by the largest value.",
    torch="weight * F.normalize(x.flatten(1), p, eps=eps).view_as(x) * x[0].numel() ** (1 / p)",
    common_mistake="F.normalize divides by the sum and not by the mean of |x|^p, so its result shrinks as the width grows.",
)
def lp_norm(
    x: Tensor,
    p: Annotated[float, Range(1.0, 8.0, symbol="p")] = 2.0,
    weight: Tensor | None = None,
    per_position: bool = False,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12,
) -> Tensor:
    """Divide each example, or each token or pixel of it, by the p-th root of its mean p-th power.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two axes of positions.
        p: the power, at least 1.
        weight: the scale gamma in the shape of what is normalized together, or None for 1.
        per_position: for maps, normalize the channels of each pixel alone instead of channels and pixels together.
        eps: the least divisor.

    Returns:
        The normalized activations, shape and dtype of `x`, over the same axes as `layer_norm`.

    Raises:
        ValueError: an unfit shape, or a power below 1.

    Source:
        Zhang & Sennrich 2019, Eq. 4, with p in place of 2.
    """
    x, shape, moved = _feature_axes_last("lp_norm", x, per_position)
    check_parameters("lp_norm", shape, weight=weight)
    if p < 1:
        raise ValueError(f"lp_norm needs a power p of at least 1; received {p:g}: p = 2 is RMS norm")
    shared = tuple(range(x.ndim - len(shape), x.ndim))
    values = x if x.dtype in (torch.float32, torch.float64) else x.float()  # shape of x
    sizes = values.abs()  # shape of x
    largest = sizes.detach().amax(shared, keepdim=True)  # (N, ..., 1)
    parts = sizes / torch.where(largest > 0, largest, 1)  # shape of x; at most 1, whose powers stay in range
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
    use="For embeddings that are compared by their direction: the dot product of two results is their cosine.",
    torch="F.normalize(x, dim=1, eps=eps)",
    common_mistake="F.normalize works on dim=1 unless told otherwise, which for tokens (N, T, D) is the time axis: write dim=-1.",
)
def l2_norm(
    x: Tensor,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12,
) -> Tensor:
    """Divide each example, or each token or pixel of it, by its length: RMS norm divided by the root of the width.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...) with at least two axes of positions.
        eps: the least divisor.

    Returns:
        The vectors along C (along D for tokens) at length 1; shape and dtype of `x`. A vector of zeros stays.

    Raises:
        ValueError: an unfit shape.

    Source:
        Zhang & Sennrich 2019, Eq. 4, with the sum in place of the mean.
    """
    check_input("l2_norm", x)
    values = x if x.dtype in (torch.float32, torch.float64) else x.float()  # shape of x
    squares = values.square().sum(2 if x.ndim == 3 else 1, keepdim=True)  # (N, 1) or (N, T, 1) or (N, 1, ...)
    return (values / squares.clamp_min(eps**2).sqrt()).to(x.dtype)  # shape of x; four times as fast as F.normalize


def _feature_axes_last(name: str, x: Tensor, per_position: bool) -> tuple[Tensor, tuple[int, ...], bool]:
    """The input with the axes to normalize at its end, their shape, and whether the channels moved there."""
    check_input(name, x)
    if x.ndim == 3:
        return x, tuple(x.shape[2:]), False  # (N, T, D), (D,)
    if x.ndim > 3 and per_position:
        x = x.movedim(1, -1)  # (N, H, W, C)
        return x, tuple(x.shape[-1:]), True
    return x, tuple(x.shape[1:]), False  # (N, C, H, W), (C, H, W)
