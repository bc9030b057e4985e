"""The normalizations against slow references, PyTorch's kernels, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.normalization import (
    apply,
    batch_norm,
    divisors,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
    running_statistics,
)
from normviz.registry import get
from tests.reference import normalization as reference
from tests.support.cases import (  # fmt: skip
    CASES,
    SHAPES,
    Case,
    apply_case,
    arguments_of,
    input_of,
    plain,
    random,
    sides_of,
    with_eps,
)
from tests.support.comparison import identical


def _same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def _cast(arguments: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in arguments.items()}


# --- references and oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_the_reference(case: Case, eps: float) -> None:
    x = input_of(case, mean=1, scale=2)
    arguments, settings = arguments_of(case, x), with_eps(case, eps)
    expected = getattr(reference, case.name)(x, **arguments, **settings)
    actual = case.method.function(x, **arguments, **settings)
    _same(actual, expected)


# Eq. 3 of Summers & Dinneen keeps E[x^2] itself, which float32 cannot at 1e4; whitening six rows of six features
# divides by the smallest variance of all.
FAR = [case for case in CASES if case.name not in ("inference_example_weighing", "zca_whitening")]


@pytest.mark.parametrize("case", FAR, ids=str)
def test_float32_far_from_zero(case: Case) -> None:
    """At a mean of 1e4 float32 resolves .001: E[x^2] - E[x]^2 would be off by more than 1."""
    x = input_of(case, mean=1e4).float()
    arguments = _cast(arguments_of(case, x), torch.float32)
    if "running_mean" in arguments:
        arguments["running_mean"] += 1e4
    expected = getattr(reference, case.name)(x, **arguments, **case.settings)
    actual = case.method.function(x, **arguments, **case.settings)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bfloat16_is_right_to_its_own_precision(case: Case) -> None:
    x = input_of(case).bfloat16()
    arguments = _cast(arguments_of(case, x), torch.bfloat16)
    expected = getattr(reference, case.name)(x, **arguments, **case.settings)
    actual = case.method.function(x, **arguments, **case.settings)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.double(), expected, rtol=0.02, atol=0.04)


@pytest.mark.parametrize("shape", [(4, 6), (3, 6, 5), (3, 6, 2, 4), (2, 6, 2, 3, 2)])
def test_channelwise_methods_agree_with_pytorch_at_any_rank(shape: tuple[int, ...]) -> None:
    x, w, b = random(*shape) + 3, random(6, seed=1), random(6, seed=2)
    mean, var = random(6, seed=3), random(6, seed=4).exp()
    for eps in (1e-12, 1e-5, 0.5):
        _same(batch_norm(x, weight=w, bias=b, eps=eps), F.batch_norm(x, None, None, w, b, training=True, eps=eps))
        _same(batch_norm(x, mean, var, w, b, training=False, eps=eps), F.batch_norm(x, mean, var, w, b, eps=eps))
        for groups in divisors(6):
            _same(group_norm(x, groups, w, b, eps=eps), F.group_norm(x, groups, w, b, eps=eps))
        if len(shape) > 2:
            _same(instance_norm(x, w, b, eps=eps), F.instance_norm(x, weight=w, bias=b, eps=eps))


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_layer_methods_agree_with_pytorch(name: str) -> None:
    function, kernel = get(name).function, getattr(F, name)
    for shape, normalized in [
        ((4, 6), (6,)),
        ((3, 5, 6), (6,)),
        ((3, 6, 2, 4), (6, 2, 4)),
        ((2, 6, 2, 3, 2), (6, 2, 3, 2)),
    ]:
        x, weight = random(*shape) + 3, random(*normalized, seed=1)
        for eps in (1e-5, 0.5):
            _same(function(x, weight, eps=eps), kernel(x, normalized, weight, eps=eps))
    x, weight = random(3, 6, 2, 4) + 3, random(6, seed=1)
    expected = kernel(x.permute(0, 2, 3, 1), (6,), weight, eps=0.5).permute(0, 3, 1, 2)
    _same(function(x, weight, per_position=True, eps=0.5), expected)


def test_the_defaults_of_epsilon() -> None:
    x = random(4, 6) * 1e-3  # small enough for epsilon to show
    torch.testing.assert_close(layer_norm(x), F.layer_norm(x, (6,), eps=1e-5), rtol=1e-10, atol=0)
    torch.testing.assert_close(rms_norm(x), F.rms_norm(x, (6,), eps=1e-6), rtol=1e-10, atol=0)
    assert float(rms_norm(x).square().mean()) < 0.6  # F.rms_norm(eps=None) would leave 1


# --- identities ---------------------------------------------------------------------------------------------------


def test_group_norm_joins_layer_norm_and_instance_norm() -> None:
    x = random(3, 6, 4, 5) * torch.arange(1, 7.0, dtype=torch.float64)[:, None, None] + 2
    _same(group_norm(x, 1), layer_norm(x))
    _same(group_norm(x, 6), instance_norm(x))
    distance = [float((group_norm(x, groups) - instance_norm(x)).square().mean()) for groups in divisors(6)]
    assert distance == sorted(distance, reverse=True) and distance[0] > 0.1 > 1e-20 > distance[-1]


def test_affine_of_group_norm_is_per_channel_and_of_layer_norm_per_element() -> None:
    x, w = random(2, 4, 3, 3), random(4, seed=1)
    everywhere = w[:, None, None].expand(4, 3, 3)
    _same(group_norm(x, 1, w), layer_norm(x, everywhere))
    with pytest.raises(ValueError, match=r"layer_norm needs weight of shape \(4, 3, 3\) here; received \(4,\)"):
        layer_norm(x, w)


def test_batch_norm_of_one_example_is_instance_norm() -> None:
    x = random(1, 6, 4, 5) + 2
    _same(batch_norm(x), instance_norm(x))


def test_rms_norm_is_layer_norm_where_the_mean_is_zero() -> None:
    x = random(4, 3, 8)
    centered = x - x.mean(-1, keepdim=True)
    _same(rms_norm(centered, eps=0.5), layer_norm(centered, eps=0.5))
    assert (rms_norm(x) - layer_norm(x)).abs().max() > 0.1


def test_rms_norm_departs_from_layer_norm_as_the_mean_grows() -> None:
    z = random(1, 100_000)
    for mean in (0.5, 1.0, 3.0):
        cosine = F.cosine_similarity(rms_norm(z + mean), layer_norm(z + mean)).item()
        assert cosine == pytest.approx(1 / math.sqrt(1 + mean**2), abs=0.01)


def test_rms_norm_is_unit_length_times_root_d() -> None:
    x = random(4, 9)
    _same(rms_norm(x, eps=1e-12), F.normalize(x, dim=1) * 3)


def test_per_position_is_per_token() -> None:
    x = random(2, 6, 3, 4) + 1
    tokens = x.flatten(2).transpose(1, 2)  # (N, H W, C)
    for function in (layer_norm, rms_norm):
        expected = function(tokens).transpose(1, 2).reshape(x.shape)
        _same(function(x, per_position=True), expected)


def test_inference_with_the_batch_statistics_is_training() -> None:
    x = random(4, 6, 3, 3) * 2 + 5
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    _same(batch_norm(x, mean, variance, training=False), batch_norm(x))


def test_batch_norm_at_inference_folds_into_a_convolution() -> None:
    x, kernel = random(2, 3, 6, 6), random(4, 3, 3, 3, seed=1)
    mean, var, w, b = (random(4, seed=s) for s in (2, 3, 4, 5))
    scale = w / (var.exp() + 1e-5).sqrt()
    folded = F.conv2d(x, kernel * scale[:, None, None, None], b - mean * scale)
    actual = batch_norm(F.conv2d(x, kernel), mean, var.exp(), w, b, training=False)
    _same(actual, folded)


# --- state goes in and comes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (4, 6, 3, 5)])
def test_running_statistics_follow_batch_norm_modules(shape: tuple[int, ...]) -> None:
    module = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](6, momentum=0.3).double()
    mean, var = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    for step in range(5):
        x = random(*shape, seed=step) * 3 + 10
        module(x)
        expected = reference.running_statistics(x, mean, var, momentum=0.3)
        mean, var = running_statistics(x, mean, var, momentum=0.3)
        _same((mean, var), expected)
        _same(mean, module.running_mean)
        _same(var, module.running_var)
    module.eval()
    _same(batch_norm(x, mean, var, training=False), module(x))


def test_the_running_mean_lags_by_the_power_of_its_weight() -> None:
    mean, var = torch.zeros(2), torch.ones(2)
    x = torch.tensor([[9.0, 8.0], [11.0, 12.0]])  # means 10 and 10, unbiased variances 2 and 8
    for _ in range(22):
        mean, var = running_statistics(x, mean, var)
    assert mean.tolist() == pytest.approx([10 * (1 - 0.9**22)] * 2)
    assert var.tolist() == pytest.approx([2 - 0.9**22, 8 - 7 * 0.9**22])


@pytest.mark.parametrize("training", [True, False])
def test_nothing_given_is_written(training: bool) -> None:
    x, mean, var = random(4, 6, 3, 3) + 2, random(6, seed=1), random(6, seed=2).exp()
    copies = x.clone(), mean.clone(), var.clone()
    batch_norm(x, mean, var, training=training)
    apply(get("batch_norm", "normalization"), x, "nchw", 2.0, 1.0, running=(mean, var), training=training)
    running_statistics(x, mean, var)
    assert all(identical(a, b) for a, b in zip((x, mean, var), copies, strict=True))


# --- apply --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_apply_moves_the_axes_scales_and_shifts(case: Case) -> None:
    x = random(*SHAPES[case.layout]) + 1
    copy = x.clone()
    running = (torch.full((6,), 0.5, dtype=x.dtype), torch.full((6,), 2.0, dtype=x.dtype))
    known = {"running_mean": running[0], "running_var": running[1], "running_sq": running[1] + 0.25}
    state: dict[str, Tensor] = {**known, **sides_of(x)}
    beta = -1.5 if case.method.takes("bias") else 0.0
    gamma = 2.0 if case.method.takes("weight") else 1.0
    affine = {"weight": torch.full((6,), gamma, dtype=x.dtype), "bias": torch.full((6,), beta, dtype=x.dtype)}
    inside = {} if case.method.scale else affine  # what is no scaled and shifted x takes them as its own arguments
    given = {name: tensor for name, tensor in (state | inside).items() if case.method.takes(name)}
    given = {k: t.transpose(1, 2) if case.channels_second and k == "style" else t for k, t in given.items()}
    settings = with_eps(case, 0.5)
    expected = case.method.function(x.transpose(1, 2) if case.channels_second else x, **given, **settings)
    expected = expected.transpose(1, 2) if case.channels_second else expected
    y = apply_case(case, x, 0.5, running, gamma, beta)
    _same(y, gamma * expected + beta if case.method.scale else expected)
    assert identical(x, copy)


def test_apply_refuses_what_the_method_does_not_have() -> None:
    x = random(4, 6)
    refused: list[tuple[str, Callable[[], Tensor]]] = [
        (
            "rms_norm has no beta; leave it at 0, received 1",
            lambda: apply(get("rms_norm", "normalization"), x, "nc", 1.0, 1.0),
        ),
        ("layer_norm has no knob 'groups'", lambda: apply(get("layer_norm", "normalization"), x, "nc", groups=2)),
        ("eps must be a number from 1e-12 to 1", lambda: apply(get("layer_norm", "normalization"), x, "nc", eps=2.0)),
        (
            r"the layout nchw needs 4 axes; received shape \(4, 6\)",
            lambda: apply(get("layer_norm", "normalization"), x, "nchw"),
        ),
        (
            r"instance_norm takes inputs \(N, T, D\) or .*; received \(N, C\)",
            lambda: apply(get("instance_norm", "normalization"), x, "nc"),
        ),
        ("weight_norm acts on weights, not on a tensor", lambda: apply(get("weight_norm", "normalization"), x, "nc")),
    ]
    for sentence, call in refused:
        with pytest.raises(ValueError, match=sentence):
            call()


# --- sentences ----------------------------------------------------------------------------------------------------


def _ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: batch_norm(_ones(1, 3)), r"more than one value per channel .* shape \(1, 3\) has one: add samples"),
    (lambda: batch_norm(_ones(1, 3, 1, 1)), r"shape \(1, 3, 1, 1\) has one"),
    (lambda: batch_norm(_ones(2, 3), eps=0.0), "needs eps above 0; received 0"),
    (lambda: batch_norm(_ones(2, 3), training=False), "needs running_mean and running_var"),
    (lambda: batch_norm(_ones(2, 3), _ones(4), _ones(3)), r"running_mean of shape \(3,\) here; received \(4,\)"),
    (lambda: batch_norm(_ones(3)), r"at least 2 axes, \(N, C\); received shape \(3,\)"),
    (lambda: running_statistics(_ones(1, 3), _ones(3), _ones(3)), "running_statistics needs more than one value"),
    (lambda: running_statistics(_ones(2, 3), _ones(3), _ones(3), 2.0), "momentum.* received 2"),
    (lambda: layer_norm(_ones(2, 3).long()), "floating-point values; received torch.int64"),
    (lambda: rms_norm(_ones(0, 3)), r"received the empty shape \(0, 3\)"),
    (lambda: rms_norm(_ones(2, 3), _ones(2)), r"rms_norm needs weight of shape \(3,\) here; received \(2,\)"),
    (lambda: group_norm(_ones(2, 12, 2, 2)), r"12 channels \(shape \(2, 12, 2, 2\)\) cannot be split into 8 groups"),
    (lambda: group_norm(_ones(2, 12)), r"choose one of 1, 2, 3, 4, 6, 12$"),
    (lambda: group_norm(_ones(2, 4), 0), "into 0 groups: choose one of 1, 2, 4$"),
    (lambda: instance_norm(_ones(2, 4)), r"at least 3 axes, \(N, C, L\) or \(N, C, H, W\); received shape \(2, 4\)"),
    (lambda: instance_norm(_ones(2, 4, 1, 1)), "more than one position per sample and channel"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_normalized_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("case", plain(CASES), ids=str)
def test_a_constant_input_leaves_as_0_or_1(case: Case) -> None:
    constant = torch.full(SHAPES[case.layout], 3.0)
    y = apply_case(case, constant)
    expected = torch.full_like(y, 1.0 if case.method.scale == "rms" else 0.0)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-4)


def test_a_group_of_one_value_leaves_as_beta() -> None:
    x, bias = random(1, 6), random(6, seed=1)
    torch.testing.assert_close(group_norm(x, 6, None, bias), bias[None], rtol=0, atol=1e-9)


def test_divisors() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert divisors(1) == [1] and divisors(7) == [1, 7]
