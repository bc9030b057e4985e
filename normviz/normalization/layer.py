"""Normalization within one example: layer norm and RMS norm."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, register

_AXES = {
    "nc": "n c -> n",
    "ntd": "n t d -> n t",
    "nchw": "n c h w -> n",
    "nchw per_position": "n c h w -> n h w",
}


@register(
    title="Layer Normalization",
    kind="normalization",
    cite="ba2016layer",
    aliases=("LN", "LayerNorm"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_i",
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


@register(
    title="RMS Normalization",
    kind="normalization",
    cite="zhang2019rms",
    aliases=("RMSNorm", "root mean square layer normalization"),
    axes=_AXES,
    formula=r"y_i = \gamma_i\,\frac{x_i}{\sqrt{\operatorname{mean}_j x_j^2 + \epsilon}}",
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


def _feature_axes_last(name: str, x: Tensor, per_position: bool) -> tuple[Tensor, tuple[int, ...], bool]:
    """The input with the axes to normalize at its end, their shape, and whether the channels moved there."""
    check_input(name, x)
    if x.ndim == 3:
        return x, tuple(x.shape[2:]), False  # (N, T, D), (D,)
    if x.ndim > 3 and per_position:
        x = x.movedim(1, -1)  # (N, H, W, C)
        return x, tuple(x.shape[-1:]), True
    return x, tuple(x.shape[1:]), False  # (N, C, H, W), (C, H, W)
