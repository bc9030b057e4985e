"""Normalization of weights: their length, their mean and variance, or their largest stretch."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_parameters
from normviz.registry import Range, normalization

__all__ = ["scaled_weight_standardization", "spectral_norm", "weight_norm", "weight_standardization"]

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))  # 1 / std of a ReLU's output for normal input


@normalization(
    title="Weight Normalization",
    cite="salimans2016weight",
    aliases=("WeightNorm", "WN"),
    acts_on="weights",
    formula=r"w_i = g_i\,\frac{v_i}{\lVert v_i \rVert_2}",
    use="Where the batch must not matter (recurrent nets, reinforcement learning): length and direction learn apart.",
    torch="g[:, None] * F.normalize(v, dim=1)",
    common_mistake="The old torch.nn.utils.weight_norm cannot be deep-copied: take torch.nn.utils.parametrizations.weight_norm.",
)
def weight_norm(v: Tensor, g: Tensor | None = None) -> Tensor:
    """Give each output's weights the length g; only their direction is taken from v.

    Args:
        v: the weight, (out, in) or (out, in, ...) of a convolution.
        g: (out,), the lengths, or None for 1. Started at the lengths of the first v, they leave the layer as it was.

    Returns:
        The weight with rows of length g, shape of `v`.

    Raises:
        ValueError: an unfit shape, or a row of zeros, which has no direction.

    Source:
        Salimans & Kingma 2016, Eq. 2.
    """
    rows = _rows("weight_norm", v)  # (out, in ...)
    check_parameters("weight_norm", (v.shape[0],), g=g)
    length = torch.linalg.vector_norm(rows, dim=1)  # (out,)
    if bool((length == 0).any()):
        raise ValueError(f"weight_norm needs rows with a direction; row {int(length.argmin())} is all zeros")
    gain: Tensor = (1.0 if g is None else g) / length  # (out,)
    return (rows * gain[:, None]).view(v.shape)  # shape of v


@normalization(
    title="Weight Standardization",
    cite="qiao2019weight",
    aliases=("WS",),
    acts_on="weights",
    formula=r"\hat W_{ij} = \frac{W_{ij} - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}}",
    use="With group normalization, in convolutions that train on few images at a time.",
    torch="F.layer_norm(weight, weight.shape[1:], eps=eps)",
    common_mistake="The authors' code divides by the unbiased deviation plus 1e-5: in small filters that is not the same.",
)
def weight_standardization(
    weight: Tensor,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Give each output's weights the mean 0 and the variance 1.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution.
        eps: added to the variance under the root.

    Returns:
        The standardized weight, shape of `weight`.

    Raises:
        ValueError: an unfit shape.

    Source:
        Qiao et al. 2019, Section 3 (Weight Standardization).
    """
    _rows("weight_standardization", weight)
    return F.layer_norm(weight, weight.shape[1:], eps=eps)  # shape of weight


@normalization(
    title="Scaled Weight Standardization",
    cite="brock2021characterizing",
    aliases=("scaled WS", "ScaledWSConv"),
    acts_on="weights",
    formula=r"\hat W_{ij} = g\,\frac{W_{ij} - \mu_i}{\sqrt{\max(N \sigma_i^2, \epsilon)}}, \quad N = \text{fan-in}",
    use="In networks without norms (NF-ResNet, NFNet): the variance of the activations stays as it is.",
    torch="gain * F.layer_norm(weight, weight.shape[1:], eps=0) / weight[0].numel() ** 0.5",
    common_mistake="The gain belongs to the activation in front: 1.7129 for a ReLU, 1 where there is none.",
)
def scaled_weight_standardization(
    weight: Tensor,
    gain: Annotated[float, Range(0.1, 5.0, symbol="g")] = round(RELU_GAIN, 4),
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-4,
) -> Tensor:
    """Give each output's weights the mean 0 and such a variance that a layer keeps the variance of what it reads.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution; its fan-in N is the number of weights in a row.
        gain: makes up for the activation in front: the root of 2 / (1 - 1/pi) for a ReLU, 1 for none.
        eps: the least sum of squares, N times the variance, by whose root is divided.

    Returns:
        The weight with rows of mean 0 and length `gain`, shape of `weight`.

    Raises:
        ValueError: an unfit shape.

    Source:
        Brock, De & Smith 2021, Eq. 4; Brock et al. 2021, Eq. 1; eps as in the authors' code.
    """
    rows = _rows("scaled_weight_standardization", weight)  # (out, N)
    variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)  # (out, 1), (out, 1)
    gain_by_row = gain / (variance * rows.shape[1]).clamp_min(eps).sqrt()  # (out, 1)
    return ((rows - mean) * gain_by_row).view(weight.shape)  # shape of weight


