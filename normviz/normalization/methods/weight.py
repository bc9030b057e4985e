"""Normalization of weights: by norm, by mean and variance, or by the largest singular value."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.checks import check_parameters
from normviz.registry import Range, normalization

__all__ = ["scaled_weight_standardization", "spectral_norm", "weight_norm", "weight_standardization"]

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))  # 1 / standard deviation of the output of a ReLU for standard normal input


@normalization(
    title="Weight Normalization",
    cite="salimans2016weight",
    aliases=("WeightNorm", "WN"),
    acts_on="weights",
    formula=r"w_i = g_i\,\frac{v_i}{\lVert v_i \rVert_2}",
    use="If the batch must not affect the result (recurrent networks, reinforcement learning): norm and direction are "
    "separate parameters.",
    torch="g[:, None] * F.normalize(v, dim=1)",
    common_mistake="Modules with the deprecated torch.nn.utils.weight_norm cannot be deep-copied: use "
    "torch.nn.utils.parametrizations.weight_norm.",
)
def weight_norm(v: Tensor, g: Tensor | None = None) -> Tensor:
    """Scale the weights of each output to L2 norm g, keeping their direction.

    Args:
        v: the weight, (out, in) or (out, in, ...) of a convolution.
        g: (out,), the norms, or None for 1. Initialized to the norms of the first v, they leave the layer unchanged.

    Returns:
        The weight with rows of norm g, shape of `v`.

    Raises:
        ValueError: an invalid shape, or a row of zeros, which has no direction.

    Source:
        Salimans & Kingma 2016, Eq. 2.
    """
    rows = _rows("weight_norm", v)  # (out, in ...)
    check_parameters("weight_norm", (v.shape[0],), g=g)
    length = torch.linalg.vector_norm(rows, dim=1)  # (out,)
    if bool((length == 0).any()):
        raise ValueError(f"weight_norm needs rows that are not zero; row {int(length.argmin())} is all zeros")
    gain: Tensor = (1.0 if g is None else g) / length  # (out,)
    return (rows * gain[:, None]).view(v.shape)  # shape of v


@normalization(
    title="Weight Standardization",
    cite="qiao2019weight",
    aliases=("WS",),
    acts_on="weights",
    formula=r"\hat W_{ij} = \frac{W_{ij} - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}}",
    use="With group norm, in convolutional networks that train on few images at a time.",
    torch="F.layer_norm(weight, weight.shape[1:], eps=eps)",
    common_mistake="The authors' code divides by the unbiased standard deviation plus 1e-5, which differs for small "
    "filters.",
)
def weight_standardization(
    weight: Tensor,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Give the weights of each output mean 0 and variance 1.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution.
        eps: added to the variance under the square root.

    Returns:
        The standardized weight, shape of `weight`.

    Raises:
        ValueError: an invalid shape.

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
    use="In networks without norms (NF-ResNet, NFNet): the variance of the activations is preserved.",
    torch="gain * F.layer_norm(weight, weight.shape[1:], eps=0) / weight[0].numel() ** 0.5",
    common_mistake="The gain depends on the preceding activation function: 1.7129 for a ReLU, 1 without one.",
)
def scaled_weight_standardization(
    weight: Tensor,
    gain: Annotated[float, Range(0.1, 5.0, symbol="g")] = round(RELU_GAIN, 4),
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-4,
) -> Tensor:
    """Give the weights of each output mean 0 and a variance that preserves the variance of the input.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution; the fan-in N is the number of weights per row.
        gain: compensates for the preceding activation function: sqrt(2 / (1 - 1/pi)) for a ReLU, 1 for none.
        eps: the smallest value of N times the variance, under the square root of the divisor.

    Returns:
        The weight with rows of mean 0 and norm `gain`, shape of `weight`.

    Raises:
        ValueError: an invalid shape.

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
    use="In the critic of a GAN, or for any layer that must not increase the norm of its input.",
    torch="(weight / (weight @ F.normalize(weight.mT @ u, dim=0)).norm(), F.normalize(weight @ weight.mT @ u, dim=0))",
    common_mistake="PyTorch's version updates u at every forward pass in training, and for a convolution it only "
    "bounds the reshaped matrix.",
)
def spectral_norm(
    weight: Tensor,
    u: Tensor | None = None,
    steps: Annotated[int, Range(1, 64, symbol="k", log=True)] = 1,
) -> tuple[Tensor, Tensor]:
    """Divide a weight by an estimate of its largest singular value, refined in each call through u.

    The weight of a convolution is treated as a matrix (out, in x kernel). Bounding the largest singular value of
    this matrix does not bound that of the convolution, because its windows overlap.

    Args:
        weight: (out, in) or (out, in, ...) of a convolution.
        u: (out,), the estimate of the left singular vector from the previous call, or None for a fixed random vector.
        steps: the number of power iterations; one is enough if u comes from the previous training step.

    Returns:
        The weight divided by sigma, shape of `weight`, and the next u (out,), with L2 norm 1. Gradients flow
        through sigma; u and v are constants.

    Raises:
        ValueError: an invalid shape, fewer than one step, or a sigma of 0 (all weights 0, or u in the null space).

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
            "the weight is all zeros, or u is in its null space; start with u=None"
        )
    return weight / sigma, left  # shape of weight, (out,)


def _start(rows: Tensor) -> Tensor:
    """The initial unit vector (out,), always the same."""
    vector = torch.randn(rows.shape[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # (out,)
    return F.normalize(vector, dim=0).to(rows)  # (out,)


def _rows(name: str, weight: Tensor) -> Tensor:
    """The weight as a matrix with one row per output."""
    if weight.ndim < 2:
        raise ValueError(f"{name} needs a weight of at least 2 axes, (out, in); received shape {tuple(weight.shape)}")
    if not weight.is_floating_point():
        raise ValueError(f"{name} needs floating-point weights; received {weight.dtype}: call .float() first")
    if weight.numel() == 0:
        raise ValueError(f"{name} needs at least one weight; received the empty shape {tuple(weight.shape)}")
    return weight.flatten(1)  # (out, in ...)
