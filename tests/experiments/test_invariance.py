"""What each normalization leaves unchanged, whom a value reaches, and which gradients vanish."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization import batch_norm, group_norm, instance_norm
from normviz.normalization.apply import expected_order
from tests.support.cases import (
    CASES,
    SHAPES,
    Case,
    apply_case,
    arguments_of,
    groups_of,
    per_group,
    plain,
    random,
    with_eps,
    with_groups,
)
from tests.support.comparison import identical


@pytest.mark.parametrize("eps", [1e-12, 0.5])
@pytest.mark.parametrize("case", plain(CASES), ids=str)
def test_each_group_leaves_with_mean_0_and_variance_v_over_v_plus_eps(case: Case, eps: float) -> None:
    x = random(*SHAPES[case.layout]) * 2 + 1
    groups = groups_of(case, x.shape)
    y = apply_case(case, x, eps)
    eps = eps if "eps" in with_eps(case, eps) else 0.0
    centered = case.method.scale == "std"
    mean = per_group(x, groups) if centered else torch.zeros(int(groups.max()) + 1, dtype=x.dtype)
    variance = per_group((x - mean[groups]).square(), groups)
    torch.testing.assert_close(per_group(y.square(), groups), variance / (variance + eps), rtol=1e-9, atol=1e-9)
    if centered:
        torch.testing.assert_close(per_group(y, groups), torch.zeros_like(variance), rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", with_groups(CASES), ids=str)
def test_locality_follows_the_axes_pattern(case: Case) -> None:
    """One value changes: outputs of its group move, no other does."""
    shape = SHAPES[case.layout]
    x = random(*shape)
    groups = groups_of(case, shape)
    channels = shape[2] if case.layout == "ntd" else shape[1]
    running = (torch.zeros(channels, dtype=x.dtype), torch.ones(channels, dtype=x.dtype))
    before = apply_case(case, x, running=running)
    for cell in (0, x.numel() // 2, x.numel() - 1):
        changed = x.clone()
        changed.view(-1)[cell] += 1.5
        after = apply_case(case, changed, running=running)
        mine = groups == groups.flatten()[cell]
        moved = (before - after).abs() > 1e-9
        assert moved.flatten()[cell]
        assert moved[mine].all() or case.method.scale not in ("std", "rms", "norm", "power")  # an extreme may stay one
        assert identical(before[~mine], after[~mine])


# --- what is shifted, and what cancels -------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [batch_norm, instance_norm, group_norm])
def test_a_spatial_shift_of_the_input_shifts_the_output(normalize: Callable[[Tensor], Tensor]) -> None:
    x, shift, maps = random(3, 8, 5, 6), (1, 2), (2, 3)
    torch.testing.assert_close(normalize(x.roll(shift, maps)), normalize(x).roll(shift, maps), rtol=1e-10, atol=1e-10)


def test_a_bias_before_batch_norm_cancels() -> None:
    x, weight = random(16, 8, dtype=torch.float32), random(4, 8, seed=1, dtype=torch.float32)
    bias = torch.zeros(4, requires_grad=True)
    loss = (batch_norm(F.linear(x, weight, bias)) * random(16, 4, seed=2, dtype=torch.float32)).sum()
    (gradient,) = torch.autograd.grad(loss, bias)
    assert gradient.abs().max() < 1e-5


# --- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradcheck(case: Case) -> None:
    shape = {"nc": (4, 4), "ntd": (2, 3, 4), "nchw": (2, 4, 1, 2), "ncdhw": (2, 4, 1, 1, 2)}[case.layout]
    x = random(*shape)
    x = (x.transpose(1, 2).contiguous() if case.channels_second else x).requires_grad_()
    arguments = arguments_of(case, x.detach())
    for name in ("weight", "bias"):
        if name in arguments:
            arguments[name].requires_grad_()
    tensors = [name for name, tensor in arguments.items() if tensor.requires_grad]
    settings = with_eps(case, 0.1)

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        given = arguments | dict(zip(tensors, parameters, strict=True))
        result: Tensor = case.method.function(x, **given, **settings)
        return result

    assert torch.autograd.gradcheck(function, (x, *(arguments[name] for name in tensors)))


# groups of more than two values: two leave as 1 and -1, whatever they were, and no gradient is left
LARGE = [case for case in plain(CASES) if case.layout != "nc" or not case.method.batch_order]


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_the_gradient_is_orthogonal_to_what_normalization_removes(case: Case) -> None:
    """Within each group: to x (no scale is left), and but for RMS to 1 (no mean is left). Exact as eps -> 0."""
    x = (random(*SHAPES[case.layout]) + 0.5).requires_grad_()
    groups = groups_of(case, SHAPES[case.layout])
    letters = expected_order(case.method, case.layout)
    settings = with_eps(case, 1e-12)
    y = case.method.function(x.permute([case.layout.index(letter) for letter in letters]), **settings)
    y = y.permute([letters.index(letter) for letter in case.layout])
    (gradient,) = torch.autograd.grad((y * random(*y.shape, seed=7)).sum(), x)
    assert gradient.abs().max() > 0.1
    assert per_group(gradient * x.detach(), groups).abs().max() < 1e-8
    to_one = per_group(gradient, groups).abs().max()
    assert to_one > 1e-2 if case.method.scale == "rms" else to_one < 1e-10
