"""Batch normalization in recurrent networks, from the papers: one frame, one step and one gate at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.normalization.common import mean_and_variance


def recurrent_batch_norm(
    x: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    per_step: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    """Laurent et al. 2015, section 3: the mean and the variance of the frames that are there."""
    examples, steps, width = x.shape
    frames = [(n, t) for n in range(examples) for t in range(steps) if mask is None or bool(mask[n, t])]
    y = torch.zeros(x.shape, dtype=torch.float64)
    for together in [[f for f in frames if f[1] == t] for t in range(steps)] if per_step else [frames]:
        for d in range(width if together else 0):
            mean, variance = mean_and_variance([float(x[n, t, d]) for n, t in together])
            for n, t in together:
                value = (float(x[n, t, d]) - mean) / math.sqrt(variance + eps)
                y[n, t, d] = value * (1 if weight is None else weight[d]) + (0 if bias is None else bias[d])
    return y


def batch_norm_rnn(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    mask: Tensor | None = None,
    per_step: bool = True,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Laurent et al. 2015, section 3: h_t = phi(BN(W x_t) + U h_(t-1)), sequence after sequence."""
    examples, steps, _ = x.shape
    products = torch.stack([torch.stack([weight @ x[n, t] for t in range(steps)]) for n in range(examples)])
    term = recurrent_batch_norm(products, mask, gamma, beta, per_step, eps)
    y = torch.zeros(examples, steps, len(weight), dtype=torch.float64)
    for n in range(examples):
        state = [0.0] * len(weight)
        for t in range(steps):
            if mask is not None and not bool(mask[n, t]):
                break
            sums = [
                float(term[n, t, i]) + math.fsum(float(recurrent[i, j]) * h for j, h in enumerate(state))
                for i in range(len(weight))
            ]
            state = [math.tanh(total) for total in sums]
            y[n, t] = torch.tensor(state, dtype=torch.float64)
    return y


def batch_norm_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    gamma: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Cooijmans et al. 2016, section 3: both products and the cell normalized over the examples of each step."""
    examples, steps, _ = x.shape
    hidden = weight_hh.shape[1]

    def over_examples(columns: list[list[float]]) -> list[list[float]]:
        """Columns of the batch, each normalized."""
        result = []
        for values in columns:
            mean, variance = mean_and_variance(values)
            result.append([gamma * (value - mean) / math.sqrt(variance + eps) for value in values])
        return result

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    h, c = ([[0.0] * examples for _ in range(hidden)] for _ in range(2))  # by unit, then by example
    y = torch.empty(examples, steps, hidden, dtype=torch.float64)
    for t in range(steps):
        inputs = over_examples([[float(row @ x[n, t]) for n in range(examples)] for row in weight_ih])
        memory = over_examples(
            [[math.fsum(float(row[j]) * h[j][n] for j in range(hidden)) for n in range(examples)] for row in weight_hh]
        )
        gates = [
            [a + b + (0.0 if bias is None else float(bias[k])) for a, b in zip(inputs[k], memory[k], strict=True)]
            for k in range(4 * hidden)
        ]
        enter, keep, new, leave = (gates[k * hidden : (k + 1) * hidden] for k in range(4))
        for j in range(hidden):
            for n in range(examples):
                c[j][n] = sigmoid(keep[j][n]) * c[j][n] + sigmoid(enter[j][n]) * math.tanh(new[j][n])
        normed = over_examples(c)
        h = [[sigmoid(leave[j][n]) * math.tanh(normed[j][n]) for n in range(examples)] for j in range(hidden)]
        y[:, t] = torch.tensor(h, dtype=torch.float64).T
    return y
