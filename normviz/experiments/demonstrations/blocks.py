"""Demonstrations of network blocks: QKNorm, nGPT, adaLN-Zero, norm placement, and normalizer-free blocks."""

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
from normviz.experiments.results import BarChart, Curve, Curves, Fact, Matrix, array
from normviz.normalization import (
    ada_layer_norm_zero,
    ngpt_step,
    norm_placement,
    normalizer_free_block,
    qk_norm,
    scaled_weight_standardization,
    unit_rows,
)
from normviz.registry import Knob, Range

STEPS = Knob("depth", int, 24, "number of stacked blocks.", Range(4, 48, "L"))
OPEN = Knob("opened", float, 0.5, "how far training has moved W from 0, as a share.", Range(0.0, 1.0, "t"))
KEYS = Knob("keys", int, 16, "number of keys for each query.", Range(4, 64, "L", log=True))
SAME = "On the same color scale."
FACTOR = Knob("factor", float, 4.0, "factor that multiplies queries and keys in the matrices.", Range(1.0, 8.0, "c"))


def _entropy(weights: Tensor) -> float:
    """Compute the entropy of attention weights (L, S) in bits, averaged over the queries."""
    return float(-torch.special.xlogy(weights, weights).sum(-1).mean() / math.log(2))


@demonstrates("qk_norm", KEYS, FACTOR)
def _qk_norm(generator: Generator, keys: int, factor: float) -> Demonstration:
    q, k = normal(generator, 16, 32), normal(generator, keys, 32)  # (16, 32), (keys, 32)
    one = torch.eye(keys, dtype=torch.float64)  # (keys, keys): attending to it gives the weights

    def plain(size: float) -> Tensor:
        return F.scaled_dot_product_attention(size * q, size * k, one)  # (16, keys)

    def normed(size: float) -> Tensor:
        return qk_norm(size * q, size * k, one)  # (16, keys)

    sizes = [1.0, 2.0, 4.0, 8.0]
    places, most = array(sizes), math.log2(keys)
    start = math.log2(keys**2 - keys)
    cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT  # (16, keys)
    return Demonstration(
        "When queries and keys grow, plain attention concentrates on one key; with QKNorm it does not change.",
        (
            Curves(
                "Entropy of the attention", "queries and keys multiplied by", "entropy in bits",
                (
                    Curve("with QKNorm", places, array([_entropy(normed(size)) for size in sizes])),
                    Curve("plain", places, array([_entropy(plain(size)) for size in sizes]), "compared"),
                    Curve("uniform attention", places, array([most] * 4), "expected"),
                ),
                "0 bits: each query attends to a single key. The maximum is log₂ of the number of keys.",
                log_x=True, zero=True,
            ),
            Matrix(f"Plain attention, × {factor:g}", array(plain(factor)), ("query", "key"), "before"),
            Matrix(f"With QKNorm, × {factor:g}", array(normed(factor)), ("query", "key"), "after", SAME),
        ),
        (
            Fact("entropy with QKNorm at × 8 minus at × 1, in bits", _entropy(normed(8)) - _entropy(normed(1)), 0),
            Fact("entropy of plain attention at × 1, in bits", _entropy(plain(1))),
            Fact("entropy of plain attention at × 8, in bits", _entropy(plain(8)), 0, 0.35),
            Fact("largest score of plain attention at this factor", largest(factor**2 * q @ k.mT / math.sqrt(32))),
            Fact("largest score with QKNorm, at most g", largest(start * cosines)),
            Fact("initial g, log₂(L² − L)", start),
        ),
    )  # fmt: skip


