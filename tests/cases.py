"""Every registered normalization with the settings and layouts in which the tests run it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from normviz.normalization import apply
from normviz.normalization.statistics import group_index, sizes
from normviz.registry import Method, Value, get, methods


class Case(NamedTuple):
    """A method with the settings and the layouts in which a test runs it."""

    name: str
    layout: str
    settings: dict[str, Value]

    @property
    def method(self) -> Method:
        return get(self.name, "normalization")

    @property
    def pattern(self) -> str | None:
        return self.method.pattern(self.layout, self.settings)

    @property
    def channels_second(self) -> bool:
        """Whether the method wants (N, D, T) for a sequence (N, T, D)."""
        return self.layout == "ntd" and self.name not in ("layer_norm", "rms_norm")

    def __str__(self) -> str:
        return "-".join([self.name, self.layout, *(f"{key}={value}" for key, value in self.settings.items())])


SHAPES = {"nc": (5, 6), "ntd": (2, 5, 6), "nchw": (3, 6, 2, 4)}


def _cases() -> list[Case]:
    """Every registered normalization in every layout, with every condition in its axes."""
    cases = []
    for method in methods("normalization"):
        base: dict[str, Value] = {"num_groups": 2} if method.takes("num_groups") else {}
        for layout in method.layouts():
            conditions = {key.partition(" ")[2] for key in method.axes if key.split(" ")[0] == layout} - {""}
            switches = [{}] if not conditions else [{name: on} for name in conditions for on in (True, False)]
            cases += [Case(method.name, layout, {**base, **switch}) for switch in switches]
    return cases


CASES = _cases()


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def arguments_of(case: Case, x: Tensor) -> dict[str, Any]:
    """Random weight, bias and running statistics of the right shapes, as far as the method takes them."""
    layer = case.pattern if case.name in ("layer_norm", "rms_norm") else None
    shape = x.shape[1:2]
    if layer is not None:
        shape = {"n": x.shape[1:], "n t": x.shape[2:], "n h w": x.shape[1:2]}[layer.split("-> ")[1]]
    drawn = {
        "weight": random(*shape, seed=1),
        "bias": random(*shape, seed=2),
        "running_mean": random(x.shape[1], seed=3),
        "running_var": random(x.shape[1], seed=4).exp(),
    }
    return {name: tensor for name, tensor in drawn.items() if case.method.takes(name)}


def input_of(case: Case, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    """Random values in the order that the method expects: (N, D, T) for channels of a sequence."""
    x = random(*SHAPES[case.layout]) * scale + mean
    return x.transpose(1, 2).contiguous() if case.channels_second else x


def apply_case(
    case: Case,
    x: Tensor,
    eps: float = 1e-5,
    running: tuple[Tensor, Tensor] | None = None,
    gamma: float = 1,
    beta: float = 0,
) -> Tensor:
    return apply(case.method, x, case.layout, gamma, beta, running, **case.settings, eps=eps)


def with_statistics(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.pattern]


def groups_of(case: Case, shape: tuple[int, ...]) -> Tensor:
    """The group of each value, from the pattern."""
    pattern = case.pattern
    assert pattern is not None
    settings = case.method.settings(case.settings)
    return group_index(pattern, shape, case.layout, (), **sizes(case.method, settings))


def per_group(values: Tensor, groups: Tensor) -> Tensor:
    """The mean of the values of each group, (groups,)."""
    total = torch.zeros(int(groups.max()) + 1, dtype=values.dtype).index_add_(0, groups.flatten(), values.flatten())
    return total / groups.flatten().bincount()
