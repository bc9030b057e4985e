"""Lp and L2 normalization; layer norm and RMS norm in maps of three dimensions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from normviz.normalization.methods.layer import l2_norm, layer_norm, lp_norm, rms_norm
from tests.reference.normalization import layer as reference
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = [(4, 6), (2, 5, 6), (3, 6, 2, 4), (2, 6, 2, 3, 2)]


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape: tuple[int, ...], per_position: bool, eps: float) -> None:
    x = random(*shape) * 2 + 1
    x[0] *= 0.01  # small enough for eps = .5 to be the divisor
    normalized = shape[2:] if len(shape) == 3 else shape[1:2] if per_position else shape[1:]
    weight = random(*normalized, seed=1)
    for p in (1.0, 2.0, 3.5, 8.0):
        expected = reference.lp_norm(x, p, weight, per_position, eps)
        torch.testing.assert_close(lp_norm(x, p, weight, per_position, eps), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(l2_norm(x, eps), reference.l2_norm(x, eps), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_far_from_zero_and_bfloat16(shape: tuple[int, ...]) -> None:
    far, low = (random(*shape) + 1e4).float(), random(*shape).bfloat16()
    for p in (1.0, 2.0, 8.0):
        assert lp_norm(far, p).dtype == torch.float32 and lp_norm(low, p).dtype == torch.bfloat16
        torch.testing.assert_close(lp_norm(far, p).double(), reference.lp_norm(far, p), rtol=0, atol=1e-5)
        torch.testing.assert_close(lp_norm(low, p).double(), reference.lp_norm(low, p), rtol=0.02, atol=0.02)
    torch.testing.assert_close(l2_norm(far).double(), reference.l2_norm(far), rtol=0, atol=1e-6)
    torch.testing.assert_close(l2_norm(low).double(), reference.l2_norm(low), rtol=0.02, atol=0.01)


def test_p_2_is_rms_norm_and_l2_norm_is_it_over_the_root_of_the_width() -> None:
    for shape in SHAPES:
        x = random(*shape) + 1
        torch.testing.assert_close(lp_norm(x), rms_norm(x, eps=0.0), rtol=1e-10, atol=1e-10)
        width = shape[2] if len(shape) == 3 else shape[1]
        expected = rms_norm(x, per_position=True, eps=0.0) / math.sqrt(width)
        torch.testing.assert_close(l2_norm(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 7.5])
def test_agrees_with_normalize(p: float) -> None:
    x = random(4, 9) + 0.5
    torch.testing.assert_close(lp_norm(x, p), 9 ** (1 / p) * F.normalize(x, p, dim=1), rtol=1e-10, atol=1e-10)
    maps = random(2, 5, 3, 3)
    per_pixel = 5 ** (1 / p) * F.normalize(maps, p, dim=1)
    torch.testing.assert_close(lp_norm(maps, p, per_position=True), per_pixel, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(l2_norm(maps), F.normalize(maps, dim=1), rtol=1e-10, atol=1e-10)
    tokens = random(2, 3, 5)
    torch.testing.assert_close(l2_norm(tokens), F.normalize(tokens, dim=-1), rtol=1e-10, atol=1e-10)


def test_a_large_p_nearly_divides_by_the_largest_value() -> None:
    x = random(3, 8)
    largest = [float(lp_norm(x, p).abs().max()) for p in (1.0, 2.0, 4.0, 8.0)]
    assert largest == sorted(largest, reverse=True)
    assert 1 < largest[-1] < 8 ** (1 / 8)  # a mean power lies between the largest over D^(1/p), and the largest


def test_powers_stay_in_the_range_of_float32() -> None:
    """|x|^8 of 1e-8 and of 1e8 are no float32 numbers; the results are the same as at 1."""
    x = random(4, 16, dtype=torch.float32)
    for size in (1e-8, 1e8):
        torch.testing.assert_close(lp_norm(x * size, 8.0, eps=0.0), lp_norm(x, 8.0, eps=0.0), rtol=1e-5, atol=0)


def test_zeros_stay_zeros_in_every_type() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        x = torch.zeros(2, 6, dtype=dtype)
        for p in (1.0, 2.0, 3.0):
            assert identical(lp_norm(x, p), x)
        assert identical(l2_norm(x), x)


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (2, 6, 2, 2)])
def test_locality(shape: tuple[int, ...]) -> None:
    """A value changes only the results that share its statistic: its vector along the features."""
    x = random(*shape)
    changed = x.clone()
    changed[(0,) * x.ndim] += 1
    moved = l2_norm(x) != l2_norm(changed)
    assert int(moved.sum()) == 6 and identical(moved, lp_norm(x, 3.0, None, True) != lp_norm(changed, 3.0, None, True))
    assert moved.any(2 if x.ndim == 3 else 1).sum() == 1


def test_gradients() -> None:
    x, weight = random(2, 4, 1, 2).requires_grad_(), random(4, 1, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, weight: lp_norm(x, 3.0, weight, eps=0.1), (x, weight))
    assert torch.autograd.gradcheck(lambda x: lp_norm(x, 1.5, None, True, 2.0), (x,))
    assert torch.autograd.gradcheck(lambda x: l2_norm(x, 1.0), (x,))
    zeros = torch.zeros(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(l2_norm(zeros).sum(), zeros)
    assert gradient.isfinite().all()


def test_maps_of_three_dimensions() -> None:
    x = random(2, 6, 2, 3, 2) + 1
    for function in (layer_norm, rms_norm):
        whole = function(x.flatten(2)[:, :, None], eps=0.5).view_as(x)
        torch.testing.assert_close(function(x, eps=0.5), whole, rtol=1e-10, atol=1e-10)
        tokens = function(x.flatten(2).transpose(1, 2), eps=0.5).transpose(1, 2).view_as(x)
        torch.testing.assert_close(function(x, per_position=True, eps=0.5), tokens, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_normalized_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"lp_norm needs a power p of at least 1; received 0.5: p = 2 is RMS norm"):
        lp_norm(torch.ones(2, 3), 0.5)
    with pytest.raises(ValueError, match=r"lp_norm needs weight of shape \(3,\) here; received \(2,\)"):
        lp_norm(torch.ones(2, 3), weight=torch.ones(2))
    with pytest.raises(ValueError, match="l2_norm needs floating-point values; received"):
        l2_norm(torch.ones(2, 3).long())
