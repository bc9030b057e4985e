"""Every method that does not act on activations is shown live: measured beside expected, seeded, moved by each knob."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from normviz.experiments.demonstrations import experiments
from normviz.experiments.demonstrations.demonstration import Demonstration
from normviz.experiments.results import BarChart, Curves, Fact, Matrix
from normviz.registry import Knob, Value, methods
from tests.support.comparison import identical

EXPERIMENTS = experiments()
KNOBS = [(name, knob) for name, experiment in EXPERIMENTS.items() for knob in experiment.method.knobs]
each = pytest.mark.parametrize("name", EXPERIMENTS)


def numbers(shown: Demonstration) -> NDArray[np.float64]:
    """All numbers of a demonstration in a row."""
    parts = [np.array([fact.measured for fact in shown.facts])]
    for picture in shown.pictures:
        if isinstance(picture, Matrix):
            parts.append(picture.values.ravel())
        elif isinstance(picture, Curves):
            parts += [curve.y for curve in picture.curves]
        else:
            parts += list(picture.groups.values())
    return np.concatenate(parts)


def disagreements(shown: Demonstration) -> list[Fact]:
    return [fact for fact in shown.facts if not fact.agrees]


def other_values(knob: Knob) -> list[Value]:
    """The ends of a knob's range, or its other choices, without the default."""
    every: list[Value] = [True, False] if knob.type is bool else list(knob.choices)
    if knob.range:
        every = [knob.type(knob.range.low), knob.type(knob.range.high)]
    return [value for value in every if value != knob.default]


def test_every_method_beyond_activations_is_demonstrated() -> None:
    assert set(EXPERIMENTS) == {method.name for method in methods("normalization") if not method.takes_activations}


@each
def test_what_is_measured_is_what_is_expected(name: str) -> None:
    for seed in range(3):
        shown = EXPERIMENTS[name].demonstrate(seed=seed)
        assert not disagreements(shown)
        assert any(fact.expected is not None for fact in shown.facts)


@each
def test_the_seed_makes_the_numbers(name: str) -> None:
    one, same, other = (numbers(EXPERIMENTS[name].demonstrate(seed=seed)) for seed in (4, 4, 5))
    assert identical(one, same) and not identical(one, other)


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=lambda value: getattr(value, "name", value))
def test_every_knob_changes_something_and_its_ends_hold(name: str, knob: Knob) -> None:
    usual = numbers(EXPERIMENTS[name].demonstrate())
    changed = []
    for value in other_values(knob):
        shown = EXPERIMENTS[name].demonstrate({knob.name: value})
        assert not disagreements(shown)
        assert np.isfinite(numbers(shown)).all()
        drawn = numbers(shown)
        changed.append(len(drawn) != len(usual) or not identical(drawn, usual))
    assert any(changed)


@each
def test_the_pictures_can_be_drawn(name: str) -> None:
    shown = EXPERIMENTS[name].demonstrate()
    assert shown.title.endswith(".") and len({picture.title for picture in shown.pictures}) == len(shown.pictures) >= 2
    for picture in shown.pictures:
        if isinstance(picture, Matrix):
            assert picture.values.ndim == 2 and all(picture.axes)
            assert picture.padding is None or picture.padding.shape == picture.values.shape
        elif isinstance(picture, Curves):
            assert picture.x_title and picture.y_title and picture.curves
            assert len({curve.name for curve in picture.curves}) == len(picture.curves)
            for curve in picture.curves:
                assert curve.x.shape == curve.y.shape and (np.diff(curve.x) > 0).all()
                assert not picture.log_y or curve.y.min() > 0
        else:
            rows = [*picture.groups.values(), *([] if picture.expected is None else [picture.expected])]
            assert all(row.shape == (len(picture.places),) for row in rows)
            assert not picture.log_y or min(row.min() for row in rows) > 0
    assert len({fact.label for fact in shown.facts}) == len(shown.facts)


def test_a_fact_agrees_within_its_tolerance_and_never_where_it_is_not_a_number() -> None:
    assert Fact("a", 1.04, 1, 0.05).agrees and not Fact("a", 1.06, 1, 0.05).agrees
    assert Fact("a", 7).agrees and not Fact("a", math.nan, 1, 0.05).agrees


def test_what_is_not_offered_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="weight_norm has no knob 'depth'; its knobs are length"):
        EXPERIMENTS["weight_norm"].demonstrate({"depth": 3})
    with pytest.raises(ValueError, match="depth must be a whole number from 4 to 32; received 99"):
        EXPERIMENTS["pre_norm"].demonstrate({"depth": 99})


# --- what some of them are known to show ----------------------------------------------------------------------------


def _picture(name: str, title: str, **settings: Value) -> Curves:
    pictures = EXPERIMENTS[name].demonstrate(settings).pictures
    return next(picture for picture in pictures if isinstance(picture, Curves) and picture.title == title)


def _fact(name: str, begins: str, **settings: Value) -> float:
    facts = EXPERIMENTS[name].demonstrate(settings).facts
    return next(fact.measured for fact in facts if fact.label.startswith(begins))


def test_sigma_is_estimated_from_below_and_better_from_a_kept_u() -> None:
    cold, warm, true = (curve.y for curve in _picture("spectral_norm", "Estimate of σ").curves)
    assert (
        (np.diff(cold) > 0).all() and (cold < true).all() and (warm < true + 1e-12).all() and warm[0] > cold[0] + 0.05
    )


def test_the_gradients_of_the_last_blocks_part_as_the_stack_grows() -> None:
    shallow, deep = (_fact("post_norm", "gradient of the last block, post-LN", depth=depth) for depth in (4, 32))
    assert deep > 1.5 * shallow


def test_clipping_only_ever_shortens() -> None:
    picture = EXPERIMENTS["adaptive_gradient_clipping"].demonstrate().pictures[0]
    assert isinstance(picture, BarChart) and picture.expected is not None
    assert (picture.groups["after"] <= picture.groups["before"] + 1e-12).all()
    assert (picture.groups["after"] <= picture.expected + 1e-12).all()


def test_the_bias_learns_only_behind_the_activation() -> None:
    assert _fact("norm_placement", "largest gradient", before=True) < 1e-6
    assert _fact("norm_placement", "largest gradient", before=False) > 1e-3


def test_gradnorm_brings_the_tasks_together() -> None:
    balanced, equal = (_fact("grad_norm", f"relative loss of task 1 / task 2 with {how}") for how in ("Grad", "equal"))
    assert abs(balanced - 1) < 0.25 < 10 < equal
