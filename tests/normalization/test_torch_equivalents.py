"""The PyTorch expression in a method's facts gives the method's own result, for its default layout."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.registry import Normalization, methods
from tests.support.cases import Case, arguments_of, input_of, random, small_settings

WITH_TORCH = [method for method in methods("normalization") if method.torch]
each_method = pytest.mark.parametrize("method", WITH_TORCH, ids=lambda method: method.name)
LONGEST = 160  # characters: it is read, and copied, from one line


def _layer(x: Tensor) -> Tensor:
    """What stands in for a layer of a network."""
    return 2 * torch.tanh(x) + 0.3


Inputs = dict[str, Tensor | Callable[[Tensor], Tensor]]
_RESIDUAL: Inputs = {
    "x": random(2, 5, 6) + 1, "h": random(2, 5, 6), "f": _layer, "weight": random(6, seed=1), "bias": random(6, seed=2),
    "out_weight": random(6, seed=3), "out_bias": random(6, seed=4),
}  # fmt: skip
_MATRIX: Inputs = {
    "x": random(5, 6) + 1, "weight": random(4, 6, seed=1), "bias": random(4, seed=2), "u": random(4, seed=3),
    "gradient": random(4, 6, seed=4), "v": random(4, 6, seed=5), "g": random(4, seed=6),
}  # fmt: skip
_ATTENTION: Inputs = {
    "q": random(2, 3, 5, 4), "k": random(2, 3, 5, 4, seed=1), "v": random(2, 3, 5, 4, seed=2), "g": torch.tensor(1.5),
}  # fmt: skip
_SPECIAL = {"qk_norm": _ATTENTION, "norm_placement": _MATRIX, "affine_decay": _RESIDUAL}


def _inputs(method: Normalization) -> dict[str, Any]:
    """Random values for every argument that is no knob, and the knobs' defaults, small where the inputs are small."""
    settings = method.settings(small_settings(method))
    if not method.takes_activations:
        return {**_SPECIAL.get(method.name, _RESIDUAL if method.acts_on == "blocks" else _MATRIX), **settings}
    layout = next(layout for layout in ("nchw", "ntd", "nc") if layout in method.layouts())
    case = Case(method.name, layout, settings)
    x = input_of(case, mean=1)
    return {next(iter(inspect.signature(method.function).parameters)): x, **arguments_of(case, x), **settings}


def _both(method: Normalization, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """The function's result and the expression's; arguments that the expression leaves out keep their defaults."""
    tree = ast.parse(method.torch, mode="eval")
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    given = {name: inputs[name] for name in inspect.signature(method.function).parameters if name in named}
    names = {"torch": torch, "F": F, "nn": nn, "math": math, **given}
    return method.function(**given), eval(compile(tree, method.name, "eval"), names)


@each_method
@pytest.mark.parametrize("eps", [None, 0.5])
def test_expression_is_the_method(method: Normalization, eps: float | None) -> None:
    inputs = _inputs(method)
    if eps is not None and "eps" in inputs:
        inputs["eps"] = eps
    torch.testing.assert_close(*_both(method, inputs), rtol=1e-10, atol=1e-10)


@each_method
def test_expression_fits_on_a_line(method: Normalization) -> None:
    assert len(method.torch) <= LONGEST
    assert "\n" not in method.torch


@pytest.mark.parametrize("method", [m for m in methods("normalization") if not m.torch], ids=lambda method: method.name)
def test_a_method_without_an_expression_says_what_to_do_instead(method: Normalization) -> None:
    assert len(method.common_mistake) > len("PyTorch has none.")
