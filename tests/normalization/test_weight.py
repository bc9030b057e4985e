"""Weight normalization, standardization and spectral normalization: references, PyTorch, identities, sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from normviz.normalization.methods.weight import (
    RELU_GAIN,
    scaled_weight_standardization,
    spectral_norm,
    weight_norm,
    weight_standardization,
)
from normviz.registry import get
from tests.reference.normalization import weight as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(4, 6), (6, 4), (5, 3, 2, 2)]


def _same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def _sigma(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.flatten(1), ord=2))


# --- references and oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape: tuple[int, ...]) -> None:
    weight, g, u = random(*shape) + 0.3, random(shape[0], seed=1), F.normalize(random(shape[0], seed=2), dim=0)
    for given in (None, g):
        _same(weight_norm(weight, given), reference.weight_norm(weight, given))
    for eps in (1e-5, 0.5):
        _same(weight_standardization(weight, eps), reference.weight_standardization(weight, eps))
        for gain in (RELU_GAIN, 1.0):
            actual = scaled_weight_standardization(0.1 * weight, gain, eps)
            _same(actual, reference.scaled_weight_standardization(0.1 * weight, gain, eps))
    for start in (None, u):
        for steps in (1, 3):
            _same(spectral_norm(weight, start, steps), reference.spectral_norm(weight, start, steps))


@pytest.mark.parametrize("shape", SHAPES)
def test_weight_norm_is_pytorchs(shape: tuple[int, ...]) -> None:
    outs, ins, *window = shape
    module: nn.Linear | nn.Conv2d = nn.Conv2d(ins, outs, window[0]) if window else nn.Linear(ins, outs)
    module.double()
    before = module.weight.detach().clone()
    parametrizations.weight_norm(module, "weight")
    own: dict[str, Tensor] = dict(module.named_parameters())
    g, v = own["parametrizations.weight.original0"], own["parametrizations.weight.original1"]
    _same(weight_norm(v, g.flatten()), module.weight)
    _same(weight_norm(before, before.flatten(1).norm(dim=1)), before)  # its start leaves the layer as it was


@pytest.mark.parametrize("shape", SHAPES)
def test_converged_spectral_norm_is_the_largest_singular_value(shape: tuple[int, ...]) -> None:
    weight = random(*shape)
    divided, u = spectral_norm(weight, steps=2000)
    _same(divided, weight / _sigma(weight))
    assert _sigma(divided) == pytest.approx(1, abs=1e-10)
    left = torch.linalg.svd(weight.flatten(1)).U[:, 0]
    assert float(u @ left) ** 2 == pytest.approx(1, abs=1e-9)


def test_converged_spectral_norm_is_pytorchs() -> None:
    module = nn.Linear(6, 4).double()
    weight = module.weight.detach().clone()
    torch.manual_seed(0)
    parametrizations.spectral_norm(module, "weight", n_power_iterations=500)
    _same(spectral_norm(weight, steps=500)[0], module.weight.detach())


def test_weight_standardization_is_layer_norm_of_each_filter() -> None:
    weight = random(5, 3, 2, 2)
    _same(weight_standardization(weight, 0.5), F.layer_norm(weight, (3, 2, 2), eps=0.5))
    _same(
        weight_standardization(weight, 1e-12) * RELU_GAIN / math.sqrt(12),
        scaled_weight_standardization(weight, RELU_GAIN),
    )


EXPRESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("weight_norm", {"v": random(4, 6), "g": random(4, seed=1)}),
    ("weight_standardization", {"weight": random(5, 3, 2, 2), "eps": 0.5}),
    ("scaled_weight_standardization", {"weight": random(5, 3, 2, 2), "gain": 1.3}),
    ("spectral_norm", {"weight": random(4, 6), "u": F.normalize(random(4, seed=1), dim=0)}),
]


@pytest.mark.parametrize(("name", "arguments"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_the_expression_in_pytorch_is_the_function(name: str, arguments: dict[str, Any]) -> None:
    method = get(name, "normalization")
    expected = eval(method.torch, {"torch": torch, "F": F, "nn": nn, "math": math}, arguments)
    _same(method.function(**arguments), expected)
    assert len(method.torch) <= 160


# --- identities ---------------------------------------------------------------------------------------------------


def test_the_rows_have_what_they_should() -> None:
    weight, g = random(5, 3, 2, 2) * 3 + 1, random(5, seed=1).exp()
    _same(weight_norm(weight, g).flatten(1).norm(dim=1), g)
    zeros, ones = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    standard = weight_standardization(weight, 1e-12).flatten(1)
    _same(standard.mean(1), zeros)
    _same(standard.var(1, correction=0), ones)
    scaled = scaled_weight_standardization(weight, 1.3).flatten(1)
    _same(scaled.mean(1), zeros)
    _same(scaled.norm(dim=1), 1.3 * ones)


def test_what_does_not_change_the_result() -> None:
    weight, row = random(4, 6), random(4, seed=1).exp()[:, None]
    for function in (weight_norm, lambda w: weight_standardization(w, 1e-12), scaled_weight_standardization):
        _same(function(3 * weight), function(weight))
        _same(function(row * weight), function(weight))
    _same(weight_standardization(weight + 2), weight_standardization(weight))
    _same(spectral_norm(3 * weight)[0], spectral_norm(weight)[0])
    assert (spectral_norm(row * weight, steps=99)[0] - spectral_norm(weight, steps=99)[0]).abs().max() > 0.1


def test_the_gain_makes_up_for_a_relu() -> None:
    x, weight = random(5000, 64), random(64, 64, seed=1)
    for gain, activation in ((1.0, lambda z: z), (RELU_GAIN, F.relu)):
        y = activation(x) @ scaled_weight_standardization(weight, gain).T
        assert float(y.var()) == pytest.approx(1, rel=0.05)
    assert pytest.approx(1.7129, abs=1e-4) == RELU_GAIN


@pytest.mark.parametrize(
    ("rows", "sigma"), [([[1.0, 10.0], [0.0, 1.0]], math.sqrt(51 + math.sqrt(2600))), ([[0.0, 1.0], [0.0, 0.0]], 1.0)]
)
def test_sigma_of_a_shear_and_of_a_nilpotent_matrix(rows: list[list[float]], sigma: float) -> None:
    """Their eigenvalues are 1 and 0: a power iteration on W instead of on its transpose times W would end there."""
    weight = torch.tensor(rows, dtype=torch.float64)
    divided, _ = spectral_norm(weight, steps=20)
    _same(divided, weight / sigma)


def test_u_carries_the_estimate_from_call_to_call() -> None:
    weight = random(8, 12)
    u: Tensor | None = None
    for _ in range(6):
        once, u = spectral_norm(weight, u)
    _same((once, u), spectral_norm(weight, steps=6))
    estimate = [float((weight / spectral_norm(weight, steps=k)[0]).mean()) for k in (1, 2, 4, 8, 200)]
    assert estimate == sorted(estimate) and estimate[-1] == pytest.approx(_sigma(weight))  # from below


def test_a_convolution_may_stretch_more_than_its_reshaped_weight() -> None:
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    divided, _ = spectral_norm(weight, steps=5)
    assert _sigma(divided) == pytest.approx(1)
    x = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    assert float(F.conv2d(x, divided, padding=1).norm() / x.norm()) > 2.5  # up to 3


def test_nothing_given_is_written() -> None:
    weight, g, u = random(4, 6), random(4, seed=1), random(4, seed=2)
    copies = weight.clone(), g.clone(), u.clone()
    weight_norm(weight, g)
    weight_standardization(weight)
    scaled_weight_standardization(weight)
    spectral_norm(weight, u, 3)
    assert all(identical(a, b) for a, b in zip((weight, g, u), copies, strict=True))


def test_gradients() -> None:
    weight, g = random(4, 6).requires_grad_(), random(4, seed=1).requires_grad_()
    check: Callable[..., bool] = torch.autograd.gradcheck
    assert check(weight_norm, (weight, g))
    assert check(weight_standardization, (weight,)) and check(scaled_weight_standardization, (weight,))
    converged = spectral_norm(weight.detach(), steps=500)[1]
    aim = random(4, 6, seed=3)
    (ours,) = torch.autograd.grad((spectral_norm(weight, converged)[0] * aim).sum(), weight)
    divided = weight / torch.linalg.matrix_norm(weight, ord=2)
    _same(ours, torch.autograd.grad((divided * aim).sum(), weight)[0])


# --- sentences ----------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: weight_norm(torch.ones(3)), r"weight_norm needs a weight of at least 2 axes, \(out, in\); received shape"),
    (
        lambda: weight_norm(torch.ones(2, 3), torch.ones(3)),
        r"weight_norm needs g of shape \(2,\) here; received \(3,\)",
    ),
    (lambda: weight_norm(torch.eye(3)[:2] * torch.tensor([1.0, 0, 0])), "row 1 is all zeros"),
    (lambda: weight_standardization(torch.ones(2, 3).long()), "floating-point weights; received torch.int64"),
    (
        lambda: scaled_weight_standardization(torch.ones(2, 0)),
        r"at least one weight; received the empty shape \(2, 0\)",
    ),
    (lambda: spectral_norm(torch.ones(2, 3), torch.ones(3)), r"spectral_norm needs u of shape \(2,\) here"),
    (lambda: spectral_norm(torch.ones(2, 3), steps=0), "at least one power iteration; received 0"),
    (lambda: spectral_norm(torch.zeros(2, 3)), "sigma above 0; received 0: the weight is all zeros, or u is"),
    (lambda: spectral_norm(torch.eye(2)[:1].expand(2, 2), torch.tensor([1.0, -1.0])), "start with u=None"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
