"""Local response, local contrast and divisive normalization."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization.methods import local
from normviz.normalization.methods.local import divisive_norm, local_contrast_norm, local_response_norm
from tests.reference.normalization import local as reference
from tests.support.cases import random
from tests.support.comparison import identical


def _same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


CALLS: dict[str, tuple[Callable[..., Tensor], dict[str, object]]] = {
    "response": (local_response_norm, {"size": 3, "alpha": 0.1}),
    "response, another power": (local_response_norm, {"size": 5, "alpha": 0.3, "beta": 1.5, "k": 0.5}),
    "contrast": (local_contrast_norm, {"size": 3}),
    "contrast, a window wider than the map": (local_contrast_norm, {"size": 9, "eps": 0.5}),
    "centered": (local_contrast_norm, {"form": "centered", "size": 3, "channels": 3, "alpha": 0.2}),
    "divisive": (divisive_norm, {}),
    "divisive, another power": (divisive_norm, {"power": 1.5, "s": 0.3}),
}
each_call = pytest.mark.parametrize(("function", "settings"), CALLS.values(), ids=CALLS)


@each_call
def test_agrees_with_the_reference(function: Callable[..., Tensor], settings: dict[str, object]) -> None:
    x = random(2, 6, 5, 4) * 2 + 1
    slow = getattr(reference, function.__name__)
    _same(function(x, **settings), slow(x, **settings))
    if function is not local_contrast_norm:
        _same(function(x[..., 0], **settings), slow(x[..., 0], **settings))
        volume = x.view(2, 6, 5, 2, 2)
        _same(function(volume, **settings), slow(volume, **settings))
    if function is divisive_norm:
        weight, pool = random(6, seed=1), random(6, 6, seed=2).square()
        _same(function(x, weight, pool, **settings), slow(x, weight, pool, **settings))
        _same(function(x[:, :, 0, 0], weight, pool, **settings), slow(x[:, :, 0, 0], weight, pool, **settings))


@each_call
def test_float32_far_from_zero_and_bfloat16(function: Callable[..., Tensor], settings: dict[str, object]) -> None:
    slow = getattr(reference, function.__name__)
    far = (random(2, 6, 5, 4) + 1e4).float()
    expected = slow(far, **settings)
    assert function(far, **settings).dtype == torch.float32
    size = float(expected.abs().max())
    torch.testing.assert_close(function(far, **settings).double(), expected, rtol=0, atol=0.005 + 1e-6 * size)
    low = random(2, 6, 5, 4).bfloat16()
    assert function(low, **settings).dtype == torch.bfloat16
    torch.testing.assert_close(function(low, **settings).double(), slow(low, **settings), rtol=0.02, atol=0.02)


# --- local response normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5, 7, 31])
def test_local_response_norm_is_pytorchs_with_alpha_n_times_as_large(size: int) -> None:
    x = random(3, 8, 4, 5) * 2
    for beta in (0.75, 0.5, 1.0):
        _same(local_response_norm(x, size, 0.2, beta, 2.0), F.local_response_norm(x, size, size * 0.2, beta, 2.0))
    if size > 1:
        difference = local_response_norm(x, size, 0.2) - F.local_response_norm(x, size, 0.2, 0.75, 2.0)
        assert difference.abs().max() > 0.05


def test_local_response_norm_without_a_weight_is_the_identity() -> None:
    x = random(2, 8, 3, 3)
    _same(local_response_norm(x, alpha=0.0, k=1.0), x)
    _same(local_response_norm(x, beta=0.0), x)


def test_local_response_norm_in_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = random(5, 4, 3, 3)
    whole = local_response_norm(x)
    monkeypatch.setattr(local, "_CHUNK", 80)  # two examples of 36 values
    _same(local_response_norm(x), whole)


def test_a_value_reaches_the_window_around_its_channel_only() -> None:
    x = random(2, 8, 3, 3)
    changed = x.clone()
    changed[0, 3, 1, 1] += 1
    moved = local_response_norm(x, 3, 0.5) != local_response_norm(changed, 3, 0.5)
    expected = torch.zeros_like(moved)
    expected[0, 2:5, 1, 1] = True
    assert identical(moved, expected)


# --- local contrast normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3.0])
def test_local_contrast_of_a_constant_is_0(value: float) -> None:
    for dtype in (torch.float64, torch.float32):
        x = torch.full((2, 3, 12, 11), value, dtype=dtype)
        assert local_contrast_norm(x).abs().max() < 1e-3


def test_local_contrast_norm_does_not_mind_brightness_and_contrast() -> None:
    x = random(2, 3, 12, 11)
    _same(local_contrast_norm(3 * x + 7, eps=1e-12), local_contrast_norm(x, eps=1e-12))
    one = x[:1]
    _same(local_contrast_norm(torch.cat([one, 5 * x[1:]]))[:1], local_contrast_norm(one))  # each example for itself


def test_local_contrast_norm_evens_out_the_light() -> None:
    """A texture under light that grows to the right has the same contrast everywhere afterwards."""
    texture = random(1, 1, 40, 80)
    lit = (texture + 3) * torch.linspace(1, 10, 80, dtype=torch.float64)
    dark, bright = (local_contrast_norm(lit)[..., columns] for columns in (slice(20, 40), slice(60, 80)))
    assert lit[..., 60:].std() / lit[..., 20:40].std() > 1.8
    assert float(bright.std() / dark.std()) == pytest.approx(1, abs=0.35)
    assert abs(float(bright.mean() - dark.mean())) < 0.2


def test_the_centered_form_is_local_response_norm_where_local_means_are_0() -> None:
    board = (torch.arange(6)[:, None] + torch.arange(6)) % 2 * 2.0 - 1  # windows of 3 x 3 hold four or five of a sign
    x = random(1, 5, 1, 1).abs() * board.double()
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    centered = local_contrast_norm(x, 3, "centered", 3, 0.5)[inner]
    _same(centered, x[inner] / (2 + 0.5 * F.conv3d((x * 8 / 9).square()[:, None], torch.ones(1, 1, 3, 1, 1).double(),
          padding=(1, 0, 0))[:, 0][inner]) ** 0.75)  # fmt: skip
    assert (local_contrast_norm(x, 3, "centered", 3, 0.5) - local_response_norm(x, 3, 0.5)).abs().max() > 1e-3


# --- divisive normalization ---------------------------------------------------------------------------------------


def test_divisive_norm_reaches_half_at_s_and_saturates() -> None:
    x = torch.zeros(3, 4, dtype=torch.float64)
    x[:, 0] = torch.tensor([0.5, -0.5, 5000.0])
    y = divisive_norm(x, s=0.5)
    _same(y[:, 0], torch.tensor([0.5, -0.5, 1.0], dtype=torch.float64).where(x[:, 0] < 1, y[:, 0]))
    assert 0.999 < float(y[2, 0]) < 1 and not y[:, 1:].any()


def test_divisive_norm_is_weakened_by_the_pool_and_only_by_it() -> None:
    x, pool = random(2, 4, 3, 3), torch.eye(4, dtype=torch.float64)
    _same(divisive_norm(x, pool=torch.ones(4, 4, dtype=torch.float64)), divisive_norm(x))
    _same(divisive_norm(x, pool=pool), x.sign() * x.square() / (1 + x.square()))
    assert bool((divisive_norm(x).abs() <= divisive_norm(x, pool=pool).abs()).all())
    changed = x.clone()
    changed[0, 2, 1, 1] += 1
    moved = divisive_norm(x) != divisive_norm(changed)
    expected = torch.zeros_like(moved)
    expected[0, :, 1, 1] = True
    assert identical(moved, expected)


# --- gradients and sentences --------------------------------------------------------------------------------------


@each_call
def test_gradients(function: Callable[..., Tensor], settings: dict[str, object]) -> None:
    x = random(2, 4, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x, **settings), (x,))


def test_gradients_of_a_constant_are_numbers() -> None:
    x = torch.ones(1, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(local_contrast_norm(x).sum(), x)
    assert gradient.isfinite().all()


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: local_response_norm(torch.ones(1, 4, 2, 2), 4), "odd number of channels.*received 4: choose 3 or 5"),
    (lambda: local_response_norm(torch.ones(1, 4)), "local_response_norm needs an input of at least 3 axes"),
    (lambda: local_response_norm(torch.ones(1, 4, 2, 2), k=0.0), "k above 0; received 0.0001 and 0"),
    (lambda: local_contrast_norm(torch.ones(1, 4, 2, 2), 8), "odd size, .* received 8: choose 7 or 9"),
    (lambda: local_contrast_norm(torch.ones(1, 4, 2, 2), 9, "centered", 2), "odd number of channels"),
    (lambda: local_contrast_norm(torch.ones(1, 4, 2, 2, 2)), r"maps \(N, C, H, W\); received shape \(1, 4, 2, 2, 2\)"),
    (lambda: divisive_norm(torch.ones(2, 4), power=0.5), "power of at least 1 and s above 0; received 0.5 and 1"),
    (lambda: divisive_norm(torch.ones(2, 4), s=0.0), "received 2 and 0"),
    (lambda: divisive_norm(torch.ones(2, 4), pool=torch.ones(4)), r"pool of shape \(4, 4\) here; received \(4,\)"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
