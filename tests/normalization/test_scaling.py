"""Scaling of data against its definitions, PyTorch, and its identities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normviz.normalization.apply import apply
from normviz.normalization.methods.batch import batch_norm
from normviz.normalization.methods.scaling import (
    max_abs_scaling,
    min_max_scaling,
    robust_scaling,
    unit_length,
    z_score,
    zca_whitening,
)
from normviz.registry import get
from tests.reference.normalization import scaling as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(9, 4), (3, 5, 4), (3, 4, 2, 3), (2, 4, 2, 1, 3)]
PER_FEATURE: list[Callable[..., Tensor]] = [min_max_scaling, z_score, max_abs_scaling, robust_scaling]
EVERY: list[Callable[..., Tensor]] = [*PER_FEATURE, unit_length, zca_whitening]
each_feature = pytest.mark.parametrize("scale", PER_FEATURE, ids=lambda function: function.__name__)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def _same(actual: Tensor, expected: Tensor, within: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=within, atol=within)


def _features_last(x: Tensor) -> Tensor:
    """(N, T, D), or the features of (N, C, ...) moved to the end: (rows, features)."""
    return (x if x.ndim == 3 else x.movedim(1, -1)).flatten(0, -2)


# --- reference and oracles ----------------------------------------------------------------------------------------


@each_shape
@each_feature
@pytest.mark.parametrize("given", [False, True])
def test_agrees_with_the_reference(scale: Callable[..., Tensor], shape: tuple[int, ...], given: bool) -> None:
    x = random(*shape) * 2 + 1
    train = random(7, *shape[1:], seed=1) if given else None
    _same(scale(x, train), getattr(reference, scale.__name__)(x, train))


@each_shape
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_unit_length_agrees_with_the_reference_and_pytorch(shape: tuple[int, ...], eps: float) -> None:
    x = random(*shape) * 0.3
    x[0] *= 0.01
    _same(unit_length(x, eps), reference.unit_length(x, eps))
    _same(unit_length(x, eps), torch.nn.functional.normalize(x.flatten(1), eps=eps).view_as(x))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("given", [False, True])
def test_zca_agrees_with_the_reference(eps: float, given: bool) -> None:
    x, train = random(12, 4) @ random(4, 4, seed=2) + 3, random(9, 4, seed=1) if given else None
    _same(zca_whitening(x, train, eps), reference.zca_whitening(x, train, eps), 1e-9)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_min_max_ends_are_the_ends_of_the_range(low: float) -> None:
    x = random(50, 6, dtype=torch.float32) * 3 + 7
    y = min_max_scaling(x, low=low)
    torch.testing.assert_close(y.amin(0), torch.full((6,), low), rtol=0, atol=1e-6)
    torch.testing.assert_close(y.amax(0), torch.ones(6), rtol=0, atol=1e-6)
    _same(min_max_scaling(x.double(), low=low, high=4.0), reference.min_max_scaling(x, low=low, high=4.0))


@pytest.mark.parametrize("name", ["min_max_scaling", "z_score", "max_abs_scaling", "robust_scaling", "unit_length"])
def test_the_pytorch_expression_is_the_same(name: str) -> None:
    method, x = get(name, "normalization"), random(3, 4, 2, 5) + 1
    names = {"torch": torch, "F": torch.nn.functional, "x": x, **method.settings()}
    _same(method.function(x), eval(method.torch, names))


def test_the_pytorch_expression_of_zca_is_the_same() -> None:
    method, x = get("ZCA", "normalization"), random(9, 4) + 1
    _same(zca_whitening(x), eval(method.torch, {"torch": torch, "x": x, **method.settings()}), 1e-8)


@each_feature
def test_float32_far_from_zero(scale: Callable[..., Tensor]) -> None:
    """At a mean of 1e4 float32 resolves .001."""
    x = (random(40, 5) + 1e4).float()
    actual = scale(x)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), getattr(reference, scale.__name__)(x), rtol=0, atol=3e-3)


def test_zca_in_float32_far_from_zero() -> None:
    x = (random(40, 5) + 1e4).float()
    torch.testing.assert_close(zca_whitening(x).double(), reference.zca_whitening(x), rtol=0, atol=5e-3)


def test_float16_and_bfloat16_keep_their_type() -> None:
    x = random(20, 4, dtype=torch.float32) * 2 + 1
    for dtype in (torch.float16, torch.bfloat16):
        for scale in EVERY:
            y = scale(x.to(dtype))
            assert y.dtype == dtype
            torch.testing.assert_close(y.float(), scale(x.to(dtype).float()), rtol=0.01, atol=0.01)


# --- identities ---------------------------------------------------------------------------------------------------


@each_feature
def test_training_rows_decide_alone(scale: Callable[..., Tensor]) -> None:
    """Half of the rows is scaled as it is beside all others, and a training set that is `x` changes nothing."""
    x, train = random(10, 3) * 2 + 5, random(8, 3, seed=1)
    _same(scale(x[:4], train), scale(x, train)[:4])
    _same(scale(x, x.clone()), scale(x))
    assert (scale(x, train) - scale(x)).abs().max() > 0.1


@each_shape
def test_what_each_scaling_leaves_behind(shape: tuple[int, ...]) -> None:
    x = random(*shape) * 3 + 2
    rows = _features_last(z_score(x))
    _same(rows.mean(0), torch.zeros(4, dtype=x.dtype))
    _same(rows.square().mean(0), torch.ones(4, dtype=x.dtype))
    _same(_features_last(max_abs_scaling(x)).abs().amax(0), torch.ones(4, dtype=x.dtype))
    rows = _features_last(robust_scaling(x))
    quartiles = rows.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype), 0)
    _same(quartiles[1], torch.zeros(4, dtype=x.dtype))
    _same(quartiles[2] - quartiles[0], torch.ones(4, dtype=x.dtype))
    _same(unit_length(x).flatten(1).norm(dim=1), torch.ones(shape[0], dtype=x.dtype))


def test_z_score_is_batch_norm_without_epsilon() -> None:
    x = random(6, 4, 3, 2) * 2 + 3
    _same(z_score(x), batch_norm(x, eps=1e-14))


@each_feature
def test_units_do_not_matter(scale: Callable[..., Tensor]) -> None:
    """Metres or feet, the scaled column is the same; degrees Celsius or Fahrenheit, but for max-abs, too."""
    x = random(9, 3) + 2
    units = torch.tensor([0.3, 10.0, 1000.0], dtype=x.dtype)
    _same(scale(x * units), scale(x))
    shift = (scale(x + 5) - scale(x)).abs().max()
    assert shift > 0.1 if scale is max_abs_scaling else shift < 1e-10


def test_zca_makes_the_covariance_the_identity_and_changes_least() -> None:
    x = random(400, 5) @ random(5, 5, seed=1) + 4
    y = zca_whitening(x, eps=1e-12)
    identity = torch.eye(5, dtype=x.dtype)
    _same(y.mean(0), torch.zeros(5, dtype=x.dtype))
    _same(y.T @ y / len(y), identity, 1e-7)
    rotation = torch.linalg.qr(random(5, 5, seed=2)).Q
    centered = x - x.mean(0)
    assert (y - centered).square().sum() < (y @ rotation - centered).square().sum()  # any other whitening is farther
    _same(zca_whitening(y, eps=1e-12), y, 1e-6)  # what is white stays as it is


def test_zca_of_uncorrelated_columns_is_the_z_score() -> None:
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    x = signs * torch.tensor([3.0, 0.5], dtype=torch.float64) + 10
    _same(zca_whitening(x, eps=1e-12), z_score(x))


def test_zca_of_new_rows_uses_the_training_rows() -> None:
    x, train = random(6, 3), random(50, 3, seed=1)
    _same(zca_whitening(torch.cat([train, x]), train)[50:], zca_whitening(x, train))


def test_robust_scaling_hardly_notices_an_outlier() -> None:
    x = random(101, 1)
    spoiled = x.clone()
    spoiled[0] = 1e6
    change = {f.__name__: float((f(x) - f(spoiled))[1:].abs().mean()) for f in PER_FEATURE}
    assert change["robust_scaling"] < 0.05 < 0.3 < change["z_score"]


# --- edges --------------------------------------------------------------------------------------------------------


@each_shape
def test_a_feature_that_does_not_vary_has_a_result(shape: tuple[int, ...]) -> None:
    """.1 has no exact form in binary: a mean that is rounded must not turn rounding into a signal."""
    x = torch.full(shape, 0.1)
    assert identical(z_score(x), torch.zeros(shape))
    assert identical(robust_scaling(x), torch.zeros(shape))
    assert identical(min_max_scaling(x, low=-1.0), torch.full(shape, -1.0))
    assert identical(max_abs_scaling(x), torch.ones(shape))
    for scale in (*PER_FEATURE, unit_length):
        assert identical(scale(torch.zeros(shape)), torch.zeros(shape))
    _same(zca_whitening(torch.full((9, 4), 0.1)), torch.zeros(9, 4), 1e-4)


def test_a_feature_constant_in_training_gives_new_rows_no_scale() -> None:
    train, x = torch.full((5, 2), 0.0), random(4, 2)
    for scale in PER_FEATURE:
        assert identical(scale(x, train), torch.zeros_like(x))


def test_one_row_and_more_features_than_rows() -> None:
    x = random(1, 3)
    assert all(identical(scale(x), torch.zeros_like(x)) for scale in (min_max_scaling, z_score, robust_scaling))
    assert identical(max_abs_scaling(x), x.sign())
    assert torch.isfinite(zca_whitening(random(3, 8))).all() and identical(zca_whitening(x), torch.zeros_like(x))


@pytest.mark.parametrize("scale", [*PER_FEATURE, zca_whitening], ids=lambda function: function.__name__)
def test_gradcheck(scale: Callable[..., Tensor]) -> None:
    x, train = random(6, 3).requires_grad_(), random(7, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(scale, (x,))
    assert torch.autograd.gradcheck(scale, (x, train))


def test_gradients_of_unit_length_and_of_what_does_not_vary() -> None:
    assert torch.autograd.gradcheck(unit_length, (random(3, 4).requires_grad_(),))
    x = torch.ones(4, 2, requires_grad=True)
    for scale in (min_max_scaling, z_score, robust_scaling):
        (gradient,) = torch.autograd.grad(scale(x).sum(), x)
        assert identical(gradient, torch.zeros_like(x))


def test_locality_and_layouts_through_apply() -> None:
    """A sequence keeps its features last, a map has its channels second; one feature never moves another."""
    for layout, shape, feature in (("nc", (5, 3), 1), ("ntd", (4, 5, 3), 2), ("nchw", (4, 3, 2, 2), 1)):
        x = random(*shape)
        changed = x.clone()
        changed.select(feature, 1)[0] += 9.0
        for scale in PER_FEATURE:
            moved = apply(get(scale.__name__, "normalization"), changed, layout) != apply(
                get(scale.__name__, "normalization"), x, layout
            )
            assert moved.select(feature, 1).any()
            assert not moved.select(feature, 0).any() and not moved.select(feature, 2).any()
        moved = apply(get("unit_length", "normalization"), changed, layout) != apply(
            get("unit_length", "normalization"), x, layout
        )
        assert moved[0].all() and not moved[1:].any()


def test_nothing_given_is_written() -> None:
    x, train = random(5, 3), random(6, 3, seed=1)
    copies = x.clone(), train.clone()
    for scale in (*PER_FEATURE, zca_whitening):
        scale(x, train)
        scale(x)
    unit_length(x)
    assert identical(x, copies[0]) and identical(train, copies[1])


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: min_max_scaling(torch.ones(2, 3), low=1.0), "low below high; received 1 and 1"),
    (lambda: z_score(torch.ones(3)), r"z_score needs an input of at least 2 axes, .* received shape \(3,\)"),
    (lambda: z_score(torch.ones(2, 3).long()), "z_score needs floating-point values"),
    (lambda: robust_scaling(torch.ones(0, 3)), r"received the empty shape \(0, 3\)"),
    (lambda: z_score(torch.ones(2, 3), torch.ones(0, 3)), r"received the empty shape \(0, 3\)"),
    (lambda: max_abs_scaling(torch.ones(2, 3), torch.ones(2, 4)), r"with 3 features; .* received \(2, 4\)"),
    (lambda: min_max_scaling(torch.ones(2, 3), torch.ones(2, 3, 1)), r"in the layout of x.*received \(2, 3, 1\)"),
    (lambda: zca_whitening(torch.ones(2, 3, 1)), r"zca_whitening needs an input \(N, C\); received shape \(2, 3, 1\)"),
    (lambda: unit_length(torch.ones(3)), "unit_length needs an input of at least 2 axes"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_scaled_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_quartiles_lie_between_two_values() -> None:
    """Linear between its neighbors, as in numpy and pandas."""
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    _same(robust_scaling(x), (x - 3.0) / (5.0 - 1.75), 1e-6)
