"""Normalizations of channels within one example, from their papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.normalization.common import channel, mean_and_variance, normalize, positions, zero_and_mean_square


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Ulyanov, Vedaldi & Lempitsky 2016, Eq. 3."""
    return normalize(x, lambda index: index[:2], channel, weight, bias, eps)


def group_norm(
    x: Tensor, num_groups: int = 8, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Wu & He 2018, Eq. 7: i and k share a statistic where i_N = k_N and floor(i_C / (C/G)) = floor(k_C / (C/G))."""
    width = x.shape[1] // num_groups
    return normalize(x, lambda index: (index[0], index[1] // width), channel, weight, bias, eps)


def filter_response_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Singh & Krishnan 2020, Eqs. 1 and 2, and Eq. 3: z = max(y, tau)."""
    y = normalize(x, lambda index: index[:2], channel, weight, bias, eps, zero_and_mean_square)
    if threshold is not None:
        for index in positions(x, range(x.ndim)):
            y[index] = max(float(y[index]), float(threshold[index[1]]))
    return y


def switchable_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean_weights: Tensor | None = None,
    var_weights: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Luo et al. 2018, Eqs. 3 to 5, each statistic from its own values instead of from those of instance norm."""
    shares = [_softmax(logits) for logits in (mean_weights, var_weights)]
    layer = [_statistics(x[n]) for n in range(x.shape[0])]
    batch = [_statistics(x[:, c]) for c in range(x.shape[1])]
    y = torch.empty(x.shape, dtype=torch.float64)
    for n, c in positions(x, (0, 1)):
        kinds = (_statistics(x[n, c]), layer[n], batch[c])
        mean, variance = (math.fsum(w * kind[i] for w, kind in zip(shares[i], kinds, strict=True)) for i in (0, 1))
        gamma = 1.0 if weight is None else float(weight[c])
        beta = 0.0 if bias is None else float(bias[c])
        for place in positions(x, range(2, x.ndim)):
            y[(n, c, *place)] = gamma * (float(x[(n, c, *place)]) - mean) / math.sqrt(variance + eps) + beta
    return y


def _statistics(x: Tensor) -> tuple[float, float]:
    return mean_and_variance([float(value) for value in x.flatten()])


def _softmax(logits: Tensor | None) -> list[float]:
    if logits is None:
        return [1 / 3] * 3
    powers = [math.exp(float(logit) - float(logits.max())) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def global_response_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6
) -> Tensor:
    """Woo et al. 2023, Eqs. 1 to 3 and Algorithm 1: gamma X N(G(X)) + beta + X."""
    y = torch.empty(x.shape, dtype=torch.float64)
    for n in range(x.shape[0]):
        norms = [math.sqrt(math.fsum(float(value) ** 2 for value in x[n, c].flatten())) for c in range(x.shape[1])]
        mean = math.fsum(norms) / len(norms)
        for index in positions(x, range(1, x.ndim)):
            c = index[0]
            gamma = 0.0 if weight is None else float(weight[c])
            beta = 0.0 if bias is None else float(bias[c])
            value = float(x[(n, *index)])
            y[(n, *index)] = gamma * value * norms[c] / (mean + eps) + beta + value
    return y
