"""Adaptive gradient clipping, decay of gamma and beta, GradNorm: references, identities, sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.normalization.methods.training import adaptive_gradient_clipping, affine_decay, grad_norm
from normviz.registry import get
from tests.reference.normalization import training as reference
from tests.support.cases import random
from tests.support.comparison import identical

FORMS: tuple[Literal["published", "optimizer"], ...] = ("published", "optimizer")


def _same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


ONES = torch.ones(2)


def _tasks(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- references ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-3, 0.5])
@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 3, 3)])
def test_clipping_agrees_with_the_reference(shape: tuple[int, ...], eps: float) -> None:
    size = torch.logspace(-3, 1, 5, dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))
    gradient, weight = random(*shape) * size, random(*shape, seed=1) * size.flip(0)
    for clipping in (0.01, 1.0):
        actual = adaptive_gradient_clipping(gradient, weight, clipping, eps)
        _same(actual, reference.adaptive_gradient_clipping(gradient, weight, clipping, eps))


@pytest.mark.parametrize("form", FORMS)
def test_decay_agrees_with_the_reference(form: Literal["published", "optimizer"]) -> None:
    weight, bias = random(6) + 1, random(6, seed=1)
    _same(affine_decay(weight, bias, 0.3, form), reference.affine_decay(weight, bias, 0.3, form))


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_grad_norm_agrees_with_the_reference(alpha: float) -> None:
    given = _tasks(0.5, 1, 1.5), _tasks(3, 0.2, 1), _tasks(0.7, 2, 0.1), _tasks(1, 2.5, 3)
    _same(grad_norm(*given, alpha, 0.05), reference.grad_norm(*given, alpha, 0.05))


EXPRESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("adaptive_gradient_clipping", {"gradient": random(5, 4), "weight": random(5, 4, seed=1), "clipping": 0.7}),
    ("affine_decay", {"weight": random(6), "bias": random(6, seed=1), "decay": 0.3}),
]


@pytest.mark.parametrize(("name", "arguments"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_the_expression_in_pytorch_is_the_function(name: str, arguments: dict[str, Any]) -> None:
    method = get(name, "normalization")
    arguments = method.settings() | arguments
    expected = eval(method.torch, {"torch": torch, "F": F, "nn": nn}, arguments)
    _same(method.function(**arguments), expected)
    assert len(method.torch) <= 160


# --- identities ---------------------------------------------------------------------------------------------------


def test_clipping_leaves_small_gradients_alone_and_shortens_long_ones_to_the_limit() -> None:
    weight = random(3, 4)
    lengths = weight.norm(dim=1)
    gradient = F.normalize(random(3, 4, seed=1), dim=1) * (lengths * torch.tensor([0.001, 0.05, 7]))[:, None]
    clipped = adaptive_gradient_clipping(gradient, weight, 0.01)
    assert identical(clipped[0], gradient[0])
    _same(clipped.norm(dim=1)[1:], 0.01 * lengths[1:])
    _same(F.normalize(clipped, dim=1), F.normalize(gradient, dim=1))  # only the length changes


def test_a_unit_of_zeros_still_moves_and_one_without_gradient_stays() -> None:
    gradient = torch.stack([random(4), torch.zeros(4, dtype=torch.float64)])
    clipped = adaptive_gradient_clipping(gradient, torch.zeros(2, 4, dtype=torch.float64))
    assert float(clipped[0].norm()) == pytest.approx(0.01 * 1e-3)
    assert identical(clipped[1], torch.zeros(4, dtype=torch.float64))


def test_the_forms_of_decay_pull_gamma_to_one_and_to_zero() -> None:
    for form, goal in zip(FORMS, (1.0, 0.0), strict=True):
        gamma, beta = _tasks(0.5, 2.0).requires_grad_(), _tasks(-1.0, 3.0).requires_grad_()
        slopes = torch.autograd.grad(affine_decay(gamma, beta, 0.1, form), (gamma, beta))
        _same(slopes, (0.1 * (gamma.detach() - goal), 0.1 * beta.detach()))
    assert affine_decay(torch.ones(3), torch.zeros(3)) == 0


def test_an_optimizers_weight_decay_is_the_second_form() -> None:
    module = nn.BatchNorm1d(3).double()
    nn.init.constant_(module.weight, 2.0)
    penalty = affine_decay(module.weight, module.bias, 0.1, "optimizer")
    slope = torch.autograd.grad(penalty, module.weight)[0]
    module.weight.grad = torch.zeros_like(module.weight)
    torch.optim.SGD([module.weight], lr=0.5, weight_decay=0.1).step()
    _same(module.weight.detach(), 2.0 - 0.5 * slope)


def test_grad_norm_keeps_the_sum_and_favors_who_lags_behind() -> None:
    w, norms, start = _tasks(1, 1, 1), _tasks(2, 2, 2), _tasks(4, 4, 4)
    updated = grad_norm(w, norms, _tasks(1, 2, 3.9), start, lr=0.01)
    assert float(updated.sum()) == pytest.approx(3)
    assert updated[0] < 1 < updated[2]
    _same(grad_norm(_tasks(0.2, 0.2, 0.2), norms, start, start), w)  # nothing to balance: only the sum
    moved = grad_norm(w, _tasks(9, 1, 1), start, start, lr=0.01)  # equal progress, unequal gradients
    assert moved[0] < 1 < moved[1]


def test_grad_norm_makes_gradients_equal_where_alpha_is_zero() -> None:
    w, norms, losses = _tasks(1, 1), _tasks(10, 1), _tasks(1, 1)
    for _ in range(2000):
        w = grad_norm(w, norms, losses, losses, alpha=0.0, lr=1e-4)
    assert (w * norms).tolist() == pytest.approx([20 / 11, 20 / 11], rel=0.02)


def test_nothing_given_is_written() -> None:
    a, b, c, d = (random(4, seed=seed).exp() for seed in range(4))
    gradient, weight = random(3, 4), random(3, 4, seed=1)
    given = [a, b, c, d, gradient, weight]
    copies = [tensor.clone() for tensor in given]
    grad_norm(a, b, c, d)
    affine_decay(a, b)
    adaptive_gradient_clipping(gradient, weight)
    assert all(identical(x, y) for x, y in zip(given, copies, strict=True))


def test_gradients() -> None:
    gamma, beta = random(4).requires_grad_(), random(4, seed=1).requires_grad_()
    check: Callable[..., bool] = torch.autograd.gradcheck
    for form in FORMS:
        assert check(lambda g, b, form=form: affine_decay(g, b, 0.3, form), (gamma, beta))


# --- sentences ----------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: adaptive_gradient_clipping(torch.ones(3), torch.ones(3)), "needs an input of at least 2 axes"),
    (
        lambda: adaptive_gradient_clipping(torch.ones(2, 3), torch.ones(3, 2)),
        r"weight of shape \(2, 3\) here; received",
    ),
    (lambda: adaptive_gradient_clipping(torch.ones(2, 3), torch.ones(2, 3), 0.0), "above 0; received 0 and 0.001"),
    (lambda: affine_decay(torch.ones(3), torch.ones(2)), r"affine_decay needs bias of shape \(3,\) here; received"),
    (lambda: affine_decay(torch.ones(3), torch.ones(3), 0.1, "none"), "one of published, optimizer; received 'none'"),  # type: ignore[arg-type]
    (
        lambda: grad_norm(torch.ones(2, 2), ONES, ONES, ONES),
        r"one weight per task, \(T,\); received shape \(2, 2\)",
    ),
    (lambda: grad_norm(ONES, torch.ones(3), ONES, ONES), r"gradient_norms of shape \(2,\)"),
    (lambda: grad_norm(torch.zeros(2), ONES, ONES, ONES), r"task_weights above 0; received \[0.0, 0.0\]"),
    (
        lambda: grad_norm(ONES, ONES, ONES, torch.tensor([1.0, -1])),
        r"initial_losses above 0; received \[1.0, -1.0\]",
    ),
    (
        lambda: grad_norm(ONES, torch.tensor([9.0, 1]), ONES, ONES, lr=0.5),
        "must stay above 0: lower lr",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_computed_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
