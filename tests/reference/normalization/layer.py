"""Normalizations within one example, from their papers."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tests.reference.normalization.common import Index, channel, normalize, zero_and_mean_square


def _layer_groups(x: Tensor, per_position: bool) -> tuple[Callable[[Index], Index], Callable[[Index], Index]]:
    """Who shares a statistic, and which parameter each value has: per example, per token or per pixel."""
    if x.ndim == 3:
        return lambda index: index[:2], lambda index: index[2:]
    if x.ndim > 3 and per_position:
        return lambda index: (index[0], *index[2:]), channel
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
    return normalize(x, group_of, parameter_of, weight, bias, eps)


def rms_norm(x: Tensor, weight: Tensor | None = None, per_position: bool = False, eps: float = 1e-6) -> Tensor:
    """Zhang & Sennrich 2019, Eq. 4: a_i / RMS(a) g_i."""
    group_of, parameter_of = _layer_groups(x, per_position)
    return normalize(x, group_of, parameter_of, weight, None, eps, zero_and_mean_square)


def lp_norm(
    x: Tensor, p: float = 2.0, weight: Tensor | None = None, per_position: bool = False, eps: float = 1e-12
) -> Tensor:
    """Divide by the p-th root of the mean p-th power, or by eps where that is larger."""

    def power(values: list[float]) -> tuple[float, float]:
        return 0.0, max(eps, (math.fsum(abs(value) ** p for value in values) / len(values)) ** (1 / p)) ** 2

    group_of, parameter_of = _layer_groups(x, per_position)
    return normalize(x, group_of, parameter_of, weight, None, 0.0, power)


def l2_norm(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Divide by its length, or by eps where that is larger."""

    def length(values: list[float]) -> tuple[float, float]:
        return 0.0, max(eps, math.sqrt(math.fsum(value**2 for value in values))) ** 2

    group_of, parameter_of = _layer_groups(x, per_position=True)
    return normalize(x, group_of, parameter_of, None, None, 0.0, length)
