"""Stacks of blocks live: the norm behind, in front of or around each layer, all four on the same numbers."""

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
SMALL_EPS = 1e-3  # above it, what theory says of a stack no longer holds
DEPTH = Knob("depth", int, 16, "how many blocks are stacked; a transformer layer has two.", Range(4, 32, "L"))
SHORT = {"post_norm": "post-LN", "pre_norm": "pre-LN", "sandwich_norm": "sandwich", "deep_norm": "DeepNorm"}

Layer = Callable[[Tensor], Tensor]
Weights = tuple[Tensor, Tensor]  # of a layer: (128, 32), (32, 128)


@dataclass(frozen=True)
class Run:
    """One stack: the root mean square in front of it and behind each block, and each block's gradient's length."""

    size: list[float]
    gradient: list[float]


def _layer(weights: Weights) -> Layer:
    return lambda x: F.linear(F.relu(F.linear(x, weights[0])), weights[1])


def _run(x: Tensor, aim: Tensor, block: Callable[[Tensor, Layer], Tensor], layers: list[Weights], last: bool) -> Run:
    """A stack of blocks, and a norm behind it where `last` asks for one."""
    trained = [(first, second.clone().requires_grad_()) for first, second in layers]
    h, sizes = x, [rms(x)]  # (TOKENS, WIDTH)
    for weights in trained:
        h = block(h, _layer(weights))  # (TOKENS, WIDTH)
        sizes.append(rms(h))
    out = F.layer_norm(h, (WIDTH,)) if last else h  # (TOKENS, WIDTH)
    slopes = grads((out * aim).sum() / TOKENS, [second for _, second in trained])  # (32, 128) each
    return Run(sizes, [float(slope.norm()) for slope in slopes])


def _runs(generator: Generator, depth: int, eps: float, alpha: float) -> tuple[dict[str, Run], float]:
    """All four kinds of stack, and the mean square of what the first layer adds under pre-LN."""
    x, aim = normal(generator, TOKENS, WIDTH), normal(generator, TOKENS, WIDTH)  # (TOKENS, WIDTH) each
    start = math.sqrt(2 / (5 * WIDTH))  # Xavier
    drawn = [
        (normal(generator, 4 * WIDTH, WIDTH) * start, normal(generator, WIDTH, 4 * WIDTH) * start) for _ in range(depth)
    ]
    smaller = (4 * depth) ** -0.25  # (8N)^(-1/4): the start of DeepNorm with N = depth / 2 layers
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
    """One kind of stack beside the others; `grows` makes of what a layer adds what a block adds to the mean square."""
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
                "At the start of training, all on the same numbers.", log_y=True,
            ),
            Curves(
                "Size of the activations behind each block", "block", "root mean square",
                tuple(Curve(SHORT[k], steps(depth + 1), array(runs[k].size), kinds[k]) for k in order) + expected,
                zero=True,
            ),
        ),
        (
            Fact("root mean square behind the last block", own.size[-1], theory[-1] if known else None,
                 0.2 * theory[-1]),
            Fact("gradient of the first block over that of the last", own.gradient[0] / own.gradient[-1]),
            Fact("gradient of the last block, post-LN over pre-LN: it grows as the root of the depth",
                 post / pre, ratio if known else None, 0.35 * ratio),
            Fact("alpha that DeepNorm asks for at this depth", depth**0.25),
        ),
    )  # fmt: skip


@demonstrates("post_norm", DEPTH)
def _post_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "The norm behind the sum keeps the activations in size, but the last blocks get large gradients."
    return _demonstration("post_norm", title, generator, depth, eps, depth**0.25, lambda added: 0.0)


@demonstrates("pre_norm", DEPTH)
def _pre_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "The plain sum grows with the depth, and the gradients of the last blocks shrink with it."
    return _demonstration("pre_norm", title, generator, depth, eps, depth**0.25, lambda added: added)


@demonstrates("sandwich_norm", DEPTH)
def _sandwich_norm(generator: Generator, eps: float, depth: int) -> Demonstration:
    title = "Every block adds one unit of variance, whatever its weights."
    return _demonstration("sandwich_norm", title, generator, depth, eps, depth**0.25, lambda added: 1.0)


@demonstrates("deep_norm", DEPTH)
def _deep_norm(generator: Generator, alpha: float, eps: float, depth: int) -> Demonstration:
    title = "The input weighs more than what a layer adds, so that all blocks get gradients of one size."
    return _demonstration("deep_norm", title, generator, depth, eps, alpha, lambda added: 0.0)
