"""Normalizations of gradients, decay and task weights, from their papers."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor


def _length(row: Tensor) -> float:
    return math.sqrt(math.fsum(float(value) ** 2 for value in row.flatten()))


def adaptive_gradient_clipping(gradient: Tensor, weight: Tensor, clipping: float = 0.01, eps: float = 1e-3) -> Tensor:
    """Brock et al. 2021 (High-Performance), Eq. 3, unit by unit."""
    y = gradient.double().clone()
    for i in range(len(gradient)):
        own, pull = max(_length(weight[i]), eps), _length(gradient[i])
        if pull / own > clipping:
            y[i] = clipping * own / pull * gradient[i].double()
    return y


def affine_decay(
    weight: Tensor, bias: Tensor, decay: float = 1e-4, form: Literal["published", "optimizer"] = "published"
) -> Tensor:
    """Summers & Dinneen 2019: gamma is pulled to 1; by an optimizer's weight decay to 0."""
    goal = 1.0 if form == "published" else 0.0
    terms = [(float(gamma) - goal) ** 2 for gamma in weight] + [float(beta) ** 2 for beta in bias]
    return torch.tensor(decay / 2 * math.fsum(terms), dtype=torch.float64)


def grad_norm(
    task_weights: Tensor,
    gradient_norms: Tensor,
    losses: Tensor,
    initial_losses: Tensor,
    alpha: float = 1.5,
    lr: float = 0.025,
) -> Tensor:
    """Chen et al. 2018, Eqs. 1 and 2: one descent step of sum |G_i - G r_i^alpha| in w, the target held fixed."""
    w, norms = [float(value) for value in task_weights], [float(value) for value in gradient_norms]
    tasks = len(w)
    ratios = [float(now) / float(then) for now, then in zip(losses, initial_losses, strict=True)]
    mean_length = math.fsum(w[i] * norms[i] for i in range(tasks)) / tasks
    stepped = []
    for i in range(tasks):
        target = mean_length * (ratios[i] / (math.fsum(ratios) / tasks)) ** alpha
        difference = w[i] * norms[i] - target
        slope = norms[i] if difference > 0 else -norms[i] if difference < 0 else 0.0
        stepped.append(w[i] - lr * slope)
    return torch.tensor([tasks * value / math.fsum(stepped) for value in stepped], dtype=torch.float64)
