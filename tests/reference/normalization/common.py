"""What the slow versions share: loops over indices, and statistics by their definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Index = tuple[int, ...]
Statistic = Callable[[list[float]], tuple[float, float]]


def mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / len(values)


def zero_and_mean_square(values: list[float]) -> tuple[float, float]:
    return 0.0, math.fsum(value**2 for value in values) / len(values)


def positions(x: Tensor, axes: Iterable[int]) -> list[Index]:
    return list(itertools.product(*(range(x.shape[axis]) for axis in axes)))


def normalize(
    x: Tensor,
    group_of: Callable[[Index], Index],
    parameter_of: Callable[[Index], Index],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    statistic: Statistic = mean_and_variance,
) -> Tensor:
    """Gamma (x - mean) / sqrt(variance + eps) + beta, with one statistic for each value of `group_of`."""
    groups: dict[Index, list[Index]] = {}
    for index in positions(x, range(x.ndim)):
        groups.setdefault(group_of(index), []).append(index)
    y = torch.empty(x.shape, dtype=torch.float64)
    for members in groups.values():
        mean, variance = statistic([float(x[index]) for index in members])
        for index in members:
            gamma = 1.0 if weight is None else float(weight[parameter_of(index)])
            beta = 0.0 if bias is None else float(bias[parameter_of(index)])
            y[index] = gamma * (float(x[index]) - mean) / math.sqrt(variance + eps) + beta
    return y


def channel(index: Index) -> Index:
    return (index[1],)
