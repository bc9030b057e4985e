"""Adaptive layer norm, adaptive instance norm and SPADE."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.methods.batch import batch_norm
from normviz.normalization.methods.channel import instance_norm
from normviz.normalization.methods.conditional import ada_layer_norm, adaptive_instance_norm, spade
from normviz.normalization.methods.layer import layer_norm
from tests.reference.normalization import conditional as reference
from tests.support.cases import random
from tests.support.comparison import identical


def _same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


CALLS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], list[tuple[int, ...]]]] = {
    "adaLN of examples": (ada_layer_norm, (4, 6), [(4, 6), (4, 6)]),
    "adaLN of tokens": (ada_layer_norm, (4, 5, 6), [(4, 6), (4, 6)]),
    "AdaIN of sequences": (adaptive_instance_norm, (3, 4, 5), [(3, 4, 7)]),
    "AdaIN of maps": (adaptive_instance_norm, (3, 4, 5, 2), [(3, 4, 3, 3)]),
    "AdaIN of volumes": (adaptive_instance_norm, (2, 4, 2, 2, 3), [(2, 4, 3, 2, 2)]),
    "SPADE of maps": (spade, (3, 4, 5, 2), [(3, 4, 5, 2), (3, 4, 5, 2)]),
    "SPADE of volumes": (spade, (2, 4, 2, 2, 3), [(2, 4, 2, 2, 3), (2, 4, 2, 2, 3)]),
}
each_call = pytest.mark.parametrize(("function", "shape", "more"), CALLS.values(), ids=CALLS)


def _sides(more: list[tuple[int, ...]], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [random(*shape, seed=seed, dtype=dtype) * 2 - 1 for seed, shape in enumerate(more, start=1)]


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@each_call
def test_agrees_with_the_reference(
    function: Callable[..., Tensor], shape: tuple[int, ...], more: list[tuple[int, ...]], eps: float
) -> None:
    x, sides = random(*shape) * 2 + 1, _sides(more)
    slow = getattr(reference, function.__name__)
    _same(function(x, *sides, eps=eps), slow(x, *sides, eps=eps))
    if function is not adaptive_instance_norm:
        _same(function(x, eps=eps), slow(x, eps=eps))
        _same(function(x, sides[0], eps=eps), slow(x, sides[0], eps=eps))
        _same(function(x, None, sides[1], eps=eps), slow(x, None, sides[1], eps=eps))


@each_call
def test_float32_far_from_zero_and_bfloat16(
    function: Callable[..., Tensor], shape: tuple[int, ...], more: list[tuple[int, ...]]
) -> None:
    slow = getattr(reference, function.__name__)
    far, sides = (random(*shape) + 1e4).float(), _sides(more, torch.float32)
    torch.testing.assert_close(function(far, *sides).double(), slow(far, *sides), rtol=0, atol=0.01)
    low, sides = random(*shape).bfloat16(), _sides(more, torch.bfloat16)
    assert function(low, *sides).dtype == torch.bfloat16
    torch.testing.assert_close(function(low, *sides).double(), slow(low, *sides), rtol=0.02, atol=0.06)


def test_ada_layer_norm_without_a_condition_is_layer_norm() -> None:
    for shape in ((4, 6), (4, 5, 6)):
        x, scale, shift = random(*shape), random(4, 6, seed=1), random(4, 6, seed=2)
        _same(ada_layer_norm(x, eps=0.5), layer_norm(x, eps=0.5))
        zeros = torch.zeros(4, 6, dtype=torch.float64)
        _same(ada_layer_norm(x, zeros, zeros), ada_layer_norm(x))
        for example in range(4):  # one example has one gamma and beta, as layer norm has them
            expected = layer_norm(x[example : example + 1], 1 + scale[example], shift[example], eps=1e-6)
            _same(ada_layer_norm(x, scale, shift)[example : example + 1], expected)


def test_content_as_its_own_style_stays_as_it_is() -> None:
    x = random(2, 4, 5, 3) * 3 + 7
    for eps in (1e-5, 0.5):
        _same(adaptive_instance_norm(x, x, eps), x)


def test_the_statistics_of_the_style_arrive_exactly() -> None:
    content, style = random(2, 4, 5, 3), random(2, 4, 6, 7, seed=1) * 3 - 2
    y = adaptive_instance_norm(content, style, 1e-12)
    _same(y.mean((2, 3)), style.mean((2, 3)))
    _same(y.var((2, 3), correction=0), style.var((2, 3), correction=0))
    _same(instance_norm(y, eps=1e-12), instance_norm(content, eps=1e-12))  # the shapes are the content's


def test_adaptive_instance_norm_takes_maps_in_any_memory_order() -> None:
    content, style = random(2, 5, 3, 4).permute(0, 3, 1, 2), random(2, 6, 7, 4, seed=1).permute(0, 3, 1, 2)
    expected = adaptive_instance_norm(content.contiguous(), style.contiguous())
    _same(adaptive_instance_norm(content, style), expected)


def test_no_gradient_flows_into_the_style() -> None:
    content, style = random(2, 4, 5).requires_grad_(), random(2, 4, 5, seed=1).requires_grad_()
    copy = style.detach().clone()
    y = adaptive_instance_norm(content, style)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(y.sum(), (content, style), allow_unused=True)
    assert gradients[0] is not None and gradients[1] is None
    assert identical(style, copy)


def test_spade_without_scale_and_shift_is_batch_norm() -> None:
    for shape in ((3, 4, 5, 2), (2, 4, 2, 2, 3)):
        x = random(*shape) + 2
        _same(spade(x, eps=0.5), batch_norm(x, eps=0.5))
        _same(spade(x, eps=0.5), F.batch_norm(x, None, None, training=True, eps=0.5))
    everywhere = torch.full((3, 4, 5, 2), 0.5, dtype=torch.float64)
    x = random(3, 4, 5, 2)
    weight, bias = torch.full((4,), 1.5, dtype=torch.float64), torch.full((4,), 0.5, dtype=torch.float64)
    _same(spade(x, everywhere, everywhere), batch_norm(x, weight=weight, bias=bias))


@pytest.mark.parametrize("name", ["ada_layer_norm", "adaptive_instance_norm", "spade"])
def test_locality(name: str) -> None:
    """A value reaches its token, its map, or its channel in the whole batch."""
    x, style = random(3, 4, 2, 3), random(3, 4, 2, 3, seed=1)
    x = x[..., 0] if name == "ada_layer_norm" else x
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "ada_layer_norm": ada_layer_norm,
        "adaptive_instance_norm": lambda x: adaptive_instance_norm(x, style),
        "spade": spade,
    }
    changed = x.clone()
    changed[1, 2, 0] += torch.linspace(1, 2, x[1, 2, 0].numel(), dtype=torch.float64).view_as(x[1, 2, 0])
    moved = calls[name](x) != calls[name](changed)
    expected = torch.zeros_like(moved)
    if name == "spade":
        expected[:, 2] = True
    else:
        expected[1, 2] = True
    assert identical(moved, expected)


@each_call
def test_gradients(function: Callable[..., Tensor], shape: tuple[int, ...], more: list[tuple[int, ...]]) -> None:
    x, sides = random(*shape).requires_grad_(), _sides(more)
    for side in sides:
        side.requires_grad_(function is not adaptive_instance_norm)
    assert torch.autograd.gradcheck(lambda x, *rest: function(x, *rest, eps=0.1), (x, *sides))


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ada_layer_norm(torch.ones(2, 3, 4, 4)), r"\(N, C\) or tokens \(N, T, D\); received shape \(2, 3, 4, 4\)"),
    (lambda: ada_layer_norm(torch.ones(2, 3, 4), torch.ones(2, 3)), r"scale of shape \(2, 4\) here; received \(2, 3\)"),
    (lambda: adaptive_instance_norm(torch.ones(2, 3), torch.ones(2, 3)), "at least 3 axes"),
    (
        lambda: adaptive_instance_norm(torch.ones(2, 3, 4), torch.ones(1, 3, 4)),
        r"the samples and channels of the content, \(2, 3\); received a style of shape \(1, 3, 4\)",
    ),
    (lambda: adaptive_instance_norm(torch.ones(2, 3, 4), torch.ones(2, 3, 1)), "needs more than one position"),
    (lambda: spade(torch.ones(2, 3, 4)), "spade needs an input of at least 4 axes"),
    (lambda: spade(torch.ones(1, 3, 1, 1)), r"spade needs more than one value per channel; shape \(1, 3, 1, 1\) has"),
    (lambda: spade(torch.ones(2, 3, 2, 2), eps=0.0), "spade needs eps above 0; received 0"),
    (lambda: spade(torch.ones(2, 3, 2, 2), torch.ones(3)), r"spade needs scale of shape \(2, 3, 2, 2\) here"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
