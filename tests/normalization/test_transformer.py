"""ScaleNorm, FixNorm, dynamic tanh, query-key normalization and nGPT: references, oracles, identities, sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.normalization.methods.transformer import dynamic_tanh, fix_norm, ngpt_step, qk_norm, scale_norm, unit_rows
from normviz.registry import get
from tests.reference.normalization import transformer as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(4, 6), (2, 3, 6), (2, 6, 3, 4), (2, 6, 2, 3, 2)]
W = random(6, 6, seed=9)
TOKENS = torch.ones(2, 3)


def layer(x: Tensor) -> Tensor:
    return torch.tanh(x @ W.to(x.dtype)) + 0.1 * x


def _same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


# --- references and oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("eps", [1e-5, 0.5, 3.0])
def test_tokens_agree_with_the_reference_and_with_normalize(shape: tuple[int, ...], eps: float) -> None:
    x, g = random(*shape) * 0.7, torch.tensor(1.7, dtype=torch.float64)
    for name in ("scale_norm", "fix_norm"):
        function = get(name, "normalization").function
        for given in (None, g):
            _same(function(x, given, eps=eps), getattr(reference, name)(x, given, eps=eps))
        _same(function(x, g, eps=eps), g * F.normalize(x, dim=-1, eps=eps))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [0.01, 0.5, 4.0])
def test_dynamic_tanh_agrees_with_the_reference_and_with_tanh(shape: tuple[int, ...], alpha: float) -> None:
    x, weight, bias = random(*shape) * 3, random(6, seed=1), random(6, seed=2)
    for w, b in ((None, None), (weight, None), (None, bias), (weight, bias)):
        _same(dynamic_tanh(x, w, b, alpha), reference.dynamic_tanh(x, w, b, alpha))
    _same(dynamic_tanh(x, alpha=alpha), torch.tanh(alpha * x))
    layers = dynamic_tanh(x.float(), weight.float(), bias.float(), alpha)
    torch.testing.assert_close(layers.double(), dynamic_tanh(x, weight, bias, alpha), rtol=0, atol=3e-6)


@pytest.mark.parametrize("g", [None, 0.5, 20.0])
def test_qk_norm_agrees_with_the_reference_and_with_attention(g: float | None) -> None:
    q, k, v = random(2, 3, 4, 6), random(2, 3, 5, 6, seed=1), random(2, 3, 5, 2, seed=2)
    gain = None if g is None else torch.tensor(g, dtype=torch.float64)
    actual = qk_norm(q, k, v, gain)
    _same(actual, reference.qk_norm(q, k, v, gain))
    scores = (math.log2(5**2 - 5) if g is None else g) * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    _same(actual, scores.softmax(-1) @ v)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 1.0])
def test_ngpt_agrees_with_the_reference(alpha: float) -> None:
    for shape in SHAPES[:2]:
        h = unit_rows(random(*shape))
        _same(ngpt_step(h, layer, alpha), reference.ngpt_step(h, layer, alpha))


def test_bfloat16_is_right_to_its_own_precision() -> None:
    x = (random(4, 6) * 3).bfloat16()
    for function, slow in (
        (scale_norm, reference.scale_norm), (fix_norm, reference.fix_norm), (dynamic_tanh, reference.dynamic_tanh),
    ):  # fmt: skip
        y = function(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.double(), slow(x), rtol=0.01, atol=1e-6)


EXPRESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("scale_norm", {"x": random(2, 3, 6), "g": torch.tensor(1.7), "eps": 0.5}),
    ("fix_norm", {"x": random(2, 3, 6), "g": torch.tensor(1.7), "eps": 0.5}),
    ("dynamic_tanh", {"x": random(2, 6, 3, 4), "weight": random(6), "bias": random(6), "alpha": 0.7}),
    ("qk_norm", {"q": random(2, 4, 6), "k": random(2, 5, 6), "v": random(2, 5, 3), "g": torch.tensor(1.7)}),
    ("ngpt_step", {"h": random(2, 6), "f": layer, "alpha": 0.3}),
]


@pytest.mark.parametrize(("name", "arguments"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_the_expression_in_pytorch_is_the_function(name: str, arguments: dict[str, Any]) -> None:
    method = get(name, "normalization")
    expected = eval(method.torch, {"torch": torch, "F": F, "nn": nn, "math": math}, arguments)
    _same(method.function(**arguments), expected)
    assert len(method.torch) <= 160


# --- identities ---------------------------------------------------------------------------------------------------


def test_scale_norm_makes_every_token_root_d_long_and_fix_norm_one() -> None:
    x = random(2, 3, 16) * 7 + 2
    _same(scale_norm(x).norm(dim=-1), torch.full((2, 3), 4.0, dtype=torch.float64))
    _same(fix_norm(x).norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    _same(scale_norm(3 * x), scale_norm(x))


def test_a_token_of_zeros_stays_zero() -> None:
    for function in (scale_norm, fix_norm):
        assert identical(function(torch.zeros(2, 6)), torch.zeros(2, 6))


def test_dynamic_tanh_ends_at_gamma_and_is_steep_at_zero() -> None:
    weight, bias = torch.tensor([2.0, -3.0]), torch.tensor([0.5, 0.0])
    far = dynamic_tanh(torch.tensor([[1e30, 1e30], [-1e30, -1e30]]), weight, bias)
    assert far.flatten().tolist() == pytest.approx([2.5, -3.0, -1.5, 3.0])
    x = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(dynamic_tanh(x, alpha=0.7).sum(), x)
    _same(slope, torch.full((1, 2), 0.7, dtype=torch.float64))


def test_qk_norm_does_not_see_how_long_queries_and_keys_are() -> None:
    q, k, v = random(2, 4, 6), random(2, 4, 6, seed=1), random(2, 4, 6, seed=2)
    _same(qk_norm(8 * q, 0.1 * k, v), qk_norm(q, k, v))
    plain = F.scaled_dot_product_attention(8 * q, k, v) - F.scaled_dot_product_attention(q, k, v)
    assert plain.abs().max() > 0.1


def test_a_gain_of_zero_attends_to_all_keys_alike() -> None:
    q, k, v = random(3, 6), random(4, 6, seed=1), random(4, 2, seed=2)
    _same(qk_norm(q, k, v, torch.zeros((), dtype=torch.float64)), v.mean(0).expand(3, 2))


def test_ngpt_stays_on_the_sphere_and_moves_from_here_to_the_answer() -> None:
    h = unit_rows(random(5, 6))
    _same(ngpt_step(h, layer, 0.0), h)
    _same(ngpt_step(h, layer, 1.0), F.normalize(layer(h), dim=-1))
    turned = [F.cosine_similarity(ngpt_step(h, layer, alpha), h, dim=-1).mean().item() for alpha in (0.05, 0.2, 0.6)]
    assert 1 > turned[0] > turned[1] > turned[2]
    _same(ngpt_step(h, layer, 0.4).norm(dim=-1), torch.ones(5, dtype=torch.float64))


def test_unit_rows_along_either_axis_and_nothing_is_written() -> None:
    weight = random(4, 6)
    copy = weight.clone()
    _same(unit_rows(weight).norm(dim=1), torch.ones(4, dtype=torch.float64))
    _same(unit_rows(weight, 0).norm(dim=0), torch.ones(6, dtype=torch.float64))
    assert identical(weight, copy)


def test_nothing_given_is_written() -> None:
    x, weight, bias = random(2, 3, 6), random(6, seed=1), random(6, seed=2)
    given = [x, weight, bias]
    copies = [tensor.clone() for tensor in given]
    scale_norm(x)
    fix_norm(x)
    dynamic_tanh(x, weight, bias)
    qk_norm(x, x, x)
    ngpt_step(x, layer)
    assert all(identical(a, b) for a, b in zip(given, copies, strict=True))


# --- gradients ----------------------------------------------------------------------------------------------------


def test_gradients() -> None:
    x, g = random(2, 3, 6).requires_grad_(), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    weight, bias = random(6, seed=1).requires_grad_(), random(6, seed=2).requires_grad_()
    check: Callable[..., bool] = torch.autograd.gradcheck
    assert check(scale_norm, (x, g)) and check(fix_norm, (x, g))
    assert check(dynamic_tanh, (x, weight, bias)) and check(dynamic_tanh, (x.detach(), weight, bias))
    assert check(qk_norm, (x, random(2, 4, 6, seed=3).requires_grad_(), random(2, 4, 2, seed=4).requires_grad_(), g))
    assert check(lambda h: ngpt_step(h, layer, 0.3), (x,))


# --- sentences ----------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: scale_norm(torch.ones(2, 3, 4, 5)), r"scale_norm needs tokens \(N, C\) or \(N, T, D\); received shape"),
    (lambda: fix_norm(torch.ones(2, 3), torch.ones(3)), r"fix_norm needs g to be a scalar; received shape \(3,\)"),
    (lambda: fix_norm(torch.ones(3)), r"fix_norm needs an input of at least 2 axes"),
    (lambda: dynamic_tanh(torch.ones(2, 3, 4), torch.ones(3)), r"weight of shape \(4,\) here; received \(3,\)"),
    (lambda: dynamic_tanh(torch.ones(2, 3).long()), "floating-point values; received torch.int64"),
    (
        lambda: qk_norm(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 3)),
        r"received \(2, 3\), \(2, 4\) and \(2, 3\)",
    ),
    (lambda: qk_norm(torch.ones(2, 3), torch.ones(4, 3), torch.ones(5, 3)), r"qk_norm needs q \(\.\.\., L, D\)"),
    (lambda: qk_norm(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1, 3)), "at least 2 keys to initialize g; "),
    (
        lambda: qk_norm(TOKENS, TOKENS, TOKENS, torch.ones(2)),
        r"needs g to be a scalar; received shape \(2,\)",
    ),
    (lambda: ngpt_step(torch.ones(3), layer), "ngpt_step needs an input of at least 2 axes"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
