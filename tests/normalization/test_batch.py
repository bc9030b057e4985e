"""Batch norm's kin: ghost batches, batch and group norm combined, example weighing, and the identity."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.apply import apply
from normviz.normalization.methods.batch import (
    batch_group_norm,
    batch_norm,
    ghost_batch_norm,
    ghost_order,
    identity_parameters,
    inference_example_weighing,
)
from normviz.normalization.methods.channel import group_norm, instance_norm
from normviz.registry import get
from tests.reference.normalization import batch as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(8, 6), (8, 6, 3), (4, 6, 2, 3), (4, 6, 2, 1, 3)]
MAPS = SHAPES[1:]
each_eps = pytest.mark.parametrize("eps", [1e-5, 0.5])


def _same(actual: object, expected: object, within: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=within, atol=within)


def _parameters() -> tuple[Tensor, Tensor]:
    return random(6, seed=1), random(6, seed=2)


def _running(x: Tensor, gain: float = 1.3, shift: float = 0.4) -> tuple[Tensor, Tensor]:
    """Running means of x and of its square, as another batch would have left them."""
    values = x.double().movedim(1, 0).flatten(1) * gain + shift
    return values.mean(1), values.square().mean(1)


# --- reference and oracles ----------------------------------------------------------------------------------------


@each_eps
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ghost_and_batch_group_norm_agree_with_the_reference(shape: tuple[int, ...], eps: float) -> None:
    x, (w, b) = random(*shape) * 2 + 1, _parameters()
    for size in (2, 3 if shape[0] == 8 else 4, 16):
        _same(ghost_batch_norm(x, size, 3, w, b, eps), reference.ghost_batch_norm(x, size, 3, w, b, eps))
    for size, groups in ((2, 3), (4, 2), (1, 1)):
        expected = reference.batch_group_norm(x, size, groups, w, b, eps)
        _same(batch_group_norm(x, size, groups, w, b, eps), expected)
    _same(batch_group_norm(x, num_groups=2), reference.batch_group_norm(x, num_groups=2))
    _same(ghost_batch_norm(x), reference.ghost_batch_norm(x))


@each_eps
@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_example_weighing_agrees_with_the_reference(shape: tuple[int, ...], alpha: float, eps: float) -> None:
    x, (w, b) = random(*shape) * 2 + 1, _parameters()
    mean, square = _running(x)
    expected = reference.inference_example_weighing(x, mean, square, w, b, alpha, eps)
    _same(inference_example_weighing(x, mean, square, w, b, alpha, eps), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_far_from_zero(shape: tuple[int, ...]) -> None:
    """At a mean of 1e4 float32 resolves .001; E[x^2] - E[x]^2 would be off by more than 1."""
    x = (random(*shape) + 1e4).float()
    pairs: list[tuple[Tensor, Tensor]] = [
        (ghost_batch_norm(x, 4), reference.ghost_batch_norm(x, 4)),
        (batch_group_norm(x, 2, 2), reference.batch_group_norm(x, 2, 2)),
    ]
    if x.ndim > 2:
        mean, square = _running(x, gain=1.0)
        y = inference_example_weighing(x, mean, square)
        pairs.append((y, reference.inference_example_weighing(x, mean, square)))
    for actual, expected in pairs:
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=0.01)


def test_bfloat16_is_right_to_its_own_precision() -> None:
    x = random(4, 6, 2, 3).bfloat16()
    mean, square = _running(x)
    for name, given in (
        ("ghost_batch_norm", {"size": 2}),
        ("batch_group_norm", {"batch_size": 2, "num_groups": 3}),
        ("inference_example_weighing", {"running_mean": mean, "running_sq": square}),
    ):
        actual = get(name, "normalization").function(x, **given)
        assert actual.dtype == torch.bfloat16
        torch.testing.assert_close(actual.double(), getattr(reference, name)(x, **given), rtol=0.02, atol=0.04)


def test_ghost_is_the_kernel_on_each_sub_batch() -> None:
    x, (w, b) = random(7, 6, 3, 2) + 2, _parameters()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(5))
    y = ghost_batch_norm(x, 4, 5, w, b)
    for part in (order[:4], order[4:]):
        _same(y[part], F.batch_norm(x[part], None, None, w, b, training=True))


def test_batch_group_norm_is_the_kernel_on_each_block() -> None:
    x = random(4, 6, 3, 2) + 2
    for n in (0, 2):
        for c in (0, 3):
            block = x[n : n + 2, c : c + 3]
            _same(batch_group_norm(x, 2, 2)[n : n + 2, c : c + 3], F.layer_norm(block, block.shape))


# --- identities ---------------------------------------------------------------------------------------------------


@each_eps
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_ends_of_ghost_batches(shape: tuple[int, ...], eps: float) -> None:
    x, (w, b) = random(*shape) + 1, _parameters()
    for size in (shape[0], 100):
        _same(ghost_batch_norm(x, size, 1, w, b, eps), batch_norm(x, weight=w, bias=b, eps=eps))
    if x.ndim > 2:
        _same(ghost_batch_norm(x, 1, 1, w, b, eps), instance_norm(x, w, b, eps))


@each_eps
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_group_norm_joins_batch_norm_and_group_norm(shape: tuple[int, ...], eps: float) -> None:
    x, (w, b) = random(*shape) + 1, _parameters()
    for groups in (1, 2, 3, 6):
        _same(batch_group_norm(x, 1, groups, w, b, eps), group_norm(x, groups, w, b, eps))
    _same(batch_group_norm(x, shape[0], 6, w, b, eps), batch_norm(x, weight=w, bias=b, eps=eps))


@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_the_ends_of_example_weighing(shape: tuple[int, ...]) -> None:
    x, (w, b) = random(*shape) + 1, _parameters()
    mean, square = _running(x)
    _same(inference_example_weighing(x, mean, square, w, b, 1.0, 0.5), instance_norm(x, w, b, 0.5))
    _same(
        inference_example_weighing(x, mean, square, w, b, 0.0, 0.5),
        batch_norm(x, mean, square - mean**2, w, b, training=False, eps=0.5),
    )


def test_weighing_with_the_square_of_the_mean_would_leave_no_variance() -> None:
    """The misprint m_x^2 in place of the running E[x^2]: at alpha = 0 the variance is 0."""
    x = random(4, 6, 3)
    mean, _ = _running(x)
    wrong = inference_example_weighing(x, mean, mean**2, alpha=0.0, eps=1e-12)
    assert wrong.abs().mean() > 1e4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_identity_parameters_make_batch_norm_the_identity(shape: tuple[int, ...]) -> None:
    x = random(*shape) * 3 + 2
    for eps in (1e-5, 0.5):
        _same(identity_parameters(x, eps), reference.identity_parameters(x, eps))
        weight, bias = identity_parameters(x, eps)
        _same(batch_norm(x, weight=weight, bias=bias, eps=eps), x)


# --- the partition ------------------------------------------------------------------------------------------------


def test_the_seed_deals_the_examples_out() -> None:
    x = random(12, 6)
    _same(ghost_batch_norm(x, 4, 7), ghost_batch_norm(x, 4, 7))
    assert (ghost_batch_norm(x, 4, 7) - ghost_batch_norm(x, 4, 8)).abs().max() > 0.1
    in_turn = torch.cat([batch_norm(part) for part in torch.split(x, 4)])
    assert (ghost_batch_norm(x, 4, 0) - in_turn).abs().max() > 0.1  # the partition is random


def test_locality_follows_the_order_of_the_batch() -> None:
    method = get("ghost batching", "normalization")
    assert method.batch_order is not None
    order = method.batch_order(9, **method.settings({"size": 3, "shuffle": 2}))
    assert identical(order, ghost_order(9, 2)) and sorted(order.tolist()) == list(range(9))
    assert order.tolist() != list(range(9))
    place = order.argsort()
    for layout, shape in (("nc", (9, 4)), ("ntd", (9, 2, 4)), ("nchw", (9, 4, 2, 2)), ("ncdhw", (9, 4, 1, 2, 2))):
        x = random(*shape)
        changed = x.clone()
        changed[4, ..., 0] += 1.5 if layout != "nchw" else torch.tensor([1.5, 0])
        before, after = (apply(method, t, layout, size=3, shuffle=2) for t in (x, changed))
        moved = (before != after).flatten(1).any(1)
        assert moved.tolist() == (place // 3 == place[4] // 3).tolist()


def test_locality_of_batch_group_norm_and_example_weighing() -> None:
    x = random(4, 6, 2, 2)
    changed = x.clone()
    changed[2, 3, 0, 1] += 1.0
    moved = batch_group_norm(changed, 2, 2) != batch_group_norm(x, 2, 2)
    assert moved[2:, 3:].all() and not moved[:2].any() and not moved[:, :3].any()
    mean, square = _running(x)
    moved = inference_example_weighing(changed, mean, square) != inference_example_weighing(x, mean, square)
    assert moved[2, 3].all() and moved.sum() == 4


def test_nothing_given_is_written() -> None:
    x, (w, b) = random(4, 6, 3) + 1, _parameters()
    mean, square = _running(x)
    given = (x, w, b, mean, square)
    copies = [tensor.clone() for tensor in given]
    ghost_batch_norm(x, 2, 0, w, b)
    batch_group_norm(x, 2, 2, w, b)
    inference_example_weighing(x, mean, square, w, b)
    identity_parameters(x)
    assert all(identical(tensor, copy) for tensor, copy in zip(given, copies, strict=True))


def test_a_constant_leaves_as_beta() -> None:
    x, (_, b) = torch.full((4, 6, 2), 3.0, dtype=torch.float64), _parameters()
    expected = b[:, None].expand(4, 6, 2)
    _same(ghost_batch_norm(x, 2, bias=b), expected)
    _same(batch_group_norm(x, 2, 2, bias=b), expected)
    _same(batch_group_norm(random(1, 6), 1, 6, bias=b), b[None])  # one value in a group
    _same(inference_example_weighing(x, torch.full((6,), 3.0), torch.full((6,), 9.0), bias=b), expected)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (4, 4, 1, 2)], ids=str)
def test_gradcheck(shape: tuple[int, ...]) -> None:
    x, w, b = random(*shape).requires_grad_(), random(4, seed=1).requires_grad_(), random(4, seed=2).requires_grad_()
    mean, square = random(4, seed=3), random(4, seed=3) ** 2 + 1
    assert torch.autograd.gradcheck(lambda x, w, b: ghost_batch_norm(x, 2, 0, w, b, 0.1), (x, w, b))
    assert torch.autograd.gradcheck(lambda x, w, b: batch_group_norm(x, 2, 2, w, b, 0.1), (x, w, b))
    if len(shape) > 2:
        assert torch.autograd.gradcheck(
            lambda x, w, b: inference_example_weighing(x, mean, square, w, b, eps=0.1), (x, w, b)
        )


# --- sentences ----------------------------------------------------------------------------------------------------


def _ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ghost_batch_norm(_ones(17, 3), 16), "at least 2 samples in the last sub-batch; 17 samples"),
    (lambda: ghost_batch_norm(_ones(5, 3, 4), 2), "5 samples in sub-batches of 2 leave 1: choose another size"),
    (lambda: ghost_batch_norm(_ones(4, 3), 1), r"more than one value per channel .* shape \(4, 3\) .* of 1 has one"),
    (lambda: ghost_batch_norm(_ones(1, 3)), r"more than one value per channel .* shape \(1, 3\)"),
    (lambda: ghost_batch_norm(_ones(4, 3), 0), "a size of at least 1; received 0"),
    (lambda: ghost_batch_norm(_ones(4, 3), 2, weight=_ones(4)), r"needs weight of shape \(3,\) here; received \(4,\)"),
    (lambda: batch_group_norm(_ones(6, 8), 4), r"a batch_size that divides N; shape \(6, 8\) has N = 6, received 4"),
    (lambda: batch_group_norm(_ones(4, 6), 4, 4), r"num_groups that divides C; shape \(4, 6\) has C = 6, received 4"),
    (lambda: batch_group_norm(_ones(4, 6), 0), "received 0: choose a divisor of 4"),
    (lambda: batch_group_norm(_ones(4, 4), bias=_ones(1)), r"needs bias of shape \(4,\)"),
    (lambda: inference_example_weighing(_ones(4, 3), _ones(3), _ones(3)), r"at least 3 axes, .* received shape \(4, 3"),
    (lambda: inference_example_weighing(_ones(4, 3, 2)), "needs running_mean and running_sq: pass the running means"),
    (lambda: inference_example_weighing(_ones(4, 3, 2), _ones(3), _ones(2)), r"running_sq of shape \(3,\)"),
    (lambda: identity_parameters(_ones(1, 3)), "identity_parameters needs more than one value per channel"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
