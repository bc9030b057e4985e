"""Every registered normalization of activations with the settings and layouts in which the tests run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from normviz.activations import padding_mask
from normviz.normalization.apply import apply, expected_order
from normviz.normalization.patterns import group_index, sizes
from normviz.registry import Normalization, Value, get, methods


class Case(NamedTuple):
    """A method with the settings and the layouts in which a test runs it."""

    name: str
    layout: str
    settings: dict[str, Value]

    @property
    def method(self) -> Normalization:
        return get(self.name, "normalization")

    @property
    def pattern(self) -> str | None:
        return self.method.pattern(self.layout, self.settings)

    @property
    def channels_second(self) -> bool:
        """Whether the method wants (N, D, T) for a sequence (N, T, D)."""
        return self.layout == "ntd" and expected_order(self.method, "ntd") == "ndt"

    def __str__(self) -> str:
        return "-".join([self.name, self.layout, *(f"{key}={value}" for key, value in self.settings.items())])


SHAPES = {"nc": (6, 6), "ntd": (4, 5, 6), "nchw": (4, 6, 2, 3), "ncdhw": (2, 6, 2, 1, 3)}
SMALL: dict[str, Value] = {"num_groups": 2, "batch_size": 2}  # knobs that the shapes above ask for
SMALL_OF: dict[tuple[str, str], Value] = {("ghost_batch_norm", "size"): 2, ("lp_norm", "p"): 3.0}


def small_settings(method: Normalization) -> dict[str, Value]:
    """Settings of the knobs whose defaults do not fit the small shapes of the tests."""
    wanted = {knob.name: SMALL_OF.get((method.name, knob.name), SMALL.get(knob.name)) for knob in method.knobs}
    return {name: value for name, value in wanted.items() if value is not None}


def _cases() -> list[Case]:
    """Every registered normalization of activations in every layout, with every condition in its axes."""
    cases = []
    for method in (m for m in methods("normalization") if m.takes_activations):
        base = small_settings(method)
        for layout in method.layouts():
            conditions = {key.partition(" ")[2] for key in method.axes if key.split(" ")[0] == layout} - {""}
            switches = [{}] if not conditions else [{name: on} for name in conditions for on in (True, False)]
            cases += [Case(method.name, layout, {**base, **switch}) for switch in switches]
    return cases


CASES = _cases()


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _affine_shape(case: Case, x: Tensor) -> tuple[int, ...]:
    """The shape of weight and bias: one for each channel, or for each element that is normalized together."""
    if case.method.family in ("transformer", "recurrent"):
        return (x.shape[2 if case.layout == "ntd" else 1],)
    if case.method.family != "layer" or case.pattern is None:
        return tuple(x.shape[1:2])
    kept = case.pattern.split("-> ")[1]
    return tuple({"n": x.shape[1:], "n t": x.shape[2:]}.get(kept, x.shape[1:2]))


def _modulation(case: Case, x: Tensor) -> tuple[int, ...]:
    """The shape of scale and shift: a map for SPADE, else one number for each example and feature."""
    return tuple(x.shape) if case.name == "spade" else (x.shape[0], x.shape[-1])


def _channels(case: Case, x: Tensor) -> int:
    return int(x.shape[2 if case.layout == "ntd" and not case.channels_second else 1])


ARGUMENTS: dict[str, Callable[[Case, Tensor], Tensor]] = {
    "weight": lambda case, x: random(*_affine_shape(case, x), seed=1),
    "bias": lambda case, x: random(*_affine_shape(case, x), seed=2),
    "running_mean": lambda case, x: random(_channels(case, x), seed=3),
    "running_var": lambda case, x: random(_channels(case, x), seed=4).exp(),
    "running_sq": lambda case, x: random(_channels(case, x), seed=4).exp() + random(_channels(case, x), seed=3) ** 2,
    "mask": lambda case, x: padding_mask(x.shape[0], x.shape[1], 0.3).index_fill(0, torch.tensor([0, 1]), True),
    "style": lambda case, x: random(*x.shape, seed=5) * 2 - 1,
    "scale": lambda case, x: random(*_modulation(case, x), seed=6),
    "shift": lambda case, x: random(*_modulation(case, x), seed=7),
    "threshold": lambda case, x: random(_channels(case, x), seed=8),
    "mean_weights": lambda case, x: random(3, seed=9),
    "var_weights": lambda case, x: random(3, seed=10),
    "g": lambda case, x: torch.tensor(1.5, dtype=torch.float64),
    "train": lambda case, x: random(7, *x.shape[1:], seed=11) * 2 + 1,
}


def arguments_of(case: Case, x: Tensor) -> dict[str, Any]:
    """Random tensors of the right shapes for every argument of the method but the input."""
    return {name: make(case, x) for name, make in ARGUMENTS.items() if case.method.takes(name)}


def input_of(case: Case, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    """Random values in the order that the method expects: (N, D, T) for channels of a sequence."""
    x = random(*SHAPES[case.layout]) * scale + mean
    return x.transpose(1, 2).contiguous() if case.channels_second else x


def with_eps(case: Case, eps: float) -> dict[str, Value]:
    """The case's settings, and epsilon where the method has it."""
    has = any(knob.name == "eps" for knob in case.method.knobs)
    return {**case.settings, "eps": eps} if has else case.settings


def sides_of(x: Tensor) -> dict[str, Tensor]:
    """What a method may need besides the input, in the input's own layout."""
    return {"style": random(*x.shape, seed=5).to(x.dtype) * 2 - 1}


def apply_case(
    case: Case,
    x: Tensor,
    eps: float = 1e-5,
    running: tuple[Tensor, Tensor] | None = None,
    gamma: float = 1,
    beta: float = 0,
) -> Tensor:
    return apply(case.method, x, case.layout, gamma, beta, running=running, sides=sides_of(x), **with_eps(case, eps))


def with_groups(cases: list[Case]) -> list[Case]:
    """The cases whose values fall into groups that share statistics."""
    return [case for case in cases if case.pattern]


def plain(cases: list[Case]) -> list[Case]:
    """The cases that make every group's mean 0 and variance 1, or its mean square 1, up to epsilon."""
    found = [case for case in with_groups(cases) if case.method.scale in ("std", "rms")]
    return [case for case in found if not case.method.takes("style")]


def groups_of(case: Case, shape: tuple[int, ...]) -> Tensor:
    """The group of each value, from the pattern."""
    pattern = case.pattern
    assert pattern is not None
    settings = case.method.settings(case.settings)
    groups = group_index(pattern, shape, case.layout, (), **sizes(case.method, settings))
    return groups[case.method.batch_order(shape[0], **settings).argsort()] if case.method.batch_order else groups


def per_group(values: Tensor, groups: Tensor) -> Tensor:
    """The mean of the values of each group, (groups,)."""
    total = torch.zeros(int(groups.max()) + 1, dtype=values.dtype).index_add_(0, groups.flatten(), values.flatten())
    return total / groups.flatten().bincount()