@normalization(
    title="Spectral Normalization",
    cite="miyato2018spectral",
    aliases=("SpectralNorm", "SN"),
    acts_on="weights",
    formula=r"\hat W = \frac{W}{\sigma}, \quad \sigma = u^\top W v; \quad k \times \left[v \leftarrow n(W^\top u),"
    r"\ u \leftarrow n(Wv)\right], \quad n(x) = \frac{x}{\lVert x \rVert_2}",
    use="In the critic of a GAN, or wherever a layer must not stretch any input by more than 1.",
    torch="(weight / (weight @ F.normalize(weight.mT @ u, dim=0)).norm(), F.normalize(weight @ weight.mT @ u, dim=0))",
    common_mistake="PyTorch's moves u at every access in training, and of a convolution it bounds the reshaped matrix only.",
)
def spectral_norm(
    weight: Tensor,
    u: Tensor | None = None,
    steps: Annotated[int, Range(1, 64, symbol="k", log=True)] = 1,
) -> tuple[Tensor, Tensor]:
    """Divide a weight by an estimate of its largest singular value; u carries the estimate to the next call.

    A convolution's weight is read as the matrix (out, in x kernel): the result bounds the largest singular value
    of this matrix. The convolution as a whole may still stretch an input by more, because its windows overlap.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution.
        u: (out,), the left singular vector so far, as the last call returned it, or None for a fixed random start.
        steps: power iterations; one is enough where u comes from the last training step.

    Returns:
        The weight divided by sigma, shape of `weight`, and the next u (out,), of length 1. Gradients flow
        through sigma with u and v held fixed.

    Raises:
        ValueError: an unfit shape, fewer than one step, or a sigma of 0 (all weights 0, or a useless u).

    Source:
        Miyato et al. 2018, Eq. 8 and Algorithm 1.
    """
    rows = _rows("spectral_norm", weight)  # (out, in ...)
    check_parameters("spectral_norm", (rows.shape[0],), u=u)
    if steps < 1:
        raise ValueError(f"spectral_norm needs at least one power iteration; received {steps}")
    with torch.no_grad():
        left = _start(rows) if u is None else u.to(rows)  # (out,)
        for _ in range(steps):
            right = F.normalize(rows.mT @ left, dim=0)  # (in ...,)
            left = F.normalize(rows @ right, dim=0)  # (out,)
    sigma = left @ rows @ right  # ()
    if not bool(sigma > 0):
        raise ValueError(
            f"spectral_norm needs an estimate of sigma above 0; received {float(sigma):g}: "
            "the weight is all zeros, or u lies where it reaches nothing; start with u=None"
        )
    return weight / sigma, left  # shape of weight, (out,)


def _start(rows: Tensor) -> Tensor:
    """A unit vector (out,) to start from, always the same one."""
    drawn = torch.randn(rows.shape[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # (out,)
    return F.normalize(drawn, dim=0).to(rows)  # (out,)


def _rows(name: str, weight: Tensor) -> Tensor:
    """The weight as a matrix, one row an output."""
    if weight.ndim < 2:
        raise ValueError(f"{name} needs a weight of at least 2 axes, (out, in); received shape {tuple(weight.shape)}")
    if not weight.is_floating_point():
        raise ValueError(f"{name} needs floating-point weights; received {weight.dtype}: call .float() first")
    if weight.numel() == 0:
        raise ValueError(f"{name} needs at least one weight; received the empty shape {tuple(weight.shape)}")
    return weight.flatten(1)  # (out, in ...)
