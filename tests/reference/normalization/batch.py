"""Batch normalization and its variants, from their papers."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from tests.reference.normalization.common import channel, mean_and_variance, normalize, positions


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Ioffe & Szegedy 2015, Algorithm 1 (training) and Algorithm 2, step 11 (inference)."""
    if training:
        return normalize(x, channel, channel, weight, bias, eps)
    assert running_mean is not None and running_var is not None
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in positions(x, range(x.ndim)):
        c = index[1]
        scale = (1.0 if weight is None else float(weight[c])) / math.sqrt(float(running_var[c]) + eps)
        shift = (0.0 if bias is None else float(bias[c])) - scale * float(running_mean[c])
        y[index] = scale * float(x[index]) + shift
    return y


def running_statistics(
    x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Ioffe & Szegedy 2015, Algorithm 2, step 10: Var[x] = m / (m - 1) E[biased variance]."""
    mean, variance = running_mean.double().clone(), running_var.double().clone()
    for c in range(x.shape[1]):
        values = [float(value) for value in x[:, c].flatten()]
        batch_mean, biased = mean_and_variance(values)
        unbiased = biased * len(values) / (len(values) - 1)
        mean[c] += momentum * (batch_mean - mean[c])
        variance[c] += momentum * (unbiased - variance[c])
    return mean, variance


def identity_parameters(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Ioffe & Szegedy 2015, section 3: gamma = sqrt(Var[x]), beta = E[x]."""
    pairs = [mean_and_variance([float(value) for value in x[:, c].flatten()]) for c in range(x.shape[1])]
    weight = torch.tensor([math.sqrt(variance + eps) for _, variance in pairs], dtype=torch.float64)
    return weight, torch.tensor([mean for mean, _ in pairs], dtype=torch.float64)


def ghost_batch_norm(
    x: Tensor,
    size: int = 16,
    shuffle: int = 0,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Hoffer, Hubara & Soudry 2017, Algorithm 1, on a seeded random partition of the batch."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(shuffle)).tolist()
    return normalize(x, lambda index: (order.index(index[0]) // size, index[1]), channel, weight, bias, eps)


def batch_group_norm(
    x: Tensor,
    batch_size: int = 4,
    num_groups: int = 4,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Summers & Dinneen 2019, section 3.4: statistics over a few examples and a group of channels."""
    width = x.shape[1] // num_groups
    return normalize(x, lambda index: (index[0] // batch_size, index[1] // width), channel, weight, bias, eps)


def inference_example_weighing(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_sq: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    alpha: float = 0.5,
    eps: float = 1e-5,
) -> Tensor:
    """Summers & Dinneen 2019, Eq. 3, as it is printed there, in exact fractions."""
    assert running_mean is not None and running_sq is not None
    share = Fraction(alpha)
    y = torch.empty(x.shape, dtype=torch.float64)
    for n, c in positions(x, (0, 1)):
        values = [Fraction(float(value)) for value in x[n, c].flatten()]
        own_mean, own_square = sum(values) / len(values), sum(value**2 for value in values) / len(values)
        mean = share * own_mean + (1 - share) * Fraction(float(running_mean[c]))
        variance = share * own_square + (1 - share) * Fraction(float(running_sq[c])) - mean**2
        scale = (1.0 if weight is None else float(weight[c])) / math.sqrt(float(variance) + eps)
        centered = torch.tensor([float(value - mean) for value in values], dtype=torch.float64)
        y[n, c] = (scale * centered + (0.0 if bias is None else float(bias[c]))).view(x.shape[2:])
    return y
