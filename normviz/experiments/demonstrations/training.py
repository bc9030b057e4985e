"""Demonstrations of norms in training: adaptive gradient clipping, decay of gamma and beta, and GradNorm."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from normviz.experiments.demonstrations.demonstration import Demonstration, demonstrates, grads, largest, normal, steps
from normviz.experiments.results import BarChart, Curve, Curves, Fact, Kind, array
from normviz.normalization import adaptive_gradient_clipping, affine_decay, grad_norm
from normviz.registry import Knob, Range

TIMES = Knob("times", float, 2.5, "scale of the second task relative to the first.", Range(1.0, 3.0, "s"))
SMALL, PACE, TRAINED = 0.35, 0.15, 400  # scale of the heads, learning rate and steps of the two-task training
LR = 0.1  # learning rate of the decay
CONSTANTS = 3.0  # time constants: the training ends at e^-3 of the initial distance
STRIDES = 100  # number of equal strides in which it is computed
GREEK: tuple[tuple[int, str, Kind], ...] = ((0, "γ", "measured"), (1, "β", "compared"))
Form = Literal["published", "optimizer"]
FORMS: tuple[Form, ...] = get_args(Form)


@demonstrates("adaptive_gradient_clipping")
def _adaptive_gradient_clipping(generator: Generator, clipping: float, eps: float) -> Demonstration:
    weight = F.normalize(normal(generator, 8, 16), dim=1) * torch.logspace(1, -2.5, 8).double()[:, None]  # (8, 16)
    weight[-1] = 0  # a unit with zero weights
    pull = torch.logspace(-2.5, 0.5, 8).double()[torch.randperm(8, generator=generator)]  # (8,)
    gradient = F.normalize(normal(generator, 8, 16), dim=1) * pull[:, None]  # (8, 16)
    clipped = adaptive_gradient_clipping(gradient, weight, clipping, eps)  # (8, 16)
    own = weight.norm(dim=1).clamp_min(eps)  # (8,)
    before, after = gradient.norm(dim=1) / own, clipped.norm(dim=1) / own  # (8,), (8,)
    short = before <= clipping  # (8,)
    units = tuple(str(unit) for unit in range(1, 9))
    return Demonstration(
        "No unit may change by more than a fixed share of its own norm.",
        (
            BarChart(
                "Norm of the gradient divided by the norm of the weights", "unit", "share", units,
                {"before": array(before), "after": array(after)}, array([clipping] * 8),
                "The weights of unit 8 are all 0, so their norm is replaced by ε.", log_y=True, line="limit λ",
            ),
            BarChart(
                "Norm of the gradient", "unit", "norm", units,
                {"before": array(gradient.norm(dim=1)), "after": array(clipped.norm(dim=1))},
                caption="Clipping changes the norm but not the direction.", log_y=True,
            ),
        ),
        (
            Fact("largest share before clipping", float(before.max())),
            Fact("largest share after clipping", float(after.max()), min(clipping, float(before.max()))),
            Fact("clipped units, of 8", float((~short).sum())),
            Fact("smallest cosine between a gradient before and after",
                 float(F.cosine_similarity(gradient, clipped, dim=1, eps=1e-30).min()), 1),
            Fact("change of the units below the limit", largest((clipped - gradient) * short[:, None]), 0),
            Fact("norm of the clipped gradient of the unit with zero weights", float(clipped[-1].norm()),
                 min(clipping * eps, float(pull[-1]))),
        ),
    )  # fmt: skip


def _decayed(gamma: Tensor, beta: Tensor, decay: float, form: Form) -> Tensor:
    """Simulate the decay of gamma and beta (C,) without a loss, one row per stride: (STRIDES + 1, 2, C)."""
    at = torch.stack([gamma, beta])  # (2, C)
    path = [at]
    stride = CONSTANTS / (decay * STRIDES)  # the learning rate times the steps in one stride
    for _ in range(STRIDES):
        leaf = at.clone().requires_grad_()  # (2, C)
        at = at - stride * grads(affine_decay(leaf[0], leaf[1], decay, form), leaf)[0]  # (2, C)
        path.append(at)
    return torch.stack(path)  # (STRIDES + 1, 2, C)


@demonstrates("affine_decay")
def _affine_decay(generator: Generator, decay: float, form: Form) -> Demonstration:
    gamma = 1 + torch.tensor([1.0, -0.75, 0.3]).double() * (1 + 0.1 * normal(generator, 3))  # (3,)
    beta = torch.tensor([-1.0, 0.5, 0.1]).double() * (1 + 0.1 * normal(generator, 3))  # (3,)
    training = CONSTANTS / (decay * LR)  # steps
    at = steps(STRIDES + 1) * training / STRIDES
    paths = {name: _decayed(gamma, beta, decay, name) for name in FORMS}  # (STRIDES + 1, 2, 3)
    first = {name: path[:, 0, 0] for name, path in paths.items()}  # (STRIDES + 1,)
    goal = {"published": 1.0, "optimizer": 0.0}
    left = (first[form] - goal[form]) / (gamma[0] - goal[form])  # (STRIDES + 1,)
    half = float(at[int((left <= 0.5).int().argmax())])
    untouched = affine_decay(torch.ones(3), torch.zeros(3), decay, form)  # ()
    return Demonstration(
        "The published penalty pulls γ to 1; the weight decay of optimizers pulls it to 0.",
        (
            Curves(
                "γ of the first channel, both forms", "training step", "γ",
                (
                    Curve("published", at, array(first["published"])),
                    Curve("optimizer", at, array(first["optimizer"]), "compared"),
                ),
                f"Only the decay, at a learning rate of {LR:g}, without the gradient of a loss.",
            ),
            Curves(
                f"All channels, {form} form", "training step", "γ and β",
                tuple(
                    Curve(f"{letter}, channel {channel}", at, array(paths[form][:, row, channel]), kind)
                    for row, letter, kind in GREEK
                    for channel in range(3)
                ),
            ),
        ),
        (
            Fact("penalty at the start", float(affine_decay(gamma, beta, decay, form)),
                 decay / 2 * float(((gamma - goal[form]) ** 2).sum() + (beta**2).sum()), 1e-9),
            Fact("γ of the first channel at the end", float(first[form][-1]),
                 goal[form] + (float(gamma[0]) - goal[form]) * math.exp(-CONSTANTS), 0.02),
            Fact("steps until half of the distance remains", half, math.log(2) / (decay * LR), 0.01 * training),
            Fact("penalty of γ = 1, β = 0 in three channels", float(untouched), 1.5 * decay * (1 - goal[form]), 1e-6),
        ),
    )  # fmt: skip


@demonstrates("grad_norm", TIMES)
def _grad_norm(generator: Generator, alpha: float, lr: float, times: float) -> Demonstration:
    x = normal(generator, 64, 8)  # (64, 8)
    answers = 0.3 * (normal(generator, 8, 4) + normal(generator, 2, 8, 4))  # (2, 8, 4), similar but not the same
    sizes = SMALL * torch.tensor([1.0, times]).double()  # (2,)
    balanced, plain = (_train(x, answers, sizes, alpha, lr, balance) for balance in (True, False))
    places = steps(len(balanced[0]))
    return Demonstration(
        "Two tasks share a network. GradNorm weights their losses so that both train at a similar rate.",
        (
            Curves(
                "Weights of the tasks", "training step", "weight",
                tuple(Curve(f"task {task + 1}", places, array(balanced[0][:, task])) for task in range(2)),
                f"The targets of task 2 are {times:g} times larger; both weights start at 1.",
            ),
            Curves(
                "Losses, with GradNorm", "training step", "share of the initial loss",
                tuple(Curve(f"task {task + 1}", places, array(balanced[1][:, task])) for task in range(2)), log_y=True,
            ),
            Curves(
                "Losses, equal weights", "training step", "share of the initial loss",
                tuple(Curve(f"task {task + 1}", places, array(plain[1][:, task])) for task in range(2)), log_y=True,
            ),
        ),
        (
            Fact("sum of the weights at the end", float(balanced[0][-1].sum()), 2),
            Fact("weight of task 1 at the end", float(balanced[0][-1, 0])),
            Fact("weight of task 2 at the end", float(balanced[0][-1, 1])),
            Fact("relative loss of task 1 / task 2 with GradNorm",
                 float(balanced[1][-1, 0] / balanced[1][-1, 1]), 1 if alpha >= 0.5 and lr >= 0.02 else None, 0.25),
            Fact("relative loss of task 1 / task 2 with equal weights", float(plain[1][-1, 0] / plain[1][-1, 1])),
        ),
    )  # fmt: skip


def _train(x: Tensor, answers: Tensor, sizes: Tensor, alpha: float, lr: float, balance: bool) -> tuple[Tensor, Tensor]:
    """Train one linear layer for two tasks; return task weights and relative losses, (TRAINED, 2) each.

    The target of task i is sizes[i] · x · answers[i], and its output is sizes[i] · x · shared.
    """
    shared, weights = torch.zeros_like(answers[0]), torch.ones_like(sizes)  # (8, 4), (2,)
    history, losses = [], []
    for _ in range(TRAINED):
        errors = x @ (shared - answers) * sizes[:, None, None]  # (2, 64, 4)
        pulls = x.T @ errors * sizes[:, None, None] * (2 / errors[0].numel())  # (2, 8, 4), the gradients of the losses
        losses.append(errors.square().mean((1, 2)))  # (2,)
        history.append(weights)
        if balance:
            weights = grad_norm(weights, pulls.flatten(1).norm(dim=1), losses[-1], losses[0], alpha, lr)  # (2,)
        shared = shared - PACE * (weights[:, None, None] * pulls).sum(0)  # (8, 4)
    return torch.stack(history), torch.stack(losses) / losses[0]  # (TRAINED, 2), (TRAINED, 2)
