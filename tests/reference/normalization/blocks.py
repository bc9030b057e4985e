"""Blocks of a network with their norms, from their papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tests.reference.normalization.common import channel, normalize, positions

Layer = Callable[[Tensor], Tensor]


def _layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return normalize(x, lambda index: index[:-1], lambda index: index[-1:], weight, bias, eps)


def post_norm(
    x: Tensor, f: Layer, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Vaswani et al. 2017, Section 3.1: LayerNorm(x + Sublayer(x))."""
    return _layer_norm(x + f(x), weight, bias, eps)


def pre_norm(
    x: Tensor, f: Layer, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Xiong et al. 2020, Table 1: x + Sublayer(LayerNorm(x))."""
    return x.double() + f(_layer_norm(x, weight, bias, eps))


def sandwich_norm(
    x: Tensor,
    f: Layer,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    out_weight: Tensor | None = None,
    out_bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Ding et al. 2021, Section 2.4: x + LayerNorm(Sublayer(LayerNorm(x)))."""
    return x.double() + _layer_norm(f(_layer_norm(x, weight, bias, eps)), out_weight, out_bias, eps)


def deep_norm(
    x: Tensor,
    f: Layer,
    alpha: float = 2.0,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Wang et al. 2022, Section 3: LayerNorm(alpha x + Sublayer(x))."""
    return _layer_norm(alpha * x + f(x), weight, bias, eps)


def ada_layer_norm_zero(
    x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, f: Layer, eps: float = 1e-6
) -> Tensor:
    """Peebles & Xie 2022, Section 3.2: shift, scale and gate are regressed from the condition by SiLU and a linear."""
    features = x.shape[-1]
    made = torch.empty((x.shape[0], 3 * features), dtype=torch.float64)
    for n, row in positions(made, (0, 1)):
        terms = [float(weight[row, c]) * float(value) / (1 + math.exp(-value)) for c, value in enumerate(condition[n])]
        made[n, row] = math.fsum(terms) + float(bias[row])
    normalized = _layer_norm(x, None, None, eps)
    modulated = torch.empty_like(normalized)
    for index in positions(x, range(x.ndim)):
        shift, scale = float(made[index[0], index[-1]]), float(made[index[0], features + index[-1]])
        modulated[index] = (1 + scale) * float(normalized[index]) + shift
    said, y = f(modulated), torch.empty_like(normalized)
    for index in positions(x, range(x.ndim)):
        y[index] = float(x[index]) + float(made[index[0], 2 * features + index[-1]]) * float(said[index])
    return y


def norm_placement(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, before: bool = True, eps: float = 1e-5
) -> Tensor:
    """Ioffe & Szegedy 2015, Section 3.2: g(BN(Wu)), where b can be ignored; or the norm behind g."""
    linear = torch.empty((x.shape[0], weight.shape[0]), dtype=torch.float64)
    for n, d in positions(linear, (0, 1)):
        shift = 0.0 if bias is None or before else float(bias[d])
        linear[n, d] = math.fsum(float(a) * float(b) for a, b in zip(weight[d], x[n], strict=True)) + shift
    if before:
        return normalize(linear, channel, channel, None, None, eps).clamp_min(0)
    return normalize(linear.clamp_min(0), channel, channel, None, None, eps)


def normalizer_free_block(h: Tensor, f: Layer, alpha: float = 0.2, beta: float = 1.0) -> Tensor:
    """Brock, De & Smith 2021, Section 3: h + alpha f(h / beta)."""
    y, said = torch.empty(h.shape, dtype=torch.float64), f(h / beta)
    for index in positions(h, range(h.ndim)):
        y[index] = float(h[index]) + alpha * float(said[index])
    return y
