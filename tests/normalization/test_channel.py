"""Filter response, switchable and global response normalization."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normviz.normalization.methods.batch import batch_norm
from normviz.normalization.methods.channel import (
    filter_response_norm,
    global_response_norm,
    group_norm,
    instance_norm,
    switchable_norm,
)
from normviz.normalization.methods.layer import layer_norm
from tests.reference import normalization as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(3, 4, 5), (3, 4, 2, 3), (2, 4, 2, 3, 2)]
PARAMETERS = {
    "filter_response_norm": (4, 4, 4),
    "switchable_norm": (4, 4, 3, 3),
    "global_response_norm": (4, 4),
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "filter_response_norm": filter_response_norm,
    "switchable_norm": switchable_norm,
    "global_response_norm": global_response_norm,
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_shape = pytest.mark.parametrize("shape", SHAPES)


def _parameters(name: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [random(size, seed=seed, dtype=dtype) for seed, size in enumerate(PARAMETERS[name], start=1)]


def _same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@each_shape
@each_function
def test_agrees_with_the_reference(name: str, shape: tuple[int, ...], eps: float) -> None:
    x, parameters = random(*shape) * 2 + 1, _parameters(name)
    slow = getattr(reference, name)
    _same(FUNCTIONS[name](x, eps=eps), slow(x, eps=eps))
    for given in range(1, len(parameters) + 1):
        arguments = [None] * (given - 1) + parameters[given - 1 :]
        _same(FUNCTIONS[name](x, *arguments, eps=eps), slow(x, *arguments, eps=eps))
        _same(FUNCTIONS[name](x, *parameters[:given], eps=eps), slow(x, *parameters[:given], eps=eps))


@each_function
def test_float32_far_from_zero(name: str) -> None:
    x, parameters = (random(3, 4, 5, 4) + 1e4).float(), _parameters(name, torch.float32)
    expected = getattr(reference, name)(x, *parameters)
    atol = 0.01 if name != "global_response_norm" else 0.01 * 2  # its results are as large as the input
    torch.testing.assert_close(FUNCTIONS[name](x, *parameters).double(), expected, rtol=0, atol=atol)


@each_function
def test_bfloat16_is_right_to_its_own_precision(name: str) -> None:
    x, parameters = random(3, 4, 5, 4).bfloat16(), _parameters(name, torch.bfloat16)
    actual = FUNCTIONS[name](x, *parameters)
    assert actual.dtype == torch.bfloat16
    expected = getattr(reference, name)(x, *parameters)
    torch.testing.assert_close(actual.double(), expected, rtol=0.02, atol=0.04)


# --- identities ---------------------------------------------------------------------------------------------------


@each_shape
def test_filter_response_norm_of_centered_maps_is_instance_norm(shape: tuple[int, ...]) -> None:
    x, weight, bias = random(*shape), random(4, seed=1), random(4, seed=2)
    centered = x - x.mean(tuple(range(2, x.ndim)), keepdim=True)
    _same(filter_response_norm(centered, weight, bias, eps=0.5), instance_norm(centered, weight, bias, eps=0.5))
    assert (filter_response_norm(x + 1) - instance_norm(x + 1)).abs().max() > 0.1


def test_a_threshold_is_a_floor_for_each_channel() -> None:
    x, threshold = random(2, 4, 3, 3), torch.tensor([-9.0, -0.5, 0.0, 9.0], dtype=torch.float64)
    y = filter_response_norm(x, threshold=threshold)
    _same(y[:, 0], filter_response_norm(x)[:, 0])
    _same(y[:, 2], filter_response_norm(x)[:, 2].relu())
    assert bool((y[:, 3] == 9).all())
    single = x[..., :1, :1]
    _same(filter_response_norm(single, eps=0.0), single.sign())


@pytest.mark.parametrize(("place", "other"), [(0, instance_norm), (1, layer_norm), (2, batch_norm)])
def test_switchable_norm_with_one_weight_only_is_that_norm(place: int, other: Callable[..., Tensor]) -> None:
    logits = torch.full((3,), -torch.inf, dtype=torch.float64)
    logits[place] = 0.0
    x = random(3, 4, 2, 5) * torch.arange(1, 5.0)[:, None, None] + random(3, 4, 1, 1, seed=3)
    _same(switchable_norm(x, None, None, logits, logits, eps=0.5), other(x, eps=0.5))
    mixed = switchable_norm(x, None, None, logits, None, eps=0.5)
    assert (mixed - other(x, eps=0.5)).abs().max() > 0.01


def test_equal_logits_are_the_default_and_a_common_shift_of_them_changes_nothing() -> None:
    x, logits = random(3, 4, 2, 5), random(3, seed=1)
    _same(switchable_norm(x), switchable_norm(x, None, None, torch.ones(3), torch.full((3,), -2.0)))
    _same(switchable_norm(x, None, None, logits), switchable_norm(x, None, None, logits + 5))


@each_shape
def test_global_response_norm_starts_as_the_identity(shape: tuple[int, ...]) -> None:
    x, zeros = random(*shape), torch.zeros(4, dtype=torch.float64)
    assert identical(global_response_norm(x), x) and identical(global_response_norm(x, zeros, zeros), x)
    assert global_response_norm(x).data_ptr() != x.data_ptr()


def test_global_response_norm_lets_strong_channels_grow() -> None:
    x = torch.ones(1, 3, 2, 2, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    y = global_response_norm(x, torch.ones(3, dtype=torch.float64), eps=1e-12)
    _same(y[0, :, 0, 0], torch.tensor([1.5, 4.0, 7.5], dtype=torch.float64))  # x (1 + x / 2), as G_c is 2 x_c


# --- who reads whom, gradients, sentences -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["filter_response_norm", "global_response_norm"])
def test_locality(name: str) -> None:
    """A value reaches its own map in FRN, the whole of its example in GRN."""
    x, weight = random(3, 4, 2, 3), torch.ones(4, dtype=torch.float64)
    changed = x.clone()
    changed[1, 2, 0, 0] += 1
    moved = FUNCTIONS[name](x, weight) != FUNCTIONS[name](changed, weight)
    expected = torch.zeros_like(moved)
    expected[(1, 2) if name == "filter_response_norm" else 1] = True
    assert identical(moved, expected)


@each_function
def test_gradients(name: str) -> None:
    x = random(2, 4, 2, 2).requires_grad_()
    parameters = [parameter.requires_grad_() for parameter in _parameters(name)]
    assert torch.autograd.gradcheck(lambda x, *rest: FUNCTIONS[name](x, *rest, eps=0.1), (x, *parameters))


def test_maps_of_three_dimensions() -> None:
    x = random(2, 6, 2, 3, 2) + 1
    _same(instance_norm(x), instance_norm(x.flatten(2)).view_as(x))
    _same(group_norm(x, 2), group_norm(x.flatten(2), 2).view_as(x))


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: filter_response_norm(torch.ones(2, 3)), r"filter_response_norm needs an input of at least 3 axes"),
    (
        lambda: filter_response_norm(torch.ones(2, 3, 4), threshold=torch.ones(2)),
        r"filter_response_norm needs threshold of shape \(3,\) here; received \(2,\)",
    ),
    (lambda: switchable_norm(torch.ones(2, 3, 1, 1)), "switchable_norm needs more than one position per sample"),
    (
        lambda: switchable_norm(torch.ones(2, 3, 4), mean_weights=torch.ones(2)),
        r"switchable_norm needs mean_weights of shape \(3,\) here; received \(2,\)",
    ),
    (lambda: global_response_norm(torch.ones(2, 3)), "global_response_norm needs an input of at least 3 axes"),
    (
        lambda: global_response_norm(torch.ones(2, 3, 4), torch.ones(4)),
        r"global_response_norm needs weight of shape \(3,\) here; received \(4,\)",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
