"""Training norms live: clipped gradients, decaying gamma and beta, and two tasks that are kept in balance."""

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

TIMES = Knob("times", float, 2.5, "how much larger the second task's numbers are.", Range(1.0, 3.0, "s"))
SMALL, PACE, TRAINED = 0.35, 0.15, 400  # size of the heads, learning rate and steps of the two-task training
LR = 0.1  # of the training whose decay is shown
CONSTANTS = 3.0  # it lasts until e^-3 of the distance is left
STRIDES = 100  # and is drawn in so many equal strides
GREEK: tuple[tuple[int, str, Kind], ...] = ((0, "γ", "measured"), (1, "β", "compared"))
Form = Literal["published", "optimizer"]
FORMS: tuple[Form, ...] = get_args(Form)


@demonstrates("adaptive_gradient_clipping")
def _adaptive_gradient_clipping(generator: Generator, clipping: float, eps: float) -> Demonstration:
    weight = F.normalize(normal(generator, 8, 16), dim=1) * torch.logspace(1, -2.5, 8).double()[:, None]  # (8, 16)
    weight[-1] = 0  # a unit of zeros
    pull = torch.logspace(-2.5, 0.5, 8).double()[torch.randperm(8, generator=generator)]  # (8,)
    gradient = F.normalize(normal(generator, 8, 16), dim=1) * pull[:, None]  # (8, 16)
    clipped = adaptive_gradient_clipping(gradient, weight, clipping, eps)  # (8, 16)
    own = weight.norm(dim=1).clamp_min(eps)  # (8,)
    before, after = gradient.norm(dim=1) / own, clipped.norm(dim=1) / own  # (8,), (8,)
    short = before <= clipping  # (8,)
    units = tuple(str(unit) for unit in range(1, 9))
    return Demonstration(
        "No unit may change by more than a share of its own length.",
        (
            BarChart(
                "Length of the gradient over the length of the weights", "unit", "share", units,
                {"before": array(before), "after": array(after)}, array([clipping] * 8),
                "The weights of unit 8 are all 0: they count as ε long.", log_y=True, line="limit λ",
            ),
            BarChart(
                "Length of the gradient", "unit", "length", units,
                {"before": array(gradient.norm(dim=1)), "after": array(clipped.norm(dim=1))},
                caption="Only the lengths change, never the directions.", log_y=True,
            ),
        ),
        (
            Fact("largest share, before", float(before.max())),
            Fact("largest share, after", float(after.max()), min(clipping, float(before.max()))),
            Fact("units that are clipped, of 8", float((~short).sum())),
            Fact("cosine between old and new gradient, worst unit",
                 float(F.cosine_similarity(gradient, clipped, dim=1, eps=1e-30).min()), 1),
            Fact("change of the units below the limit", largest((clipped - gradient) * short[:, None]), 0),
            Fact("length of the gradient of the unit of zeros, after", float(clipped[-1].norm()),
                 min(clipping * eps, float(pull[-1]))),
        ),
    )  # fmt: skip


def _decayed(gamma: Tensor, beta: Tensor, decay: float, form: Form) -> Tensor:
    """Gamma and beta (C,) decaying alone until the end of training, one row a stride: (STRIDES + 1, 2, C)."""
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
                f"The decay alone, at a learning rate of {LR:g}; the loss would add its own pull.",
            ),
            Curves(
                f"All channels, {form} form", "training step", "γ and β",
                tuple(
                    Curve(f"{letter} {channel + 1}", at, array(paths[form][:, row, channel]), kind)
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
            Fact("steps until half of the distance is gone", half, math.log(2) / (decay * LR), 0.01 * training),
            Fact("penalty of γ = 1, β = 0 in three channels", float(untouched), 1.5 * decay * (1 - goal[form]), 1e-6),
        ),
    )  # fmt: skip


@demonstrates("grad_norm", TIMES)
def _grad_norm(generator: Generator, alpha: float, lr: float, times: float) -> Demonstration:
    x = normal(generator, 64, 8)  # (64, 8)
    answers = 0.3 * (normal(generator, 8, 4) + normal(generator, 2, 8, 4))  # (2, 8, 4), alike but not the same
    sizes = SMALL * torch.tensor([1.0, times]).double()  # (2,)
    balanced, plain = (_train(x, answers, sizes, alpha, lr, balance) for balance in (True, False))
    places = steps(len(balanced[0]))
    return Demonstration(
        "Two tasks share a network. GradNorm weighs their losses so that neither runs away.",
        (
            Curves(
                "Weights of the tasks", "training step", "weight",
                tuple(Curve(f"task {task + 1}", places, array(balanced[0][:, task])) for task in range(2)),
                f"The targets of task 2 are {times:g} times larger; both weights start at 1.",
            ),
            Curves(
                "Losses, with GradNorm", "training step", "share of the first loss",
                tuple(Curve(f"task {task + 1}", places, array(balanced[1][:, task])) for task in range(2)), log_y=True,
            ),
            Curves(
                "Losses, equal weights", "training step", "share of the first loss",
                tuple(Curve(f"task {task + 1}", places, array(plain[1][:, task])) for task in range(2)), log_y=True,
            ),
        ),
        (
            Fact("sum of the weights at the end", float(balanced[0][-1].sum()), 2),
            Fact("weight of task 1 at the end", float(balanced[0][-1, 0])),
            Fact("weight of task 2 at the end", float(balanced[0][-1, 1])),
            Fact("loss of task 1 over that of task 2, as shares, with GradNorm",
                 float(balanced[1][-1, 0] / balanced[1][-1, 1]), 1 if alpha >= 0.5 and lr >= 0.02 else None, 0.25),
            Fact("the same with equal weights", float(plain[1][-1, 0] / plain[1][-1, 1])),
        ),
    )  # fmt: skip


def _train(x: Tensor, answers: Tensor, sizes: Tensor, alpha: float, lr: float, balance: bool) -> tuple[Tensor, Tensor]:
    """Train one linear layer for two tasks; the task weights and the losses as shares, (TRAINED, 2) each.

    Task i asks for sizes[i] · x · answers[i], and reads sizes[i] · x · shared.
    """
    shared, weights = torch.zeros_like(answers[0]), torch.ones_like(sizes)  # (8, 4), (2,)
    history, losses = [], []
    for _ in range(TRAINED):
        wrong = x @ (shared - answers) * sizes[:, None, None]  # (2, 64, 4)
        pulls = x.T @ wrong * sizes[:, None, None] * (2 / wrong[0].numel())  # (2, 8, 4), the gradients of the losses
        losses.append(wrong.square().mean((1, 2)))  # (2,)
        history.append(weights)
        if balance:
            weights = grad_norm(weights, pulls.flatten(1).norm(dim=1), losses[-1], losses[0], alpha, lr)  # (2,)
        shared = shared - PACE * (weights[:, None, None] * pulls).sum(0)  # (8, 4)
    return torch.stack(history), torch.stack(losses) / losses[0]  # (TRAINED, 2), (TRAINED, 2)
