"""The normalizations in float64, one statistic at a time, written from the papers.

Each collects the values that share a statistic in a plain loop, takes their mean and their biased
variance by the definition, and normalizes them. Arguments and shapes are those of the methods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Index = tuple[int, ...]
Statistic = Callable[[list[float]], tuple[float, float]]


def _mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / len(values)


def _zero_and_mean_square(values: list[float]) -> tuple[float, float]:
    return 0.0, math.fsum(value**2 for value in values) / len(values)


def _positions(x: Tensor, axes: Iterable[int]) -> list[Index]:
    return list(itertools.product(*(range(x.shape[axis]) for axis in axes)))


def _normalize(
    x: Tensor,
    group_of: Callable[[Index], Index],
    parameter_of: Callable[[Index], Index],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    statistic: Statistic = _mean_and_variance,
) -> Tensor:
    """Gamma (x - mean) / sqrt(variance + eps) + beta, with one statistic for each value of `group_of`."""
    groups: dict[Index, list[Index]] = {}
    for index in _positions(x, range(x.ndim)):
        groups.setdefault(group_of(index), []).append(index)
    y = torch.empty(x.shape, dtype=torch.float64)
    for members in groups.values():
        mean, variance = statistic([float(x[index]) for index in members])
        for index in members:
            gamma = 1.0 if weight is None else float(weight[parameter_of(index)])
            beta = 0.0 if bias is None else float(bias[parameter_of(index)])
            y[index] = gamma * (float(x[index]) - mean) / math.sqrt(variance + eps) + beta
    return y


def _channel(index: Index) -> Index:
    return (index[1],)


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
        return _normalize(x, _channel, _channel, weight, bias, eps)
    assert running_mean is not None and running_var is not None
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in _positions(x, range(x.ndim)):
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
        batch_mean, biased = _mean_and_variance(values)
        unbiased = biased * len(values) / (len(values) - 1)
        mean[c] += momentum * (batch_mean - mean[c])
        variance[c] += momentum * (unbiased - variance[c])
    return mean, variance


def _layer_groups(x: Tensor, per_position: bool) -> tuple[Callable[[Index], Index], Callable[[Index], Index]]:
    """Who shares a statistic, and which parameter each value has: per example, per token or per pixel."""
    if x.ndim == 3:
        return lambda index: index[:2], lambda index: index[2:]
    if x.ndim > 3 and per_position:
        return lambda index: (index[0], *index[2:]), _channel
    return lambda index: index[:1], lambda index: index[1:]


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_position: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    """Ba, Kiros & Hinton 2016, Eqs. 3 and 4."""
    group_of, parameter_of = _layer_groups(x, per_position)
    return _normalize(x, group_of, parameter_of, weight, bias, eps)


def rms_norm(x: Tensor, weight: Tensor | None = None, per_position: bool = False, eps: float = 1e-6) -> Tensor:
    """Zhang & Sennrich 2019, Eq. 4: a_i / RMS(a) g_i."""
    group_of, parameter_of = _layer_groups(x, per_position)
    return _normalize(x, group_of, parameter_of, weight, None, eps, _zero_and_mean_square)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Ulyanov, Vedaldi & Lempitsky 2016, Eq. 3."""
    return _normalize(x, lambda index: index[:2], _channel, weight, bias, eps)


def group_norm(
    x: Tensor, num_groups: int = 8, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Wu & He 2018, Eq. 7: i and k share a statistic where i_N = k_N and floor(i_C / (C/G)) = floor(k_C / (C/G))."""
    width = x.shape[1] // num_groups
    return _normalize(x, lambda index: (index[0], index[1] // width), _channel, weight, bias, eps)
