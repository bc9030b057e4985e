"""Demonstrations of stacked blocks: post-LN, pre-LN, sandwich norm and DeepNorm on the same random weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Generator, Tensor

from normviz.experiments.demonstrations.demonstration import Demonstration, demonstrates, grads, normal, rms, steps
from normviz.experiments.results import Curve, Curves, Fact, Kind, array
from normviz.normalization import deep_norm, post_norm, pre_norm, sandwich_norm
from normviz.registry import Knob, Range

WIDTH, TOKENS = 32, 128
SMALL_EPS = 1e-3  # the theory holds only up to this epsilon
DEPTH = Knob("depth", int, 16, "number of stacked blocks; a transformer layer has two.", Range(4, 32, "L"))
SHORT = {"post_norm": "post-LN", "pre_norm": "pre-LN", "sandwich_norm": "sandwich", "deep_norm": "DeepNorm"}

Layer = Callable[[Tensor], Tensor]
Weights = tuple[Tensor, Tensor]  # weights of a layer: (128, 32), (32, 128)


@dataclass(frozen=True)
class Run:
    """One stack: root mean square of the input and after each block, and the gradient norm of each block."""

    size: list[float]
    gradient: list[float]


def _layer(weights: Weights) -> Layer:
    return lambda x: F.linear(F.relu(F.linear(x, weights[0])), weights[1])


def _run(x: Tensor, aim: Tensor, block: Callable[[Tensor, Layer], Tensor], layers: list[Weights], last: bool) -> Run:
    """Run a stack of blocks, with a norm at the end if `last` is true."""
    trained = [(first, second.clone().requires_grad_()) for first, second in layers]
    h, sizes = x, [rms(x)]  # (TOKENS, WIDTH)
    for weights in trained:
        h = block(h, _layer(weights))  # (TOKENS, WIDTH)
        sizes.append(rms(h))
    out = F.layer_norm(h, (WIDTH,)) if last else h  # (TOKENS, WIDTH)
    slopes = grads((out * aim).sum() / TOKENS, [second for _, second in trained])  # (32, 128) each
    return Run(sizes, [float(slope.norm()) for slope in slopes])


def _runs(generator: Generator, depth: int, eps: float, alpha: float) -> tuple[dict[str, Run], float]:
    """Run all four kinds of stack; also return the mean square of the first pre-LN branch."""
    x, aim = normal(generator, TOKENS, WIDTH), normal(generator, TOKENS, WIDTH)  # (TOKENS, WIDTH) each
    start = math.sqrt(2 / (5 * WIDTH))  # Xavier
    drawn = [
        (normal(generator, 4 * WIDTH, WIDTH) * start, normal(generator, WIDTH, 4 * WIDTH) * start) for _ in range(depth)
    ]
    smaller = (4 * depth) ** -0.25  # (8N)^(-1/4): initialization of DeepNorm with N = depth / 2 layers
    small = [(smaller * first, smaller * second) for first, second in drawn]
    runs = {
        "post_norm": _run(x, aim, lambda h, f: post_norm(h, f, eps=eps), drawn, last=False),
        "pre_norm": _run(x, aim, lambda h, f: pre_norm(h, f, eps=eps), drawn, last=True),
        "sandwich_norm": _run(x, aim, lambda h, f: sandwich_norm(h, f, eps=eps), drawn, last=True),
        "deep_norm": _run(x, aim, lambda h, f: deep_norm(h, f, alpha, eps=eps), small, last=False),
    }
    return runs, rms(_layer(drawn[0])(F.layer_norm(x, (WIDTH,)))) ** 2


def _demonstration(
    name: str, title: str, generator: Generator, depth: int, eps: float, alpha: float, grows: Callable[[float], float]
) -> Demonstration:
    """Compare one kind of stack with the others.

    `grows` maps the mean square of a pre-LN branch to the amount that one block adds to the mean square.
    """
    runs, added = _runs(generator, depth, eps, alpha)
    own, order = runs[name], [name, *(other for other in runs if other != name)]
    kinds: dict[str, Kind] = {other: "measured" if other == name else "compared" for other in order}
    theory = [math.sqrt(1 + block * grows(added)) for block in range(depth + 1)]
    known = eps <= SMALL_EPS
    expected = (Curve("expected", steps(depth + 1), array(theory), "expected"),) if known else ()
    post, pre = (runs[kind].gradient[-1] for kind in ("post_norm", "pre_norm"))
    ratio = math.sqrt((1 + depth * added) / (1 + added))
    return Demonstration(
        title,
        (
            Curves(
                "Gradient of each block's weights", "block", "length of the gradient",
                tuple(Curve(SHORT[k], steps(depth, 1), array(runs[k].gradient), kinds[k]) for k in order),
                "At initialization, with the same random numbers for all.", log_y=True,
            ),
            Curves(
                "Activations after each block", "block", "root mean square",
                tuple(Curve(SHORT[k], steps(depth + 1), array(runs[k].size), kinds[k]) for k in order) + expected,
                zero=True,
            ),
        ),
        (
            Fact("root mean square after the last block", own.size[-1], theory[-1] if known else None,
                 0.2 * theory[-1]),
            Fact("gradient of the first block divided by that of the last", own.gradient[0] / own.gradient[-1]),
            Fact("gradient of the last block, post-LN / pre-LN; grows with the square root of the depth",
                 post / pre, ratio if known else None, 0.35 * ratio),
            Fact("alpha of DeepNorm at this depth", depth**0.25),
        ),
    )  # fmt: skip


@demonstrates("post_norm", DEPTH)
def _post_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "The norm after the sum keeps the scale of the activations, but the last blocks get large gradients."
    return _demonstration("post_norm", title, generator, depth, eps, depth**0.25, lambda added: 0.0)


@demonstrates("pre_norm", DEPTH)
def _pre_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "The sum grows with the depth, so the gradients of the last blocks shrink."
    return _demonstration("pre_norm", title, generator, depth, eps, depth**0.25, lambda added: added)


@demonstrates("sandwich_norm", DEPTH)
def _sandwich_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "Every block adds one unit of variance, independent of its weights."
    return _demonstration("sandwich_norm", title, generator, depth, eps, depth**0.25, lambda added: 1.0)


@demonstrates("deep_norm", DEPTH)
def _deep_norm(generator: Generator, alpha: float, eps: float, depth: int) -> Demonstration:
    title = "The input gets a larger weight than the layer output, so all blocks get gradients of similar size."
    return _demonstration("deep_norm", title, generator, depth, eps, alpha, lambda added: 0.0)
