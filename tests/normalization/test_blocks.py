"""Where the norm stands: pre, post, sandwich, DeepNorm, adaLN-Zero, placement, none; references, PyTorch's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.normalization.methods.blocks import (
    ada_layer_norm_zero,
    deep_norm,
    norm_placement,
    normalizer_free_block,
    post_norm,
    pre_norm,
    sandwich_norm,
)
from normviz.normalization.methods.weight import scaled_weight_standardization
from normviz.registry import get
from tests.reference.normalization import blocks as reference
from tests.support.cases import random
from tests.support.comparison import identical

W, GAMMA, BETA, GAMMA2, BETA2 = random(6, 6, seed=9), *(random(6, seed=seed) for seed in (1, 2, 3, 4))
SHAPES = [(4, 6), (2, 3, 6)]


def layer(x: Tensor) -> Tensor:
    return torch.tanh(x @ W.to(x.dtype)) + 0.1 * x


def _same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


# --- references and oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("post_norm", {"weight": GAMMA, "bias": BETA}),
        ("pre_norm", {"weight": GAMMA, "bias": BETA}),
        ("sandwich_norm", {"weight": GAMMA, "bias": BETA, "out_weight": GAMMA2, "out_bias": BETA2}),
        ("deep_norm", {"alpha": 1.7, "weight": GAMMA, "bias": BETA}),
        ("deep_norm", {}),
        ("sandwich_norm", {}),
    ],
)
def test_agrees_with_the_reference(name: str, arguments: dict[str, Any], shape: tuple[int, ...], eps: float) -> None:
    x = random(*shape) * 2 + 1
    actual = get(name, "normalization").function(x, layer, **arguments, eps=eps)
    _same(actual, getattr(reference, name)(x, layer, **arguments, eps=eps))


@pytest.mark.parametrize("eps", [1e-6, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_zero_agrees_with_the_reference(shape: tuple[int, ...], eps: float) -> None:
    x, condition = random(*shape) + 1, random(shape[0], 3, seed=1)
    weight, bias = random(18, 3, seed=2), random(18, seed=3)
    actual = ada_layer_norm_zero(x, condition, weight, bias, layer, eps)
    _same(actual, reference.ada_layer_norm_zero(x, condition, weight, bias, layer, eps))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("before", [True, False])
def test_placement_agrees_with_the_reference(before: bool, eps: float) -> None:
    x, weight, bias = random(5, 3) + 1, random(4, 3, seed=1), random(4, seed=2)
    for b in (None, bias):
        actual = norm_placement(x, weight, b, before, eps)
        _same(actual, reference.norm_placement(x, weight, b, before, eps))


def test_normalizer_free_agrees_with_the_reference() -> None:
    h = random(2, 3, 6)
    _same(normalizer_free_block(h, layer, 0.3, 1.7), reference.normalizer_free_block(h, layer, 0.3, 1.7))


@pytest.mark.parametrize("norm_first", [True, False])
def test_two_blocks_are_pytorchs_encoder_layer(norm_first: bool) -> None:
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, norm_first=norm_first, batch_first=True, layer_norm_eps=0.1
    ).double()  # fmt: skip
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)  # gamma and beta too
    x, block = random(2, 5, 8), pre_norm if norm_first else post_norm

    def attention(y: Tensor) -> Tensor:
        attended: Tensor = module.self_attn(y, y, y, need_weights=False)[0]
        return attended

    def mlp(y: Tensor) -> Tensor:
        made: Tensor = module.linear2(F.relu(module.linear1(y)))
        return made

    h = block(x, attention, module.norm1.weight, module.norm1.bias, eps=0.1)
    _same(block(h, mlp, module.norm2.weight, module.norm2.bias, eps=0.1), module(x))


X, COND = random(2, 3, 6), random(2, 4, seed=5)
EXPRESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("post_norm", {"x": X, "f": layer, "weight": GAMMA, "bias": BETA, "eps": 0.5}),
    ("pre_norm", {"x": X, "f": layer, "weight": GAMMA, "bias": BETA, "eps": 0.5}),
    (
        "sandwich_norm",
        {"x": X, "f": layer, "weight": GAMMA, "bias": BETA, "out_weight": GAMMA2, "out_bias": BETA2, "eps": 0.5},
    ),
    ("deep_norm", {"x": X, "f": layer, "alpha": 1.7, "weight": GAMMA, "bias": BETA, "eps": 0.5}),
    ("norm_placement", {"x": random(5, 6), "weight": W, "bias": BETA, "eps": 0.5}),
    ("normalizer_free_block", {"h": X, "f": layer, "alpha": 0.3, "beta": 1.7}),
]


@pytest.mark.parametrize(("name", "arguments"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_the_expression_in_pytorch_is_the_function(name: str, arguments: dict[str, Any]) -> None:
    method = get(name, "normalization")
    expected = eval(method.torch, {"torch": torch, "F": F, "nn": nn, "math": math}, arguments)
    _same(method.function(**arguments), expected)
    assert len(method.torch) <= 160


# --- identities ---------------------------------------------------------------------------------------------------


def test_deep_norm_of_alpha_one_is_post_norm() -> None:
    x = random(2, 3, 6)
    _same(deep_norm(x, layer, 1.0, GAMMA, BETA), post_norm(x, layer, GAMMA, BETA))
    assert (deep_norm(x, layer) - post_norm(x, layer)).abs().max() > 0.01


def test_a_silent_layer_leaves_pre_norm_and_sandwich_as_they_are_but_not_post_norm() -> None:
    x = random(2, 3, 6) + 3
    assert identical(pre_norm(x, torch.zeros_like), x) and identical(sandwich_norm(x, torch.zeros_like), x)
    _same(post_norm(x, torch.zeros_like), F.layer_norm(x, (6,)))


def test_the_sandwich_bounds_what_a_layer_adds() -> None:
    x = random(2, 3, 6)
    added = [(sandwich_norm(x, lambda y, k=k: k * layer(y), eps=1e-12) - x).norm(dim=-1) for k in (1.0, 1e6)]  # type: ignore[misc]
    _same(added[0], torch.full((2, 3), math.sqrt(6), dtype=torch.float64))
    _same(added[1], added[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_zero_starts_as_exactly_the_identity(shape: tuple[int, ...]) -> None:
    x, condition = random(*shape), random(shape[0], 3, seed=1)
    weight, bias = torch.zeros(18, 3, dtype=torch.float64), torch.zeros(18, dtype=torch.float64)
    assert identical(ada_layer_norm_zero(x, condition, weight, bias, layer), x)
    opened = bias.index_fill(0, torch.arange(12, 18), 1.0)  # gate 1, scale and shift 0: pre-LN
    _same(ada_layer_norm_zero(x, condition, weight, opened, layer), pre_norm(x, layer, eps=1e-6))


def test_adaptive_zero_follows_each_examples_own_condition() -> None:
    x, weight, bias = random(1, 3, 6).expand(2, 3, 6), random(18, 4, seed=2), random(18, seed=3)
    y = ada_layer_norm_zero(x, COND, weight, bias, layer)
    assert (y[0] - y[1]).abs().max() > 0.1
    _same(ada_layer_norm_zero(x, COND[:1].expand(2, 4), weight, bias, layer)[1], y[0])


def test_the_bias_before_batch_norm_cancels_and_gets_no_gradient() -> None:
    x, weight = random(16, 3), random(4, 3, seed=1)
    bias = random(4, seed=2).requires_grad_()
    _same(norm_placement(x, weight, 100 * bias), norm_placement(x, weight))
    aim = random(16, 4, seed=3)
    (gradient,) = torch.autograd.grad((norm_placement(x, weight, bias) * aim).sum(), bias)
    assert gradient.abs().max() < 1e-12
    (gradient,) = torch.autograd.grad((norm_placement(x, weight, bias, before=False) * aim).sum(), bias)
    assert gradient.abs().max() > 1e-3


def test_what_leaves_is_positive_or_centered() -> None:
    x, weight = random(64, 3), random(4, 3, seed=1)
    assert norm_placement(x, weight).min() == 0 and norm_placement(x, weight).mean() > 0.1
    _same(norm_placement(x, weight, before=False).mean(0), torch.zeros(4, dtype=torch.float64))


def test_the_variance_grows_by_the_square_of_alpha() -> None:
    h, variance = random(4000, 64), []
    for block in range(5):
        variance.append(float(h.var()))
        weight = scaled_weight_standardization(random(64, 64, seed=block + 1))
        beta = math.sqrt(1 + block * 0.25)  # the deviation that the sum should have grown to
        h = normalizer_free_block(h, lambda x, weight=weight: F.relu(x) @ weight.T, 0.5, beta)  # type: ignore[misc]
    assert variance == pytest.approx([1 + 0.25 * block for block in range(5)], rel=0.05)
    assert identical(normalizer_free_block(h, F.relu, 0.0), h)


def test_nothing_given_is_written() -> None:
    x, condition, weight, bias = random(2, 6), random(2, 3), random(18, 3), random(18)
    given = [x, condition, weight, bias, GAMMA, BETA]
    copies = [tensor.clone() for tensor in given]
    for block in (post_norm, pre_norm, sandwich_norm):
        block(x, layer, GAMMA, BETA)
    deep_norm(x, layer, 1.5, GAMMA, BETA)
    ada_layer_norm_zero(x, condition, weight, bias, layer)
    norm_placement(x, W, BETA)
    normalizer_free_block(x, layer)
    assert all(identical(a, b) for a, b in zip(given, copies, strict=True))


def test_gradients() -> None:
    x, gamma, beta = (tensor.clone().requires_grad_() for tensor in (random(2, 6), GAMMA, BETA))
    check: Callable[..., bool] = torch.autograd.gradcheck
    for block in (post_norm, pre_norm, sandwich_norm):
        assert check(lambda x, w, b, block=block: block(x, layer, w, b), (x, gamma, beta))
    assert check(lambda x, w, b: deep_norm(x, layer, 1.5, w, b), (x, gamma, beta))
    tensors = [random(2, 3), random(18, 3, seed=1), random(18, seed=2)]
    made = [tensor.requires_grad_() for tensor in tensors]
    assert check(lambda x, c, w, b: ada_layer_norm_zero(x, c, w, b, layer), (x, *made))
    assert check(lambda x: normalizer_free_block(x, layer, 0.3, 2.0), (x,))


# --- sentences ----------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], object], str]] = [
    (
        lambda: post_norm(torch.ones(2, 6), layer, torch.ones(5)),
        r"post_norm needs weight of shape \(6,\) here; received",
    ),
    (lambda: pre_norm(torch.ones(6), layer), "pre_norm needs an input of at least 2 axes"),
    (
        lambda: sandwich_norm(torch.ones(2, 6), layer, out_bias=torch.ones(5)),
        r"sandwich_norm needs bias of shape \(6,\) here; received \(5,\)",
    ),
    (lambda: deep_norm(torch.ones(2, 6), layer, 2.0, torch.ones(1)), r"weight of shape \(6,\) here; received \(1,\)"),
    (
        lambda: ada_layer_norm_zero(torch.ones(2, 6), torch.ones(3, 4), torch.ones(18, 4), torch.ones(18), layer),
        r"needs condition of shape \(2, 4\) here; received \(3, 4\)",
    ),
    (
        lambda: ada_layer_norm_zero(torch.ones(2, 6), torch.ones(2, 4), torch.ones(36, 4), torch.ones(36), layer),
        r"needs weight of shape \(18, 4\) here; received \(36, 4\)",
    ),
    (lambda: norm_placement(torch.ones(1, 3), torch.ones(4, 3)), "more than one value per channel in training"),
    (lambda: norm_placement(torch.ones(2, 3), torch.ones(4, 5)), r"x \(N, C\) and weight \(D, C\); received \(2, 3\)"),
    (lambda: norm_placement(torch.ones(2, 3), torch.ones(4, 3), torch.ones(3)), r"bias of shape \(4,\) here"),
    (lambda: normalizer_free_block(torch.ones(2, 3), layer, beta=0.0), "needs beta above 0; received 0"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_computed_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