@demonstrates("ngpt_step", STEPS)
def _ngpt_step(generator: Generator, alpha: float, depth: int) -> Demonstration:
    width = 128
    h = plain = unit_rows(normal(generator, 32, width))  # (32, 128)
    start, angles, sizes, sums, kept = h, [], [1.0], [1.0], [1.0]
    for _ in range(depth):
        weight = normal(generator, width, width)  # (128, 128)
        unit = unit_rows(weight)  # (128, 128)

        def layer(x: Tensor, unit: Tensor = unit) -> Tensor:
            return F.linear(x, unit)  # (32, 128)

        after = ngpt_step(h, layer, alpha)  # (32, 128)
        angles.append(float(torch.rad2deg(F.cosine_similarity(h, after).clamp(-1, 1).acos()).mean()))
        plain = plain + alpha * F.normalize(layer(plain), dim=-1)  # (32, 128)
        h = after
        sizes.append(float(h.norm(dim=1).mean()))
        sums.append(float(plain.norm(dim=1).mean()))
        kept.append(float(F.cosine_similarity(start, h).mean()))
    theory = math.degrees(math.atan2(alpha, 1 - alpha))
    places = steps(depth + 1)
    return Demonstration(
        "Every layer rotates the tokens on the unit sphere by an angle that depends on alpha.",
        (
            Curves(
                "Angle of each step", "block", "degrees",
                (
                    Curve("measured", places[1:], array(angles)),
                    Curve("expected", places[1:], array([theory] * depth), "expected"),
                ),
                "The layers are random, so their outputs are nearly orthogonal to their inputs.", zero=True,
            ),
            Curves(
                "Length of the tokens", "block", "length",
                (Curve("nGPT", places, array(sizes)), Curve("plain sum", places, array(sums), "compared")),
                "The plain sum adds outputs of the same layers without normalizing back to length 1.",
            ),
            Curves(
                "Similarity to the first tokens", "block", "cosine with the first tokens",
                (Curve("nGPT", places, array(kept)),),
            ),
        ),
        (
            Fact("mean angle of a step, in degrees", sum(angles) / depth, theory, 0.05 * theory + 0.01),
            Fact("length of the tokens at the end", sizes[-1], 1),
            Fact("length of the plain sum at the end", sums[-1], math.sqrt(1 + depth * alpha**2), 0.2 * sums[-1]),
            Fact("largest length of a weight row before normalization", float(weight.norm(dim=1).max())),
            Fact("largest length of a weight row after normalization", float(unit.norm(dim=1).max()), 1),
        ),
    )  # fmt: skip


@demonstrates("ada_layer_norm_zero", OPEN)
def _ada_layer_norm_zero(generator: Generator, eps: float, opened: float) -> Demonstration:
    features = 16
    x = normal(generator, 1, 8, features)  # (1, 8, 16)
    conditions = normal(generator, 2, 1, 6)  # (2, 1, 6)
    weight, bias = normal(generator, 3 * features, 6), 0.2 * normal(generator, 3 * features)  # (48, 6), (48,)
    inner = normal(generator, features, features) / math.sqrt(features)  # (16, 16)

    def block(condition: Tensor, share: float) -> Tensor:
        return ada_layer_norm_zero(x, condition, share * weight, share * bias, lambda z: z @ inner.T, eps)  # (1, 8, 16)

    one, other = (block(condition, opened) for condition in conditions)  # (1, 8, 16) each
    shares = [step / 20 for step in range(21)]
    moved = [[rms(block(condition, share) - x) / rms(x) for share in shares] for condition in conditions]
    zeros = torch.zeros_like(bias).requires_grad_()  # (48,)
    at_start = ada_layer_norm_zero(x, conditions[0], torch.zeros_like(weight), zeros, lambda z: z @ inner.T, eps)
    slope = grads((at_start * normal(generator, 1, 8, features)).sum(), zeros)[0]  # (48,)
    return Demonstration(
        "At initialization the block returns its input unchanged; after training, the output depends on the condition.",
        (
            Matrix("Input", array(x[0]), ("token", "feature"), "before"),
            Matrix("Output under condition 1", array(one[0]), ("token", "feature"), "after", SAME),
            Matrix("Output under condition 2", array(other[0]), ("token", "feature"), "after"),
            Curves(
                "Change of the output relative to the input", "how far W has moved from 0", "share of the input's norm",
                tuple(Curve(f"condition {i + 1}", array(shares), array(path)) for i, path in enumerate(moved)),
            ),
        ),
        (
            Fact("change of the input at initialization, W = 0", largest(block(conditions[0], 0.0) - x), 0, 0.0),
            Fact("relative change now, condition 1", rms(one - x) / rms(x)),
            Fact("relative difference between the conditions now", rms(one - other) / rms(x)),
            Fact("gradient of the gate at initialization", float(slope[2 * features :].norm())),
            Fact("gradient of shift and scale at initialization", float(slope[: 2 * features].norm()), 0, 0.0),
        ),
    )  # fmt: skip


