"""Demonstrations of batch norm in recurrent networks: statistics per time step, padding, and gradients in time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from normviz.experiments.demonstrations.demonstration import (
    Demonstration,
    demonstrates,
    grads,
    largest,
    normal,
    rms,
    steps,
)
from normviz.experiments.results import Curve, Curves, Fact, Kind, Matrix, array
from normviz.normalization import (
    batch_norm,
    batch_norm_lstm,
    batch_norm_lstm_cell,
    batch_norm_rnn,
    recurrent_batch_norm,
)
from normviz.registry import Knob, Range

SEQUENCES, LONGEST = 32, 24
SHORTEST = Knob("shortest", int, 2, "number of real frames in the shortest sequence.", Range(2, LONGEST, "S"))
FRAMES = Knob("frames", int, 30, "number of time steps.", Range(5, 40, "T"))


@demonstrates("batch_norm_rnn", SHORTEST)
def _batch_norm_rnn(generator: Generator, per_step: bool, eps: float, shortest: int) -> Demonstration:
    lengths = torch.linspace(shortest, LONGEST, SEQUENCES).round().long()  # (32,)
    lengths[-2:] = LONGEST  # at least two frames at every step, needed for a variance
    mask = torch.arange(LONGEST) < lengths[:, None]  # (32, 24)
    trend = torch.linspace(2, 4, LONGEST, dtype=torch.float64)  # (24,), drift of the frames
    batches = (normal(generator, 200, SEQUENCES, LONGEST, 4) + trend[:, None]) * mask[..., None]  # (200, 32, 24, 4)
    x = batches[0]  # (32, 24, 4)
    weight, recurrent = torch.eye(4, dtype=torch.float64), 0.2 * normal(generator, 4, 4)  # (4, 4), (4, 4)
    left = mask.sum(0)  # (24,)
    noise = (batches.sum(1) / left[:, None]).std(0).mean(1)  # (24,), noise of the mean at each step
    theory = 1 / left.double().sqrt()  # (24,)

    def means(y: Tensor) -> Tensor:
        return y.sum(0).mean(1) / left  # (24,), over the real frames of each step

    kinds = {"frame-wise": True, "sequence-wise": False}
    chosen, other = sorted(kinds, key=lambda name: kinds[name] is not per_step)
    normed = {
        name: recurrent_batch_norm(F.linear(x, weight), mask, per_step=kind, eps=eps) for name, kind in kinds.items()
    }
    states = {name: batch_norm_rnn(x, weight, recurrent, mask, kind, eps=eps) for name, kind in kinds.items()}
    at, real = steps(LONGEST, 1), float(mask.sum())
    padded = 1 - real / mask.numel()
    true_mean = float(x.sum() / real / 4)
    return Demonstration(
        "Statistics over real frames only, per time step or over the whole batch.",
        (
            Curves(
                "Noise of the mean, frame-wise", "time step", "standard deviation over 200 batches",
                (Curve("measured", at, array(noise)), Curve("1 / √frames", at, array(theory), "expected")),
                f"The sequences have {shortest} to {LONGEST} frames, so later steps average over fewer frames.",
            ),
            Curves(
                "Mean of the normalized input", "time step", "mean",
                (
                    Curve(chosen, at, array(means(normed[chosen]))),
                    Curve(other, at, array(means(normed[other])), "compared"),
                ),
                "The frames drift upward. Frame-wise statistics remove the drift, sequence-wise statistics keep it.",
            ),
            Curves(
                "Hidden states", "time step", "mean over the real frames",
                (
                    Curve(chosen, at, array(means(states[chosen]))),
                    Curve(other, at, array(means(states[other])), "compared"),
                ),
            ),
            Matrix(
                "Hidden state 1 of every sequence", array(states[chosen][:, :, 0]), ("sequence", "time step"), "after",
                "Gray: padding, which is excluded from every mean.", (~mask).numpy(),
            ),
        ),
        (
            Fact("noise of the mean at the last step divided by that at the first", float(noise[-1] / noise[0]),
                 float((left[0] / left[-1]).double().sqrt()), 0.2 * float((left[0] / left[-1]).double().sqrt())),
            Fact("mean of the real frames", true_mean),
            Fact("mean if padding is counted", float(x.mean()), true_mean * (1 - padded)),
            Fact("share of padding", padded),
            Fact("largest absolute mean of a step after the norm",
                 largest(means(normed[chosen])), 0 if per_step else None),
            Fact("mean of all real frames after the norm", float(normed[chosen].sum() / real / 4), 0),
        ),
    )  # fmt: skip


@demonstrates("batch_norm_lstm", FRAMES)
def _batch_norm_lstm(generator: Generator, gamma: float, eps: float, frames: int) -> Demonstration:
    hidden, inputs, samples = 16, 8, 32
    x = normal(generator, samples, frames, inputs)  # (32, T, 8)
    weight_ih, weight_hh = (
        normal(generator, 4 * hidden, inputs),
        normal(generator, 4 * hidden, hidden),
    )  # (64, 8), (64, 16)
    bias = torch.zeros(4 * hidden, dtype=torch.float64)  # (64,)
    bias[hidden : 2 * hidden] = 1.0  # the forget gate starts open
    aim = normal(generator, samples, hidden)  # (32, 16)

    def measured(value: float) -> float:
        h = c = x.new_zeros(samples, hidden)  # (32, 16)
        for frame in x[:, :10].unbind(1):
            h, c = batch_norm_lstm_cell(frame, h, c, weight_ih, weight_hh, bias, value, eps)  # (32, 16), (32, 16)
        return float((1 - torch.tanh(value * batch_norm(c, eps=eps)).square()).mean())

    slopes, sizes = {}, {}
    for value in sorted({gamma, 0.1, 1.0}):
        leaf = x.clone().requires_grad_()  # (32, T, 8)
        h = batch_norm_lstm(leaf, weight_ih, weight_hh, bias, value, eps)  # (32, T, 16)
        slope = grads((h[:, -1] * aim).sum(), leaf)[0]  # (32, T, 8)
        slopes[value] = slope.square().sum((0, 2)).sqrt()  # (T,)
        sizes[value] = h.detach().square().mean((0, 2)).sqrt()  # (T,)
    kinds: dict[float, Kind] = {value: "measured" if value == gamma else "compared" for value in slopes}
    reach = {value: float(slope[0] / slope[-1]) for value, slope in slopes.items()}
    scales = [0.01, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0]
    open_, expected = ([kind(value) for value in scales] for kind in (measured, _slope))
    products = F.linear(x[:, 0], weight_ih), F.linear(normal(generator, samples, hidden), weight_hh)  # (32, 64) each
    gates = gamma * (batch_norm(products[0], eps=eps) + batch_norm(products[1], eps=eps))  # (32, 64)
    left = [float((part.var(0, correction=0) / (part.var(0, correction=0) + eps)).mean()) for part in products]
    at = steps(frames, 1)
    return Demonstration(
        "The scale γ controls how much the gates and the tanh saturate, and how gradients propagate back in time.",
        (
            Curves(
                "Gradient of the last state at each input", "time step", "length of the gradient",
                tuple(Curve(f"γ = {value:g}", at, array(slopes[value]), kinds[value]) for value in slopes),
                "An untrained LSTM; the gradient propagates back in time from right to left.", log_y=True,
            ),
            Curves(
                "Root mean square of the hidden states", "time step", "root mean square",
                tuple(Curve(f"γ = {value:g}", at, array(sizes[value]), kinds[value]) for value in sizes),
            ),
            Curves(
                "Slope of the tanh after the norm of the cell", "γ", "mean slope",
                (
                    Curve("measured", array(scales), array(open_)),
                    Curve("normal input", array(scales), array(expected), "expected"),
                ),
                "A slope of 1 passes gradients unchanged; where the tanh saturates, the slope is 0.",
            ),
        ),
        (
            Fact("gradient at the first input divided by that at the last", reach[gamma]),
            Fact("the same ratio with γ = 0.1", reach[0.1]),
            Fact("the same ratio with γ = 1", reach[1.0]),
            Fact("mean slope of the tanh after the norm of the cell", measured(gamma), _slope(gamma), 0.1),
            Fact("root mean square of the gates before the bias", rms(gates),
                 gamma * math.sqrt(sum(left)), 0.1 * gamma),
        ),
    )  # fmt: skip


def _slope(gamma: float) -> float:
    """Compute the mean of tanh'(gamma z) for a standard normal z with the trapezoidal rule."""
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)  # (2001,)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)  # (2001,)
    return float(torch.trapezoid((1 - torch.tanh(gamma * z).square()) * density, z))
