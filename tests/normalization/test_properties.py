"""Properties that hold for every shape and every setting, tried on many that Hypothesis thinks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from normviz.normalization import apply, divisors
from normviz.normalization.apply import expected_order
from normviz.registry import Knob, Normalization, Value, methods
from tests.reference import normalization as reference
from tests.support.cases import Case, arguments_of, groups_of, random, sides_of, small_settings, with_eps
from tests.support.comparison import identical

METHODS = [method for method in methods("normalization") if method.takes_activations]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
many = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@st.composite
def cases(draw: st.DrawFn, method: Normalization) -> tuple[Case, tuple[int, ...]]:
    """A layout that the method takes, a small shape, and settings that fit them."""
    layout = draw(st.sampled_from(method.layouts()))
    lengths = {letter: draw(st.integers(1, 4)) for letter in layout}
    lengths["n"] = draw(st.integers(2, 6))
    channel = "d" if layout == "ntd" else "c"
    lengths[channel] = draw(st.integers(2, 6))
    shape = tuple(lengths[letter] for letter in layout)
    fitting: dict[str, list[int]] = {
        "num_groups": divisors(lengths[channel]), "batch_size": divisors(lengths["n"]),
        "size": divisors(lengths["n"])[1:] if method.batch_order else [1, 3, 5],
    }  # fmt: skip
    chosen: dict[str, Value] = dict(small_settings(method))
    for knob in method.knobs:
        chosen[knob.name] = draw(st.sampled_from(fitting[knob.name]) if knob.name in fitting else _values(knob))
    if "eps" in chosen:
        chosen["eps"] = draw(st.sampled_from([1e-5, 0.5]))
    return Case(method.name, layout, chosen), shape


def _values(knob: Knob) -> st.SearchStrategy[Any]:
    """Values of a knob, its ends among them."""
    if knob.type is bool:
        return st.booleans()
    if knob.choices:
        return st.sampled_from(knob.choices)
    assert knob.range is not None
    if knob.type is int:
        return st.integers(int(knob.range.low), min(int(knob.range.high), 50))
    return st.sampled_from([knob.default, knob.range.low, knob.range.high]) | st.floats(knob.range.low, knob.range.high)


def _input(case: Case, shape: tuple[int, ...], mean: float = 0.0) -> Tensor:
    """Random values in the order that the method expects, without a variance that is 0 by chance of the shape."""
    x = random(*shape) + mean
    return x.permute([case.layout.index(letter) for letter in expected_order(case.method, case.layout)]).contiguous()


def _run(call: Callable[[], Tensor]) -> Tensor:
    """The result, or on to the next example where the method refuses this one in words."""
    try:
        return call()
    except ValueError:
        assume(False)
        raise


@each_method
@many
@given(data=st.data())
def test_agrees_with_the_reference_in_float64(method: Normalization, data: st.DataObject) -> None:
    case, shape = data.draw(cases(method))
    x = _input(case, shape)
    arguments = arguments_of(case, x)
    actual = _run(lambda: method.function(x, **arguments, **case.settings))
    expected = getattr(reference, case.name)(x, **arguments, **case.settings)
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(actual / scale, expected / scale, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", [m for m in METHODS if any(m.axes.values())], ids=lambda method: method.name)
@many
@given(data=st.data())
def test_one_changed_value_moves_its_own_group_and_no_other(method: Normalization, data: st.DataObject) -> None:
    case, shape = data.draw(cases(method))
    assume(case.pattern is not None)
    x, sides = random(*shape), sides_of(random(*shape))
    running = (torch.zeros(64, dtype=x.dtype)[: x.shape[2 if case.layout == "ntd" else 1]],) * 2
    running = (running[0], running[1] + 1)
    before = _run(lambda: apply(method, x, case.layout, running=running, sides=sides, **case.settings))
    place = data.draw(st.integers(0, x.numel() - 1))
    changed = x.clone()
    changed.view(-1)[place] += 1.5
    after = apply(method, changed, case.layout, running=running, sides=sides, **case.settings)
    mine = groups_of(case, shape)
    other = mine != mine.flatten()[place]
    assert identical(before[other], after[other])


@each_method
@many
@given(data=st.data())
def test_the_gradient_is_that_of_finite_differences(method: Normalization, data: st.DataObject) -> None:
    case, shape = data.draw(cases(method))
    assume(torch.Size(shape).numel() <= 24)
    x = _input(case, shape).requires_grad_()
    arguments = arguments_of(case, x.detach())
    given_settings = with_eps(case, 0.5)
    _run(lambda: method.function(x, **arguments, **given_settings))
    assert torch.autograd.gradcheck(
        lambda t: method.function(t, **arguments, **given_settings), (x,), atol=1e-4, rtol=1e-3
    )


@each_method
@many
@given(data=st.data())
def test_neither_the_input_nor_anything_given_is_written(method: Normalization, data: st.DataObject) -> None:
    case, shape = data.draw(cases(method))
    x = _input(case, shape)
    arguments = arguments_of(case, x)
    copies = {"x": x.clone()} | {name: tensor.clone() for name, tensor in arguments.items()}
    _run(lambda: method.function(x, **arguments, **case.settings))
    assert all(identical(copies[name], tensor) for name, tensor in ({"x": x} | arguments).items())
