"""Normalizations of weights, from their papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.normalization.common import mean_and_variance


def _rows(weight: Tensor) -> list[list[float]]:
    return [[float(value) for value in row.flatten()] for row in weight]


def _tensor(rows: list[list[float]], shape: torch.Size) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(shape)


def weight_norm(v: Tensor, g: Tensor | None = None) -> Tensor:
    """Salimans & Kingma 2016, Eq. 2: w = g / ||v|| v."""
    rows = []
    for i, row in enumerate(_rows(v)):
        length = math.sqrt(math.fsum(value**2 for value in row))
        rows.append([(1.0 if g is None else float(g[i])) * value / length for value in row])
    return _tensor(rows, v.shape)


def weight_standardization(weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Qiao et al. 2019: (W - mean) / std for each output."""
    rows = []
    for row in _rows(weight):
        mean, variance = mean_and_variance(row)
        rows.append([(value - mean) / math.sqrt(variance + eps) for value in row])
    return _tensor(rows, weight.shape)


def scaled_weight_standardization(
    weight: Tensor, gain: float = round(math.sqrt(2 / (1 - 1 / math.pi)), 4), eps: float = 1e-4
) -> Tensor:
    """Brock, De & Smith 2021, Eq. 4: gain (W - mean) / (std sqrt(fan-in))."""
    rows = []
    for row in _rows(weight):
        mean, variance = mean_and_variance(row)
        rows.append([gain * (value - mean) / math.sqrt(max(len(row) * variance, eps)) for value in row])
    return _tensor(rows, weight.shape)


def spectral_norm(weight: Tensor, u: Tensor | None = None, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Miyato et al. 2018, Algorithm 1: v = W^T u / |W^T u|, u = W v / |W v|, sigma = u^T W v."""
    rows = _rows(weight)
    if u is None:  # the same start as the method: it is no part of the paper
        drawn = torch.randn(len(rows), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        left = [float(value / drawn.norm()) for value in drawn]
    else:
        left = [float(value) for value in u]
    right: list[float] = []
    for _ in range(steps):
        right = [math.fsum(left[i] * row[j] for i, row in enumerate(rows)) for j in range(len(rows[0]))]
        right = [value / math.sqrt(math.fsum(each**2 for each in right)) for value in right]
        left = [math.fsum(a * b for a, b in zip(row, right, strict=True)) for row in rows]
        left = [value / math.sqrt(math.fsum(each**2 for each in left)) for value in left]
    sigma = math.fsum(left[i] * value * right[j] for i, row in enumerate(rows) for j, value in enumerate(row))
    return _tensor([[value / sigma for value in row] for row in rows], weight.shape), torch.tensor(
        left, dtype=torch.float64
    )
