"""Batch normalization of sequences: padding, time steps, and the recurrent layers of the papers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.activations import padding_mask
from normviz.normalization.apply import apply
from normviz.normalization.methods.batch import batch_norm
from normviz.normalization.methods.recurrent import (
    batch_norm_lstm,
    batch_norm_lstm_cell,
    batch_norm_rnn,
    recurrent_batch_norm,
)
from normviz.registry import get
from tests.reference.normalization import recurrent as reference
from tests.support.cases import random
from tests.support.comparison import identical

MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], dtype=torch.bool)  # (4, 5)
each_eps = pytest.mark.parametrize("eps", [1e-5, 0.5])
each_way = pytest.mark.parametrize("per_step", [False, True])


def _same(actual: Tensor, expected: Tensor, within: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=within, atol=within)


# --- reference and oracles ----------------------------------------------------------------------------------------


@each_eps
@each_way
@pytest.mark.parametrize("mask", [None, MASK])
def test_agrees_with_the_reference(mask: Tensor | None, per_step: bool, eps: float) -> None:
    x, w, b = random(4, 5, 3) * 2 + 1, random(3, seed=1), random(3, seed=2)
    _same(
        recurrent_batch_norm(x, mask, w, b, per_step, eps), reference.recurrent_batch_norm(x, mask, w, b, per_step, eps)
    )
    u, v = random(4, 3, seed=3), random(4, 4, seed=4) * 0.5
    g, h = random(4, seed=5), random(4, seed=6)
    actual = batch_norm_rnn(x, u, v, mask, per_step, g, h, eps)
    _same(actual, reference.batch_norm_rnn(x, u, v, mask, per_step, g, h, eps))


@each_eps
@pytest.mark.parametrize("bias", [None, random(8, seed=3)])
def test_the_lstm_agrees_with_the_reference(bias: Tensor | None, eps: float) -> None:
    x, w, u = random(4, 5, 3), random(8, 3, seed=1), random(8, 2, seed=2)
    for gamma in (0.1, 1.0):
        actual = batch_norm_lstm(x, w, u, bias, gamma, eps)
        _same(actual, reference.batch_norm_lstm(x, w, u, bias, gamma, eps))


@each_way
@pytest.mark.parametrize("mask", [None, MASK])
def test_float32_far_from_zero_and_bfloat16(mask: Tensor | None, per_step: bool) -> None:
    x = (random(4, 5, 3) + 1e4).float()
    y = recurrent_batch_norm(x, mask, per_step=per_step)
    assert y.dtype == torch.float32
    expected = reference.recurrent_batch_norm(x, mask, per_step=per_step)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=0.02)
    x = random(4, 5, 3).bfloat16()
    y = recurrent_batch_norm(x, mask, per_step=per_step)
    assert y.dtype == torch.bfloat16
    expected = reference.recurrent_batch_norm(x, mask, per_step=per_step)
    torch.testing.assert_close(y.double(), expected, rtol=0.02, atol=0.04)


def test_the_kernel_sees_the_real_frames_alone() -> None:
    x = random(4, 5, 3) + 2
    y = recurrent_batch_norm(x, MASK, eps=0.5)
    _same(y[MASK], F.batch_norm(x[MASK], None, None, training=True, eps=0.5))
    assert identical(y[~MASK], torch.zeros_like(y[~MASK]))
    y = recurrent_batch_norm(x, MASK, per_step=True, eps=0.5)
    for t in range(4):
        _same(y[MASK[:, t], t], F.batch_norm(x[MASK[:, t], t], None, None, training=True, eps=0.5))
    _same(recurrent_batch_norm(x), F.batch_norm(x.transpose(1, 2), None, None, training=True).transpose(1, 2))


def test_the_pytorch_expression_is_the_same() -> None:
    method, x = get("recurrent_batch_norm", "normalization"), random(4, 5, 3) + 1
    names = {"F": F, "x": x, "weight": random(3, seed=1), "bias": None, **method.settings()}
    _same(method.function(x, weight=names["weight"]), eval(method.torch, names))


# --- identities ---------------------------------------------------------------------------------------------------


@each_way
def test_what_is_in_the_padding_does_not_matter(per_step: bool) -> None:
    x, w, b = random(4, 5, 3), random(3, seed=1), random(3, seed=2)
    clean = recurrent_batch_norm(x, MASK, w, b, per_step)
    for rubbish in (0.0, 1e6, float("nan")):
        spoiled = x.masked_fill(~MASK[..., None], rubbish)
        assert identical(recurrent_batch_norm(spoiled, MASK, w, b, per_step), clean)


@each_way
def test_masked_is_unpadded(per_step: bool) -> None:
    """A batch without padding, and the same batch with two padded steps behind it."""
    x = random(4, 3, 2) + 1
    longer = torch.cat([x, torch.zeros(4, 2, 2, dtype=x.dtype)], 1)
    mask = torch.tensor([True, True, True, False, False]).expand(4, 5)
    _same(recurrent_batch_norm(longer, mask, per_step=per_step)[:, :3], recurrent_batch_norm(x, per_step=per_step))
    _same(recurrent_batch_norm(x, torch.ones(4, 3, dtype=torch.bool), per_step=per_step),
          recurrent_batch_norm(x, per_step=per_step))  # fmt: skip
    weight, recurrent = random(3, 2, seed=1), random(3, 3, seed=2)
    _same(
        batch_norm_rnn(longer, weight, recurrent, mask, per_step)[:, :3],
        batch_norm_rnn(x, weight, recurrent, per_step=per_step),
    )


def test_counting_the_padding_shrinks_the_mean() -> None:
    """At 51 % padding a mean of 3.02 would become 1.47; with the mask the real frames have mean 0."""
    mask = padding_mask(64, 50, 0.51)
    x = (random(64, 50, 1) + 3).where(mask[..., None], 0)
    share = float(mask.double().mean())
    assert 0.4 < share < 0.6
    assert float(x.mean()) == pytest.approx(3 * share, abs=0.05)
    assert float(recurrent_batch_norm(x, mask)[mask].mean()) == pytest.approx(0, abs=1e-9)
    assert float(recurrent_batch_norm(x)[mask].mean()) > 0.5


def test_a_single_step_is_plain_batch_norm() -> None:
    x = random(6, 1, 3) + 2
    _same(recurrent_batch_norm(x, per_step=True)[:, 0], batch_norm(x[:, 0]))
    _same(recurrent_batch_norm(x)[:, 0], batch_norm(x[:, 0]))


def test_frame_wise_and_sequence_wise_differ_where_the_steps_do() -> None:
    x = random(8, 5, 3) + torch.arange(5, dtype=torch.float64)[:, None] * 3
    steps = recurrent_batch_norm(x, per_step=True).mean(0)
    _same(steps, torch.zeros_like(steps))
    assert (recurrent_batch_norm(x).mean(0)[:, 0].diff() > 0.3).all()


def test_without_the_norm_the_rnn_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normviz.normalization.methods.recurrent.recurrent_batch_norm", lambda z, *_: z)
    x, layer = random(4, 5, 3), nn.RNN(3, 2, bias=False, batch_first=True).double()
    weight, recurrent = (layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0"))
    _same(batch_norm_rnn(x, weight, recurrent), layer(x)[0])


def test_without_the_norm_the_lstm_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normviz.normalization.methods.recurrent.batch_norm", lambda z, eps: z)
    x, layer = random(4, 5, 3), nn.LSTM(3, 2, batch_first=True).double()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weight_ih, weight_hh, bias_ih, bias_hh = (layer.get_parameter(name) for name in names)
    _same(batch_norm_lstm(x, weight_ih, weight_hh, bias_ih + bias_hh, gamma=1.0), layer(x)[0])


def test_only_the_input_term_of_the_rnn_is_normalized() -> None:
    """W may be scaled at will, U may not; a bias before the norm cancels."""
    x, weight, recurrent = random(6, 4, 3), random(2, 3, seed=1), random(2, 2, seed=2)
    plain = batch_norm_rnn(x, weight, recurrent, eps=1e-12)
    _same(batch_norm_rnn(x, weight * 7, recurrent, eps=1e-12), plain)
    _same(batch_norm_rnn(x + 3, weight, recurrent, eps=1e-12), plain)
    assert (batch_norm_rnn(x, weight, recurrent * 2, eps=1e-12) - plain).abs().max() > 0.1


def test_both_products_of_the_lstm_are_normalized_and_the_cell_is_passed_on_bare() -> None:
    x, w, u = random(6, 4, 3), random(8, 3, seed=1), random(8, 2, seed=2)
    # eps is added to the variance of h, which starts at 0: from the second step on it decides nothing at 1e-12
    _same(batch_norm_lstm(x, w * 5, u * 9, eps=1e-12), batch_norm_lstm(x, w, u, eps=1e-12), 1e-6)
    h, c = random(6, 2, seed=3), random(6, 2, seed=4)
    closed = torch.tensor([-50.0, -50, 50, 50, 0, 0, 0, 0], dtype=x.dtype)  # nothing enters, all is kept
    _, kept = batch_norm_lstm_cell(x[:, 0], h, c, w, u, closed)
    _same(kept, c)


# --- locality and gradients ---------------------------------------------------------------------------------------


@each_way
def test_locality(per_step: bool) -> None:
    x = random(4, 5, 3)
    changed = x.clone()
    changed[1, 1, 2] += 1.5
    mask = {"mask": MASK}
    method = get("recurrent_batch_norm", "normalization")
    before, after = (apply(method, t, "ntd", sides=mask, per_step=per_step) for t in (x, changed))
    moved = before != after
    expected = torch.zeros_like(moved)
    expected[:, 1 if per_step else slice(None), 2] = True
    assert identical(moved, expected & MASK[..., None])


@each_way
def test_gradcheck(per_step: bool) -> None:
    x, w, b = random(4, 5, 2).requires_grad_(), random(2, seed=1).requires_grad_(), random(2, seed=2).requires_grad_()
    for mask in (None, MASK):
        assert torch.autograd.gradcheck(
            lambda x, w, b, mask=mask: recurrent_batch_norm(x, mask, w, b, per_step, 0.1), (x, w, b)
        )


def test_gradcheck_of_the_layers() -> None:
    x, w, u = random(4, 3, 2).requires_grad_(), random(3, 2, seed=1), random(3, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, u: batch_norm_rnn(x, w, u, eps=0.1), (x, u))
    w, u = random(8, 2, seed=1), random(8, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, u: batch_norm_lstm(x, w, u, eps=0.1), (x, u))


def test_nothing_given_is_written() -> None:
    x, mask, w, u = random(4, 5, 3), MASK.clone(), random(8, 3, seed=1), random(8, 2, seed=2)
    copies = [tensor.clone() for tensor in (x, mask, w, u)]
    for per_step in (False, True):
        recurrent_batch_norm(x, mask, per_step=per_step)
        batch_norm_rnn(x, w, random(8, 8), mask, per_step)
    batch_norm_lstm(x, w, u)
    assert all(identical(tensor, copy) for tensor, copy in zip((x, mask, w, u), copies, strict=True))


# --- sentences ----------------------------------------------------------------------------------------------------

LONE = torch.tensor([[True, True, True], [True, True, False]])


def _ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), LONE, per_step=True), r"step 2 of the batch of shape \(2, 3, 4\)"),
    (lambda: recurrent_batch_norm(_ones(1, 3, 4), per_step=True), r"step 0 of the batch .* add sequences, or set"),
    (lambda: recurrent_batch_norm(_ones(1, 1, 4)), r"more than one real frame .* the batch of shape \(1, 1, 4\)"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), ~_ones(2, 3).bool()), r"mask of shape \(2, 3\) has none"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), _ones(2, 3)), "a bool mask, true for real frames; received torch"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), LONE.T), r"needs mask of shape \(2, 3\) here; received \(3, 2\)"),
    (lambda: recurrent_batch_norm(_ones(2, 3)), "at least 3 axes"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4, 5)), r"an input \(N, T, D\); received shape \(2, 3, 4, 5\)"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), weight=_ones(3)), r"needs weight of shape \(4,\) here"),
    (lambda: recurrent_batch_norm(_ones(2, 3, 4), eps=0.0), "needs eps above 0; received 0"),
    (lambda: batch_norm_rnn(_ones(2, 3, 4), _ones(5, 3), _ones(5, 5)), r"weight of shape \(5, 4\) here; received \(5"),
    (lambda: batch_norm_rnn(_ones(2, 3, 4), _ones(5, 4), _ones(5, 4)), r"recurrent of shape \(5, 5\) here"),
    (lambda: batch_norm_lstm(_ones(2, 3, 4), _ones(8, 3), _ones(8, 2)), r"weight_ih of shape \(8, 4\) here"),
    (lambda: batch_norm_lstm(_ones(2, 3, 4), _ones(8, 4), _ones(6, 2)), r"weight_hh of shape \(8, 2\) here"),
    (lambda: batch_norm_lstm(_ones(2, 3, 4), _ones(8, 4), _ones(8, 2), _ones(2)), r"bias of shape \(8,\) here"),
    (lambda: batch_norm_lstm(_ones(1, 3, 4), _ones(8, 4), _ones(8, 2)), "more than one value per channel"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
