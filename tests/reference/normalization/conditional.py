"""Normalizations whose scale and shift come from elsewhere, from their papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.normalization.common import channel, mean_and_variance, normalize, positions


def ada_layer_norm(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Peebles & Xie 2022, section 3.2: layer norm without parameters, then (1 + scale) y + shift per example."""
    y = normalize(x, lambda index: index[:-1], channel, None, None, eps)
    for index in positions(x, range(x.ndim)):
        example = (index[0], index[-1])
        gain = 1.0 + (0.0 if scale is None else float(scale[example]))
        y[index] = gain * float(y[index]) + (0.0 if shift is None else float(shift[example]))
    return y


def adaptive_instance_norm(x: Tensor, style: Tensor, eps: float = 1e-5) -> Tensor:
    """Huang & Belongie 2017, Eq. 8, with sigma of Eq. 6: the root of variance + eps."""
    y = normalize(x, lambda index: index[:2], channel, None, None, eps)
    for pair in positions(x, (0, 1)):
        mean, variance = mean_and_variance([float(value) for value in style[pair].flatten()])
        for place in positions(x, range(2, x.ndim)):
            y[(*pair, *place)] = math.sqrt(variance + eps) * float(y[(*pair, *place)]) + mean
    return y


def spade(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Park et al. 2019, Eqs. 1 to 3, with gamma = 1 + scale and beta = shift."""
    y = normalize(x, channel, channel, None, None, eps)
    gain = torch.ones_like(y) if scale is None else 1.0 + scale.double()
    return gain * y + (torch.zeros_like(y) if shift is None else shift.double())
