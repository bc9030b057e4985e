"""Normalization in transformers, from their papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tests.reference.normalization.common import positions


def _length(values: list[float]) -> float:
    return math.sqrt(math.fsum(value**2 for value in values))


def _scaled_tokens(x: Tensor, gain: float, eps: float) -> Tensor:
    y = torch.empty(x.shape, dtype=torch.float64)
    for token in positions(x, range(x.ndim - 1)):
        values = [float(value) for value in x[token]]
        for feature, value in enumerate(values):
            y[(*token, feature)] = gain * value / max(_length(values), eps)
    return y


def scale_norm(x: Tensor, g: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Nguyen & Salazar 2019: g x / ||x||, with g starting at sqrt(d)."""
    return _scaled_tokens(x, math.sqrt(x.shape[-1]) if g is None else float(g), eps)


def fix_norm(x: Tensor, g: Tensor | None = None, eps: float = 1e-12) -> Tensor:
    """Nguyen & Chiang 2018: g w / ||w||."""
    return _scaled_tokens(x, 1.0 if g is None else float(g), eps)


def dynamic_tanh(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, alpha: float = 0.5) -> Tensor:
    """Zhu et al. 2025: gamma tanh(alpha x) + beta, gamma and beta per channel."""
    y = torch.empty(x.shape, dtype=torch.float64)
    for index in positions(x, range(x.ndim)):
        c = index[2] if x.ndim == 3 else index[1]
        gamma = 1.0 if weight is None else float(weight[c])
        beta = 0.0 if bias is None else float(bias[c])
        y[index] = gamma * math.tanh(alpha * float(x[index])) + beta
    return y


def qk_norm(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None) -> Tensor:
    """Henry et al. 2020: softmax(g q^ k^T) V, with g starting at log2(L^2 - L)."""
    keys = k.shape[-2]
    gain = math.log2(keys**2 - keys) if g is None else float(g)
    unit_q, unit_k = _scaled_tokens(q, 1.0, 0.0), _scaled_tokens(k, 1.0, 0.0)
    y = torch.zeros((*q.shape[:-1], v.shape[-1]), dtype=torch.float64)
    for place in positions(q, range(q.ndim - 1)):
        head = place[:-1]
        weights = []
        for j in range(keys):
            cosine = math.fsum(float(a) * float(b) for a, b in zip(unit_q[place], unit_k[(*head, j)], strict=True))
            weights.append(math.exp(gain * cosine))
        for j, attention in enumerate(weights):
            y[place] += attention / math.fsum(weights) * v[(*head, j)].double()
    return y


def ngpt_step(h: Tensor, f: Callable[[Tensor], Tensor], alpha: float = 0.05) -> Tensor:
    """Loshchilov et al. 2024, Eqs. 10 and 11: Norm(h + alpha (Norm(f(h)) - h))."""
    answer = _scaled_tokens(f(h), 1.0, 0.0)
    return _scaled_tokens(h.double() + alpha * (answer - h.double()), 1.0, 0.0)
