"""Gaussian blur of images."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

REACH = 3  # standard deviations at which the Gaussian ends where its edges are repeated
Edges = Literal["repeat", "renormalize"]


def gaussian_blur(images: Tensor, sigma: float, edges: Edges = "repeat", reach: int | None = None) -> Tensor:
    """Images blurred by a Gaussian.

    Args:
        images: (..., H, W), floating point.
        sigma: standard deviation in pixels, above 0.
        edges: "repeat": outside the image its border pixels are repeated. "renormalize": only pixels of the image
            count, with weights that sum to 1; the Gaussian is not cut off.
        reach: with repeated edges, the distance in pixels at which the Gaussian is cut off; None: 3 sigma, rounded up.

    Returns:
        (..., H, W).
    """
    if edges == "repeat":
        reach = math.ceil(REACH * sigma) if reach is None else reach
        rows, columns = (_repeating_matrix(size, sigma, reach).to(images) for size in images.shape[-2:])
    else:
        rows, columns = (_renormalized_matrix(size, sigma).to(images) for size in images.shape[-2:])
    return rows @ images @ columns.T  # (..., H, W)


def _repeating_matrix(size: int, sigma: float, reach: int) -> Tensor:
    """The matrix (size, size) that blurs a line of pixels whose first and last pixel are repeated outside it."""
    offsets = torch.arange(-reach, reach + 1)  # (2 reach + 1,)
    kernel = torch.exp(-offsets.double().square() / (2 * sigma**2))  # (2 reach + 1,)
    kernel = kernel / kernel.sum()  # (2 reach + 1,)
    sources = (torch.arange(size)[:, None] + offsets).clamp(0, size - 1)  # (size, 2 reach + 1)
    return kernel.new_zeros(size, size).scatter_add_(1, sources, kernel.expand(size, -1))  # (size, size)


def _renormalized_matrix(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) that blurs a line of pixels by weights over these pixels alone."""
    positions = torch.arange(size, dtype=torch.float64)  # (size,)
    weights = (-(positions[:, None] - positions).square() / (2 * sigma**2)).exp()  # (size, size)
    return weights / weights.sum(dim=1, keepdim=True)  # (size, size)
