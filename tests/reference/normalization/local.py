"""Normalizations in a window or a pool, from their papers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tests.reference.normalization.common import Index, mean_and_variance, positions


def local_response_norm(x: Tensor, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> Tensor:
    """Krizhevsky, Sutskever & Hinton 2012, section 3.3: the sum runs from max(0, i - n/2) to min(N - 1, i + n/2)."""
    return _response(x, x, size, alpha, beta, k)


def _response(x: Tensor, summed: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in positions(x, range(x.ndim)):
        n, i, *place = index
        window = range(max(0, i - size // 2), min(x.shape[1] - 1, i + size // 2) + 1)
        squares = math.fsum(float(summed[(n, j, *place)]) ** 2 for j in window)
        y[index] = float(x[index]) / (k + alpha * squares) ** beta
    return y


def local_contrast_norm(
    x: Tensor,
    size: int = 9,
    form: str = "jarrett",
    channels: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    eps: float = 1e-5,
) -> Tensor:
    """Jarrett et al. 2009, section 2.1; or local response normalization with squares around the local mean."""
    n, c, h, w = x.shape
    if form == "centered":
        around = torch.empty(x.shape, dtype=torch.float64)
        for index in positions(x, range(4)):
            values = [float(x[(*index[:2], *place)]) for place, _ in _window(index[2:], size, (h, w))]
            around[index] = float(x[index]) - mean_and_variance(values)[0]
        return _response(x, around, channels, alpha, beta, k)
    v, y = torch.empty(x.shape, dtype=torch.float64), torch.empty(x.shape, dtype=torch.float64)
    for example in range(n):
        sigma = torch.empty(h, w, dtype=torch.float64)
        for place in positions(x, (2, 3)):
            mean = _weighted([[float(t) for t in x[example, i].flatten()] for i in range(c)], place, size, (h, w))
            for i in range(c):
                v[(example, i, *place)] = float(x[(example, i, *place)]) - mean
        for place in positions(x, (2, 3)):
            squares = [[float(t) ** 2 for t in v[example, i].flatten()] for i in range(c)]
            sigma[place] = math.sqrt(_weighted(squares, place, size, (h, w)))
        least = max(eps, mean_and_variance([float(value) for value in sigma.flatten()])[0])
        for i in range(c):
            for place in positions(x, (2, 3)):
                y[(example, i, *place)] = float(v[(example, i, *place)]) / max(least, float(sigma[place]))
    return y


def _window(place: Index, size: int, shape: tuple[int, int]) -> Iterator[tuple[Index, float]]:
    """The places of a square window that lie inside the map, with a Gaussian weight of a quarter of its side."""
    reach, width = size // 2, size / 4
    for p in range(-reach, reach + 1):
        for q in range(-reach, reach + 1):
            row, column = place[0] + p, place[1] + q
            if 0 <= row < shape[0] and 0 <= column < shape[1]:
                yield (row, column), math.exp(-(p**2 + q**2) / (2 * width**2))


def _weighted(maps: list[list[float]], place: Index, size: int, shape: tuple[int, int]) -> float:
    """The sum over window and maps, with weights that add up to 1 over both."""
    window = list(_window(place, size, shape))
    total = len(maps) * math.fsum(weight for _, weight in window)
    return math.fsum(w * values[row * shape[1] + column] for values in maps for (row, column), w in window) / total


def divisive_norm(
    x: Tensor, weight: Tensor | None = None, pool: Tensor | None = None, power: float = 2.0, s: float = 1.0
) -> Tensor:
    """Heeger 1992, the normalization model: D_i^n / (s^n + sum_j w_ij D_j^n) times a gain, of each response's size."""
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in positions(x, range(x.ndim)):
        n, i, *place = index
        total = 0.0
        for j in range(x.shape[1]):
            share = 1.0 if pool is None else float(pool[i, j])
            total += share * abs(float(x[(n, j, *place)])) ** power
        gain = 1.0 if weight is None else float(weight[i])
        y[index] = gain * math.copysign(abs(float(x[index])) ** power / (s**power + total), float(x[index]))
    return y
