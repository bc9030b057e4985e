"""Scaling of data, from the definitions: one feature, or one sample, at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tests.reference.normalization.common import Index, mean_and_variance, positions

Fit = Callable[[list[float]], Callable[[float], float]]


def _feature(index: Index) -> int:
    return index[2] if len(index) == 3 else index[1]


def _by_feature(x: Tensor, train: Tensor | None, fit: Fit) -> Tensor:
    """What `fit` makes of each feature's training values, applied to the same feature of `x`."""
    rows = x if train is None else train
    known: dict[int, list[float]] = {}
    for index in positions(rows, range(rows.ndim)):
        known.setdefault(_feature(index), []).append(float(rows[index]))
    rules = {feature: fit(values) for feature, values in known.items()}
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in positions(x, range(x.ndim)):
        y[index] = rules[_feature(index)](float(x[index]))
    return y


def min_max_scaling(x: Tensor, train: Tensor | None = None, low: float = 0.0, high: float = 1.0) -> Tensor:
    """The smallest training value becomes `low`, the largest `high`, linear in between."""

    def fit(values: list[float]) -> Callable[[float], float]:
        least, most = min(values), max(values)
        return lambda value: low + (value - least) * (high - low) / (most - least) if most > least else low

    return _by_feature(x, train, fit)


def z_score(x: Tensor, train: Tensor | None = None) -> Tensor:
    """Distance to the training mean in (biased) training standard deviations."""

    def fit(values: list[float]) -> Callable[[float], float]:
        if min(values) == max(values):
            return lambda value: 0.0
        mean, variance = mean_and_variance(values)
        return lambda value: (value - mean) / math.sqrt(variance)

    return _by_feature(x, train, fit)


def max_abs_scaling(x: Tensor, train: Tensor | None = None) -> Tensor:
    """A share of the largest absolute training value."""

    def fit(values: list[float]) -> Callable[[float], float]:
        largest = max(abs(value) for value in values)
        return lambda value: value / largest if largest else 0.0

    return _by_feature(x, train, fit)


def robust_scaling(x: Tensor, train: Tensor | None = None) -> Tensor:
    """Distance to the training median in distances of the training quartiles."""

    def quantile(values: list[float], share: float) -> float:
        ranked = sorted(values)
        place = share * (len(ranked) - 1)
        below = int(place)
        above = min(below + 1, len(ranked) - 1)
        return ranked[below] + (place - below) * (ranked[above] - ranked[below])

    def fit(values: list[float]) -> Callable[[float], float]:
        first, middle, third = (quantile(values, share) for share in (0.25, 0.5, 0.75))
        return lambda value: (value - middle) / (third - first) if third > first else 0.0

    return _by_feature(x, train, fit)


def unit_length(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Each sample over the root of the sum of its squares."""
    y = torch.empty(x.shape, dtype=torch.float64)
    for n in range(len(x)):
        length = math.sqrt(math.fsum(float(value) ** 2 for value in x[n].flatten()))
        y[n] = x[n].double() / max(length, eps)
    return y


def zca_whitening(x: Tensor, train: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The symmetric inverse root of covariance + eps I, by Newton's iteration of Denman and Beavers."""
    rows = (x if train is None else train).double()
    count, width = rows.shape
    mean = [math.fsum(float(value) for value in rows[:, c]) / count for c in range(width)]
    root = torch.empty(width, width, dtype=torch.float64)
    for a in range(width):
        for b in range(width):
            products = [float((row[a] - mean[a]) * (row[b] - mean[b])) for row in rows]
            root[a, b] = math.fsum(products) / count + (eps if a == b else 0.0)
    inverse = torch.eye(width, dtype=torch.float64)
    for _ in range(60):
        root, inverse = (root + torch.linalg.inv(inverse)) / 2, (inverse + torch.linalg.inv(root)) / 2
    return torch.stack([inverse @ (row - torch.tensor(mean, dtype=torch.float64)) for row in x.double()])
