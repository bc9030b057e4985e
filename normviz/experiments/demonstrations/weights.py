"""Demonstrations of weight normalization: the weights before and after, and the guaranteed properties."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from normviz.experiments.demonstrations.demonstration import Demonstration, demonstrates, grads, largest, normal, steps
from normviz.experiments.results import BarChart, Curve, Curves, Fact, Kind, Matrix, array
from normviz.normalization import scaled_weight_standardization, spectral_norm, weight_norm, weight_standardization
from normviz.normalization.methods.weight import RELU_GAIN
from normviz.registry import Knob, Range

ROWS = tuple(str(row) for row in range(1, 9))
LENGTH = Knob("length", float, 1.0, "length g of every row.", Range(0.1, 5.0, "g"))
SMALLER = 0.6  # scale relative to He initialization; the norm removes it
DEPTH = Knob("depth", int, 16, "number of stacked layers.", Range(2, 24, "L"))


def _pair(before: Tensor, after: Tensor, rows: str = "output", columns: str = "input") -> tuple[Matrix, Matrix]:
    """Return a weight before and after, as matrices with one row per output."""
    return (
        Matrix("Weights before", array(before.flatten(1)), (rows, columns), "before"),
        Matrix("Weights after", array(after.flatten(1)), (rows, columns), "after", "On the same color scale."),
    )


@demonstrates("weight_norm", LENGTH)
def _weight_norm(generator: Generator, length: float) -> Demonstration:
    v = normal(generator, 8, 16) * torch.logspace(-0.5, 0.5, 8, dtype=torch.float64)[:, None]  # (8, 16)
    g = torch.full((8,), length, dtype=torch.float64)  # (8,)
    x, aim = normal(generator, 64, 16), normal(generator, 64, 8)  # (64, 16), (64, 8)

    def slope(scaled: Tensor) -> Tensor:
        leaf = scaled.clone().requires_grad_()  # (8, 16)
        return grads(F.mse_loss(F.linear(x, weight_norm(leaf, g)), aim), leaf)[0]  # (8, 16)

    scales = [0.25, 0.5, 1.0, 2.0, 4.0]
    sizes = [float(slope(scale * v).norm()) for scale in scales]
    after, gradient = weight_norm(v, g), slope(v)  # (8, 16), (8, 16)
    lengths = [float(v[row].norm()) for row in (0, -1)]
    return Demonstration(
        "Every row keeps its direction and gets the length g.",
        (
            *_pair(v, after),
            BarChart(
                "Lengths of the rows", "row", "length", ROWS,
                {"before": array(v.norm(dim=1)), "after": array(after.norm(dim=1))}, array(g),
            ),
            Curves(
                "Gradient with respect to v when v is scaled", "v multiplied by", "length of the gradient",
                (
                    Curve("measured", array(scales), array(sizes)),
                    Curve("1 / scale", array(scales), array([sizes[2] / scale for scale in scales]), "expected"),
                ),
                "The longer v is, the smaller its gradient, so long vectors change direction slowly.",
                log_x=True, log_y=True,
            ),
        ),
        (
            Fact("length of the first row, before", lengths[0]),
            Fact("length of the last row, before", lengths[1]),
            Fact("largest difference between a row length after and g", largest(after.norm(dim=1) - g), 0),
            Fact("change of the weights when v is doubled", largest(weight_norm(2 * v, g) - after), 0),
            Fact("largest absolute cosine between a row of v and its gradient",
                 largest(F.cosine_similarity(v, gradient, dim=1)), 0),
            Fact("gradient at v × 4 divided by gradient at v", sizes[4] / sizes[2], 1 / 4),
        ),
    )  # fmt: skip


@demonstrates("weight_standardization")
def _weight_standardization(generator: Generator, eps: float) -> Demonstration:
    size, center = torch.logspace(-1.5, 0.3, 8, dtype=torch.float64), normal(generator, 8) * 0.5  # (8,), (8,)
    weight = normal(generator, 8, 2, 3, 3) * size[:, None, None, None] + center[:, None, None, None]  # (8, 2, 3, 3)
    after = weight_standardization(weight, eps)  # (8, 2, 3, 3)
    x = normal(generator, 2, 2, 8, 8)  # (2, 2, 8, 8)
    old, new = weight.flatten(1), after.flatten(1)  # (8, 18), (8, 18)
    deviation, expected = new.std(1, correction=0), (old.var(1, correction=0) / (old.var(1, correction=0) + eps)).sqrt()
    shifted = largest(F.conv2d(x + 5, after) - F.conv2d(x, after))
    return Demonstration(
        "Every filter gets a mean of 0 and a standard deviation of 1.",
        (
            *_pair(weight, after, "filter", "weight"),
            BarChart(
                "Means of the filters", "filter", "mean", ROWS,
                {"before": array(old.mean(1)), "after": array(new.mean(1))},
            ),
            BarChart(
                "Standard deviations of the filters", "filter", "standard deviation", ROWS,
                {"before": array(old.std(1, correction=0)), "after": array(deviation)}, array(expected),
                "The gray line is √(V / (V + ε)): if ε is large, filters with small weights stay small.",
            ),
        ),
        (
            Fact("largest absolute mean of a filter after", largest(new.mean(1)), 0),
            Fact("standard deviation of filter 1, after", float(deviation[0]), float(expected[0])),
            Fact("standard deviation of filter 8, after", float(deviation[7]), float(expected[7])),
            Fact("change of the output when 5 is added to every pixel", shifted, 0),
            Fact("the same change without weight standardization",
                 largest(F.conv2d(x + 5, weight) - F.conv2d(x, weight))),
        ),
    )  # fmt: skip


@demonstrates("scaled_weight_standardization", DEPTH)
def _scaled_weight_standardization(generator: Generator, gain: float, eps: float, depth: int) -> Demonstration:
    width, samples = 128, 256
    ours = theirs = normal(generator, samples, width)  # (256, 128)
    variances: dict[str, list[float]] = {"standardized": [1.0], "He initialization": [1.0], "expected": [1.0]}
    drawn = [normal(generator, width, width) * math.sqrt(2 / width) for _ in range(depth)]  # (128, 128) each
    for weight in drawn:
        ours = F.linear(F.relu(ours), scaled_weight_standardization(SMALLER * weight, gain, eps))  # (256, 128)
        theirs = F.linear(F.relu(theirs), weight)  # (256, 128)
        squares = (SMALLER * weight).var(1, correction=0) * width  # (128,)
        share = float((squares / squares.clamp_min(eps)).mean())  # 1 unless eps has an effect
        variances["standardized"].append(float(ours.var(0).mean()))
        variances["He initialization"].append(float(theirs.var(0).mean()))
        variances["expected"].append(variances["expected"][-1] * share * (gain / RELU_GAIN) ** 2)
    factor = {name: values[-1] ** (1 / depth) for name, values in variances.items()}
    after = scaled_weight_standardization(SMALLER * drawn[0], gain, eps)  # (128, 128)
    kinds: dict[str, Kind] = {"standardized": "measured", "He initialization": "compared", "expected": "expected"}
    relu = F.relu(normal(generator, 10**5))  # (100000,)
    places = steps(depth + 1)
    return Demonstration(
        "Without normalizing activations, their variance stays constant over the layers.",
        (
            Curves(
                "Variance over the samples", "layer", "variance",
                tuple(Curve(name, places, array(values), kinds[name]) for name, values in variances.items()),
                "A plain network of ReLU layers at initialization. He initialization keeps the mean square, "
                "but the samples become similar.",
                log_y=True,
            ),
            *_pair(SMALLER * drawn[0][:8, :16], after[:8, :16]),
        ),
        (
            Fact("growth factor of the variance per layer", factor["standardized"], factor["expected"],
                 0.06 * factor["expected"]),
            Fact("the same with He initialization", factor["He initialization"]),
            Fact("largest absolute mean of a row after", largest(after.mean(1)), 0),
            Fact("gain that compensates a ReLU, from 100,000 numbers", 1 / float(relu.std()), RELU_GAIN, 0.02),
        ),
    )  # fmt: skip


@demonstrates("spectral_norm")
def _spectral_norm(generator: Generator, steps: int) -> Demonstration:
    weight = normal(generator, 24, 32)  # (24, 32)
    sigma = float(torch.linalg.matrix_norm(weight, ord=2))
    after, _ = spectral_norm(weight, steps=steps)  # (24, 32)
    before, u = weight - 0.02 * math.sqrt(20) * normal(generator, 24, 32), None  # (24, 32)
    for share in range(20):  # as in training: the weight changes a little in each step, and u is kept
        _, u = spectral_norm(torch.lerp(before, weight, share / 20), u, steps)
    cold, warm = (
        [_estimate(weight, spectral_norm(weight, start, k)[0]) / sigma for k in range(1, 13)] for start in (None, u)
    )
    places = torch.arange(1, 13)
    values = torch.linalg.svdvals(weight), torch.linalg.svdvals(after)  # (24,), (24,)
    shear, nilpotent = torch.tensor([[1.0, 10.0], [0.0, 1.0]]).double(), torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    bound = math.prod(_largest(spectral_norm(normal(generator, 24, 24), steps=500)[0]) for _ in range(6))
    return Demonstration(
        "A matrix divided by its largest singular value stretches no vector by more than 1.",
        (
            Curves(
                "Estimate of σ", "power step", "share of the true σ",
                (
                    Curve("cold start", array(places), array(cold)),
                    Curve("warm start", array(places), array(warm), "compared"),
                    Curve("true σ", array(places), array(torch.ones(12)), "expected"),
                ),
                f"Cold: a random u. Warm: u after 20 training steps with {steps} power "
                f"step{'s' if steps > 1 else ''} each, while the weights changed.",
            ),
            Curves(
                "Singular values", "number", "singular value",
                (
                    Curve("before", array(torch.arange(1, 25)), array(values[0])),
                    Curve("after", array(torch.arange(1, 25)), array(values[1])),
                ),
                "All are divided by the same number; after few cold power steps the largest stays above 1.",
            ),
            *_pair(weight[:8, :16], after[:8, :16]),
        ),
        (
            Fact(f"estimate divided by the true σ, cold, power steps: {steps}", _estimate(weight, after) / sigma),
            Fact("estimate divided by the true σ, warm, power steps: 1", warm[0], 1, 0.05),
            Fact("largest singular value after 500 steps", _largest(spectral_norm(weight, steps=500)[0]), 1, 1e-3),
            Fact("upper bound of the stretch of six layers together", bound, 1, 6e-3),
            Fact("σ of the shear [[1, 10], [0, 1]]; its eigenvalues are 1",
                 _estimate(shear, spectral_norm(shear, steps=20)[0]), 5 + math.sqrt(26)),
            Fact("σ of [[0, 1], [0, 0]]; its eigenvalues are 0", _estimate(nilpotent, spectral_norm(nilpotent)[0]), 1),
        ),
    )  # fmt: skip


def _estimate(weight: Tensor, divided: Tensor) -> float:
    """Compute the number by which a weight was divided."""
    return float(weight.norm() / divided.norm())


def _largest(weight: Tensor) -> float:
    """Compute the largest singular value."""
    return float(torch.linalg.matrix_norm(weight, ord=2))
