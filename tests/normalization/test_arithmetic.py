"""The norms that run in PyTorch's kernels agree with their written-out arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from normviz.normalization import (
    batch_norm,
    batch_norm_arithmetic,
    group_norm,
    group_norm_arithmetic,
    instance_norm,
    instance_norm_arithmetic,
    layer_norm,
    layer_norm_arithmetic,
    rms_norm,
)
from tests.support.cases import random


class Pair(NamedTuple):
    """A norm, its arithmetic, and the settings to compare them with."""

    kernel: Callable[..., Tensor]
    arithmetic: Callable[..., Tensor]
    settings: dict[str, Any]

    def affine(self, x: Tensor) -> dict[str, Tensor]:
        """A weight and a bias of the shape that the norm needs."""
        shape: tuple[int, ...] = (x.shape[1],)
        if self.kernel is layer_norm and not self.settings.get("per_position"):
            shape = tuple(x.shape[2:] if x.ndim == 3 else x.shape[1:])
        return {"weight": random(*shape, seed=1).to(x), "bias": random(*shape, seed=2).to(x)}


PAIRS = {
    "batch": Pair(batch_norm, batch_norm_arithmetic, {}),
    "instance": Pair(instance_norm, instance_norm_arithmetic, {}),
    "group": Pair(group_norm, group_norm_arithmetic, {"num_groups": 3}),
    "layer": Pair(layer_norm, layer_norm_arithmetic, {}),
    "pixel": Pair(layer_norm, layer_norm_arithmetic, {"per_position": True}),
}
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "standard": lambda x: x,
    "huge mean": lambda x: x + 1e4,
    "tiny": lambda x: x * 1e-12,
}
# half precision is compared after rounding, hence its wide tolerance; a mean of 1e4 costs four digits of float32
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 4e-3}
each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


@each_pair
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("values", INPUTS.values(), ids=INPUTS)
def test_a_kernel_agrees_with_the_arithmetic(
    pair: Pair, dtype: torch.dtype, values: Callable[[Tensor], Tensor]
) -> None:
    spread = 1e3 if values is INPUTS["huge mean"] and dtype.itemsize == 2 else 1  # half precision rounds 1e4 to tens
    x = values(random(5, 6, 4, 3) * spread).to(dtype)
    affine = pair.affine(x)
    ours, steps = (f(x, **affine, **pair.settings) for f in (pair.kernel, pair.arithmetic))
    assert ours.dtype == steps.dtype == dtype and ours.shape == steps.shape == x.shape
    tolerance = 1e-2 if dtype == torch.float32 and values is INPUTS["huge mean"] else TOLERANCE[dtype]
    torch.testing.assert_close(ours.double(), steps.double(), rtol=tolerance, atol=tolerance)


@each_pair
def test_a_kernel_agrees_in_channels_last_and_without_parameters(pair: Pair) -> None:
    x = random(5, 6, 4, 3, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pair.kernel(x, **pair.settings), pair.arithmetic(x, **pair.settings))


@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 7)], ids=str)
def test_batch_and_layer_norm_agree_on_rows_and_sequences(shape: tuple[int, ...]) -> None:
    x = random(*shape) + 2
    for pair in (PAIRS["batch"], PAIRS["layer"]):
        affine = pair.affine(x)
        torch.testing.assert_close(pair.kernel(x, **affine), pair.arithmetic(x, **affine))


def test_batch_norm_agrees_at_inference() -> None:
    x, mean, var = random(4, 3, 2, 2), random(3, seed=1), random(3, seed=2).exp()
    ours, steps = (f(x, mean, var, training=False) for f in (batch_norm, batch_norm_arithmetic))
    torch.testing.assert_close(ours, steps)


@each_pair
def test_first_and_second_gradients_agree(pair: Pair) -> None:
    x = random(3, 6, 2, 2).requires_grad_()
    affine = {name: tensor.requires_grad_() for name, tensor in pair.affine(x.detach()).items()}
    direction, results = random(3, 6, 2, 2, seed=3), []
    for f in (pair.kernel, pair.arithmetic):
        first = torch.autograd.grad((f(x, **affine, **pair.settings) * direction).sum(), x, create_graph=True)[0]
        second = torch.autograd.grad((first * first).sum(), [x, affine["weight"]])
        results.append((first, *second))
    for ours, steps in zip(*results, strict=True):
        torch.testing.assert_close(ours, steps, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e4])
def test_the_arithmetic_of_rms_norm_is_as_exact_as_the_kernel(scale: float) -> None:
    x = random(8, 5, 64, dtype=torch.float32) * scale
    exact = rms_norm(x.double())
    error, kernel_error = (
        (y.double() - exact).abs().max() / exact.abs().max()
        for y in (rms_norm(x), torch.nn.functional.rms_norm(x, (64,), eps=1e-6))
    )
    assert error <= 2 * kernel_error + torch.finfo(torch.float32).eps