@demonstrates("norm_placement")
def _norm_placement(generator: Generator, before: bool, eps: float) -> Demonstration:
    x, weight = normal(generator, 512, 16).float(), normal(generator, 12, 16).float() / 4  # (512, 16), (12, 16)
    bias = normal(generator, 12).float()  # (12,)
    places = {"BN, then ReLU": True, "ReLU, then BN": False}
    outs = {name: norm_placement(x, weight, bias, place, eps) for name, place in places.items()}  # (512, 12) each
    chosen, other = sorted(places, key=lambda name: places[name] is not before)
    edges = torch.linspace(-2, 4, 31)  # (31,)
    middles = array((edges[1:] + edges[:-1]) / 2)  # (30,)
    shares = {name: array(100 * torch.histc(y, 30, -2, 4) / y.numel()) for name, y in outs.items()}  # (30,) each
    aim = normal(generator, 512, 12).float()  # (512, 12)
    leaf = bias.clone().requires_grad_()  # (12,)
    slope = grads((norm_placement(x, weight, leaf, before, eps) * aim).mean(), leaf)[0]  # (12,)
    far = bias + 100 * normal(generator, 12).float()  # (12,)
    raw = F.linear(x, weight, bias if not before else None)  # (512, 12)
    raw = raw if before else F.relu(raw)  # (512, 12), the input of the norm
    spread = raw.var(0, correction=0)  # (12,)
    normalized = norm_placement(x, weight, bias, False, eps)  # (512, 12)
    theory = float((spread / (spread + eps)).mean().sqrt())
    after = (
        Fact("root mean square of the outputs", rms(normalized), theory, 1e-4),
        Fact("mean of the outputs, worst unit", largest(normalized.mean(0)), 0, 1e-5),
    )
    first = (Fact("share of outputs that are 0", float((outs[chosen] == 0).float().mean()), 0.5, 0.03),)
    return Demonstration(
        "Before the ReLU, batch norm cancels the bias. After the ReLU, the bias has an effect.",
        (
            Curves(
                "Input of the next layer", "value", "percent of values",
                (Curve(chosen, middles, shares[chosen]), Curve(other, middles, shares[other], "compared")), step=True,
            ),
            BarChart(
                "Gradient of the bias", "unit", "gradient", tuple(str(unit + 1) for unit in range(12)),
                {chosen: array(slope)},
                caption=f"{chosen}: {'rounding errors only' if before else 'the bias is trained'}.",
            ),
        ),
        (
            Fact("root mean square change of the output when random numbers × 100 are added to the bias",
                 rms(norm_placement(x, weight, far, before, eps) - outs[chosen]), 0 if before else None, 1e-4),
            Fact("largest gradient of a bias", largest(slope), 0 if before else None, 1e-5),
            *(first if before else after),
        ),
    )  # fmt: skip


@demonstrates("normalizer_free_block", STEPS)
def _normalizer_free_block(generator: Generator, alpha: float, beta: float, depth: int) -> Demonstration:
    width = 128
    h = plain = normal(generator, 256, width)  # (256, 128)
    sizes, sums, theory = [float(h.var(0).mean())], [float(h.var(0).mean())], [1.0]
    for block in range(depth):
        weight = scaled_weight_standardization(normal(generator, width, width))  # (128, 128)

        def branch(x: Tensor, weight: Tensor = weight) -> Tensor:
            return F.linear(F.relu(x), weight)  # (256, 128)

        divisor = beta * math.sqrt(1 + block * alpha**2)  # the expected standard deviation times the knob
        h = normalizer_free_block(h, branch, alpha, divisor)  # (256, 128)
        plain = plain + branch(plain)  # (256, 128)
        sizes.append(float(h.var(0).mean()))
        sums.append(float(plain.var(0).mean()))
        theory.append(theory[-1] * (1 + (alpha / divisor) ** 2))
    places = steps(depth + 1)
    per_block, per_sum = (math.log(values[-1] / values[0]) / depth for values in (sizes, sums))
    return Demonstration(
        "Without a norm, the variance grows by a known amount, so the input can be divided by the expected value.",
        (
            Curves(
                "Variance after each block", "block", "variance",
                (Curve("measured", places, array(sizes)), Curve("expected", places, array(theory), "expected")),
                "With β = 1 each block adds α².", zero=True,
            ),
            Curves(
                "Comparison with a plain residual network", "block", "variance",
                (
                    Curve("normalizer-free", places, array(sizes)),
                    Curve("h + f(h)", places, array(sums), "compared"),
                    Curve("doubles", places, array([2.0**block for block in range(depth + 1)]), "expected"),
                ),
                "Without α and β, each block doubles the variance.", log_y=True,
            ),
        ),
        (
            Fact("variance after the last block", sizes[-1], theory[-1], 0.25 * theory[-1]),
            Fact("growth factor per block", math.exp(per_block), theory[-1] ** (1 / depth),
                 0.05 * theory[-1] ** (1 / depth)),
            Fact("growth factor per block of the plain sum", math.exp(per_sum), 2, 0.15),
        ),
    )  # fmt: skip
