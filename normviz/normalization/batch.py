"""Batch normalization, and the running statistics that stand in for a batch at inference."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_input, check_parameters
from normviz.registry import Range, register


@register(
    title="Batch Normalization",
    kind="normalization",
    cite="ioffe2015batch",
    aliases=(
        "BN", "BatchNorm", "BatchNorm1d", "BatchNorm2D", "Spatial BatchNorm", "per-channel BatchNorm",
        "input normalization",
    ),
    axes={"nc training": "n c -> c", "ntd training": "n d t -> d", "nchw training": "n c h w -> c"},
    formula=r"y = \gamma_c\,\frac{x - \mu_c}{\sqrt{\sigma^2_c + \epsilon}} + \beta_c",
)  # fmt: skip
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    r"""Normalize each channel with the mean and variance of the whole batch, or with running ones.

    The running statistics are read, never written: `running_statistics` returns their next values.

    Args:
        x: (N, C) or (N, C, ...); the channels of a sequence must come second: (N, D, T), not (N, T, D).
        running_mean: (C,), the means used when `training` is false.
        running_var: (C,), the variances used when `training` is false.
        weight: (C,), the scale gamma, or None for 1.
        bias: (C,), the shift beta, or None for 0.
        training: use this batch's own mean and (biased) variance; else the running ones, which share nothing.
        eps: added to the variance under the root.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an unfit shape, one value per channel in training, or no running statistics at inference.

    Source:
        Ioffe & Szegedy 2015, Algorithms 1 and 2.
    """
    check_input("batch_norm", x)
    check_parameters(
        "batch_norm", (x.shape[1],), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if training:
        _check_batch("batch_norm", x)
        if eps <= 0:
            raise ValueError(f"batch_norm in training needs eps above 0; received {eps:g}")
        maps = x.unsqueeze(-1) if x.ndim == 3 else x  # (N, D, T, 1): the kernel for maps is 10 times faster
        return F.batch_norm(maps, None, None, weight, bias, training=True, eps=eps).reshape(x.shape)  # (N, C, ...)
    if running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm with training=False needs running_mean and running_var: "
            "take them from running_statistics, or set training=True"
        )
    return F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)  # (N, C, ...)


def running_statistics(
    x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The running mean and variance after one more training batch; the given ones are not changed.

    Args:
        x: the batch, (N, C) or (N, C, ...), n values per channel.
        running_mean: (C,), the mean so far; nn.BatchNorm starts it at 0.
        running_var: (C,), the variance so far; nn.BatchNorm starts it at 1.
        momentum: the weight of the new value, 0 to 1.

    Returns:
        Mean (C,) and variance (C,): (1 - momentum) old + momentum new, with the unbiased variance
        (divided by n - 1), although training normalizes with the biased one.

    Raises:
        ValueError: an unfit shape, one value per channel, or a momentum outside 0 to 1.

    Source:
        Ioffe & Szegedy 2015, Algorithm 2, step 10 (the unbiased variance).
    """
    check_input("running_statistics", x)
    check_parameters("running_statistics", (x.shape[1],), running_mean=running_mean, running_var=running_var)
    _check_batch("running_statistics", x)
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum, the weight of the new value, must be from 0 to 1; received {momentum:g}")
    shared = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(x, dim=shared, correction=1)  # (C,), (C,)
    keep = 1 - momentum
    return (
        (keep * running_mean + momentum * mean).to(running_mean.dtype),  # (C,)
        (keep * running_var + momentum * variance).to(running_var.dtype),  # (C,)
    )


def _check_batch(name: str, x: Tensor) -> None:
    """Refuse a batch with a single value per channel: it has no variance."""
    if x.numel() == x.shape[1]:
        raise ValueError(
            f"{name} needs more than one value per channel in training; shape {tuple(x.shape)} has one: "
            "add examples to the batch, or use running statistics (training=False)"
        )
