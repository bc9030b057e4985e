"""What each normalization leaves unchanged, whom a value reaches, and which gradients vanish."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.normalization import batch_norm, group_norm, instance_norm
from tests.cases import (
    CASES,
    SHAPES,
    Case,
    apply_case,
    arguments_of,
    groups_of,
    input_of,
    per_group,
    random,
    with_statistics,
)


@pytest.mark.parametrize("eps", [1e-12, 0.5])
@pytest.mark.parametrize("case", with_statistics(CASES), ids=str)
def test_each_group_leaves_with_mean_0_and_variance_v_over_v_plus_eps(case: Case, eps: float) -> None:
    x = random(*SHAPES[case.layout]) * 2 + 1
    groups = groups_of(case, x.shape)
    y = apply_case(case, x, eps)
    mean = per_group(x, groups) if case.name != "rms_norm" else torch.zeros(int(groups.max()) + 1, dtype=x.dtype)
    variance = per_group((x - mean[groups]).square(), groups)
    torch.testing.assert_close(per_group(y.square(), groups), variance / (variance + eps), rtol=1e-9, atol=1e-9)
    if case.name != "rms_norm":
        torch.testing.assert_close(per_group(y, groups), torch.zeros_like(variance), rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_locality_follows_the_axes_pattern(case: Case) -> None:
    """One value changes: all outputs of its group move, no other does."""
    shape = SHAPES[case.layout]
    x = random(*shape)
    groups = groups_of(case, shape) if case.pattern else torch.arange(x.numel()).view(shape)  # alone where none share
    channels = shape[2] if case.layout == "ntd" else shape[1]
    running = (torch.zeros(channels, dtype=x.dtype), torch.ones(channels, dtype=x.dtype))
    before = apply_case(case, x, running=running)
    for cell in (0, x.numel() // 2, x.numel() - 1):
        changed = x.clone()
        changed.view(-1)[cell] += 1.5
        after = apply_case(case, changed, running=running)
        mine = groups == groups.flatten()[cell]
        assert mine.any() and ((before - after).abs() > 1e-9)[mine].all()
        assert torch.equal(before[~mine], after[~mine])


# --- invariances --------------------------------------------------------------------------------------------------

COLUMNS = (
    "W x delta", "W + 1 gamma^T", "row x delta", "row + gamma^T",
    "data x delta", "data + c", "one case x delta", "permute batch", "neighbour changed",
)  # fmt: skip


# Which outputs stay as they are (1) under the changes in COLUMNS, for y = norm(W x) at eps 1e-12.
BATCH, POSITION, EXAMPLE, CHANNEL, FIXED = "101011010", "110010111", "100010111", "101011111", "000000011"
ROWS: list[tuple[Case, str]] = [
    (Case("batch_norm", "nc", {}), BATCH),
    (Case("batch_norm", "ntd", {}), BATCH),
    (Case("batch_norm", "nchw", {}), BATCH),
    (Case("layer_norm", "nc", {}), POSITION),
    (Case("layer_norm", "ntd", {}), POSITION),
    (Case("layer_norm", "nchw", {"per_position": True}), POSITION),
    (Case("group_norm", "nc", {"num_groups": 1}), POSITION),
    (Case("layer_norm", "nchw", {}), EXAMPLE),
    (Case("group_norm", "nchw", {"num_groups": 3}), EXAMPLE),
    (Case("rms_norm", "nc", {}), EXAMPLE),
    (Case("rms_norm", "ntd", {}), EXAMPLE),
    (Case("rms_norm", "nchw", {}), EXAMPLE),
    (Case("rms_norm", "nchw", {"per_position": True}), EXAMPLE),
    (Case("instance_norm", "nchw", {}), CHANNEL),
    (Case("instance_norm", "ntd", {}), CHANNEL),
    (Case("group_norm", "nchw", {"num_groups": 6}), CHANNEL),
    (Case("batch_norm", "nc", {"training": False}), FIXED),
    (Case("batch_norm", "nchw", {"training": False}), FIXED),
]


def _linear(layout: str, weight: Tensor, x: Tensor) -> Tensor:
    """W x: a dense layer on the features, or on maps a convolution without padding."""
    if layout != "nchw":
        return x @ weight.T  # (N, 6) or (N, T, 6)
    return F.conv2d(x, weight.view(6, 4, 1, 1).expand(6, 4, 2, 2) * random(1, 1, 2, 2, seed=9).exp())  # (N, 6, h, w)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(("case", "marks"), ROWS, ids=str)
def test_invariances(case: Case, marks: str, column: str) -> None:
    shape = {"nc": (5, 4), "ntd": (5, 3, 4), "nchw": (5, 4, 4, 5)}[case.layout]
    weight, x, delta = random(6, 4, seed=1), random(*shape, seed=2), 2.5
    gamma, c = random(4, seed=3), 0.7
    order = torch.tensor([3, 0, 4, 1, 2])
    running = (random(6, seed=4), random(6, seed=5).exp())

    def output(weight: Tensor, x: Tensor) -> Tensor:
        return apply_case(case, _linear(case.layout, weight, x), 1e-12, running)

    def first(value: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed[:1], value[1:]])

    def neighbour_changed() -> Tensor:
        return first(output(weight, x), output(weight, first(x**2, x)))

    changed: dict[str, Callable[[], Tensor]] = {
        "W x delta": lambda: output(weight * delta, x),
        "W + 1 gamma^T": lambda: output(weight + gamma, x),
        "row x delta": lambda: output(first(weight, weight * delta), x),
        "row + gamma^T": lambda: output(first(weight, weight + gamma), x),
        "data x delta": lambda: output(weight, x * delta),
        "data + c": lambda: output(weight, x + c),
        "one case x delta": lambda: output(weight, first(x, x * delta)),
        "permute batch": lambda: output(weight, x[order])[order.argsort()],
        "neighbour changed": neighbour_changed,
    }
    before, after = output(weight, x), changed[column]()
    change = float((after - before).abs().max())
    if marks[COLUMNS.index(column)] == "1":
        assert change < 1e-6
    else:
        assert change > 1e-2


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
    shape = {"nc": (3, 4), "ntd": (2, 4, 3), "nchw": (2, 4, 1, 2)}[case.layout]
    x = random(*shape).requires_grad_()
    arguments = arguments_of(case, x)
    for name in ("weight", "bias"):
        if name in arguments:
            arguments[name].requires_grad_()
    tensors = [name for name, tensor in arguments.items() if tensor.requires_grad]

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        given = arguments | dict(zip(tensors, parameters, strict=True))
        result: Tensor = case.method.function(x, **given, **case.settings, eps=0.1)
        return result

    assert torch.autograd.gradcheck(function, (x, *(arguments[name] for name in tensors)))


@pytest.mark.parametrize("case", with_statistics(CASES), ids=str)
def test_the_gradient_is_orthogonal_to_what_normalization_removes(case: Case) -> None:
    """Within each group: to x (no scale is left), and but for RMS to 1 (no mean is left). Exact as eps -> 0."""
    x, groups = input_of(case, mean=0.5).requires_grad_(), groups_of(case, SHAPES[case.layout])
    groups = groups.transpose(1, 2) if case.channels_second else groups
    y = case.method.function(x, **case.settings, eps=1e-12)
    (gradient,) = torch.autograd.grad((y * random(*y.shape, seed=7)).sum(), x)
    assert gradient.abs().max() > 0.1
    assert per_group(gradient * x.detach(), groups).abs().max() < 1e-8
    to_one = per_group(gradient, groups).abs().max()
    assert to_one > 1e-2 if case.name == "rms_norm" else to_one < 1e-10
