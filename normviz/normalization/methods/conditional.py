"""Normalization with scale and shift computed from other data: a condition, a style or a label map."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.normalization.methods.channel import check_positions
from normviz.registry import Range, normalization

__all__ = ["ada_layer_norm", "adaptive_instance_norm", "spade"]


@normalization(
    title="Adaptive Layer Normalization",
    cite="peebles2022dit",
    aliases=("adaLN",),
    axes={"nc": "n c -> n", "ntd": "n t d -> n t"},
    formula=r"y = (1 + s_n)\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b_n, \quad s_n, b_n \text{ from a condition}",
    center="mean",
    scale="std",
    use="In diffusion transformers, to condition every layer on the time step and the class.",
    torch="F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale[:, None]) + shift[:, None]",
    common_mistake="The inner layer norm must have no gamma and beta (elementwise_affine=False), because scale and "
    "shift replace them.",
)
def ada_layer_norm(
    x: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-6,
) -> Tensor:
    """Layer norm without parameters, then a scale and shift for each sample, computed from other data.

    Args:
        x: (N, C) or (N, T, D).
        scale: (N, C) or (N, D), added to 1 and shared by all tokens of a sample; None for 0.
        shift: the shift, in the same shape, or None for 0.
        eps: added to the variance under the square root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Peebles & Xie 2022, section 3.2; Perez et al. 2017, Eq. 2, for the scale and shift.
    """
    check_input("ada_layer_norm", x)
    if x.ndim > 3:
        raise ValueError(f"ada_layer_norm needs (N, C) or tokens (N, T, D); received shape {tuple(x.shape)}")
    check_parameters("ada_layer_norm", (x.shape[0], x.shape[-1]), scale=scale, shift=shift)
    tokens = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    y = F.layer_norm(x, x.shape[-1:], eps=eps)  # shape of x
    return _modulate(
        y,
        None if scale is None else scale.view(tokens),  # (N, C) or (N, 1, D)
        None if shift is None else shift.view(tokens),  # (N, C) or (N, 1, D)
    )


@normalization(
    title="Adaptive Instance Normalization",
    cite="huang2017adain",
    aliases=("AdaIN",),
    axes={"ntd": "n d t -> n d", "nchw": "n c h w -> n c", "ncdhw": "n c d h w -> n c"},
    formula=r"y = \sqrt{\sigma^2_{nc}(s) + \epsilon}\;\frac{x - \mu_{nc}(x)}{\sqrt{\sigma^2_{nc}(x) + \epsilon}}"
    r" + \mu_{nc}(s), \quad s \text{ the style}",
    center="mean",
    scale="std",
    use="For style transfer: the content keeps its shapes and takes the mean and contrast of the style in each "
    "channel.",
    torch="F.instance_norm(x, eps=eps) * (style.var((2, 3), correction=0, keepdim=True) + eps).sqrt() "
    "+ style.mean((2, 3), keepdim=True)",
    common_mistake="Swapped arguments: the statistics come from the style, the shapes from the content.",
)
def adaptive_instance_norm(
    x: Tensor,
    style: Tensor,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Give each channel of each sample the mean and standard deviation of that channel in a style.

    No gradient is computed for the style.

    Args:
        x: the content, (N, C, ...) with more than one position; a sequence is (N, D, T).
        style: (N, C, ...), with any number of positions.
        eps: added to both variances under the square root.

    Returns:
        The content with the statistics of the style, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, a single position, or a style with another number of samples or channels.

    Source:
        Huang & Belongie 2017, Eq. 8, with the standard deviation of Eq. 6.
    """
    for tensor in (x, style):
        check_input("adaptive_instance_norm", tensor, lowest_rank=3)
        check_positions("adaptive_instance_norm", tensor)
    if x.shape[:2] != style.shape[:2]:
        raise ValueError(
            "adaptive_instance_norm needs a style with the samples and channels of the content, "
            f"{tuple(x.shape[:2])}; received a style of shape {tuple(style.shape)}"
        )
    n, c = x.shape[:2]
    _, mean, inverse = torch.native_group_norm(  # (N, C), (N, C): mean and 1 / sqrt(variance + eps) of the style
        style.detach().contiguous(), None, None, n, c, style[0, 0].numel(), c, eps
    )
    maps = x.reshape(1, n * c, -1)  # (1, N C, P): the maps as channels of one sample, so that each has its own gain
    return torch.group_norm(maps, n * c, inverse.reciprocal().flatten(), mean.flatten(), eps).view_as(x)  # (N, C, ...)


@normalization(
    title="Spatially-Adaptive Normalization",
    cite="park2019spade",
    aliases=("SPADE", "spatially-adaptive denormalization"),
    axes={"nchw": "n c h w -> c", "ncdhw": "n c d h w -> c"},
    formula=r"y = (1 + s_{nchw})\,\frac{x - \mu_c}{\sqrt{\sigma^2_c + \epsilon}} + b_{nchw},"
    r" \quad s, b \text{ from a label map}",
    center="mean",
    scale="std",
    use="To generate images from a label map: every pixel has its own scale and shift.",
    torch="F.batch_norm(x, None, None, training=True, eps=eps) * (1 + scale) + shift",
    common_mistake="The inner batch norm must have no gamma and beta (affine=False), because scale and shift replace "
    "them.",
)
def spade(
    x: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Batch norm without parameters, then a separate scale and shift for every value.

    Args:
        x: (N, C, H, W) or (N, C, D, H, W); the statistics are those of the batch, as in training.
        scale: shape of `x`, added to 1 as in the authors' code; None for 0.
        shift: shape of `x`, or None for 0.
        eps: added to the variance under the square root; above 0.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, one value per channel, or an eps of 0.

    Source:
        Park et al. 2019, Eqs. 1 to 3, with gamma = 1 + scale and beta = shift.
    """
    check_input("spade", x, lowest_rank=4)
    check_parameters("spade", tuple(x.shape), scale=scale, shift=shift)
    if x.numel() == x.shape[1]:
        raise ValueError(
            f"spade needs more than one value per channel; shape {tuple(x.shape)} has one: "
            "add samples to the batch, or use larger maps"
        )
    if eps <= 0:
        raise ValueError(f"spade needs eps above 0; received {eps:g}")
    return _modulate(F.batch_norm(x, None, None, training=True, eps=eps), scale, shift)  # shape of x


def _modulate(y: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Compute (1 + scale) * y + shift; scale and shift broadcast to the shape of y."""
    if scale is not None:
        y = y * (1 + scale) if shift is None else torch.addcmul(shift, y, 1 + scale)  # shape of y
    elif shift is not None:
        y = y + shift  # shape of y
    return y  # shape of y
