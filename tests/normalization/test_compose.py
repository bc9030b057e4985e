"""The composer: what is computed, what is written as code, and what is named are one and the same."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.activations import LAYOUTS, Layout
from normviz.normalization import apply, running_statistics
from normviz.normalization.analysis.compose import MOMENTUM, STEPS, Choice, as_method, code, compose, formula
from normviz.normalization.analysis.identify import Match, matches, one_step_away, presets
from normviz.normalization.analysis.view import view
from normviz.normalization.patterns import group_index
from tests.support.cases import per_group, random
from tests.support.comparison import identical

SHAPES: dict[Layout, tuple[int, ...]] = {"nc": (4, 6), "ntd": (4, 3, 6), "nchw": (4, 6, 2, 3), "ncdhw": (4, 6, 2, 3, 2)}
POWERS = (1.0, 2.0, 3.0)
SUBSETS = [
    (layout, "".join(axes))
    for layout in LAYOUTS
    for size in range(len(layout) + 1)
    for axes in combinations(layout, size)
]
each_subset = pytest.mark.parametrize(("layout", "axes"), SUBSETS, ids=lambda value: value or "none")
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def choices(layout: Layout, axes: str, powers: tuple[float, ...] = POWERS) -> list[Choice]:
    """Every choice over these axes, at an epsilon that is felt."""
    channel = "d" if layout == "ntd" else "c"
    made = product((1, 2) if channel in axes else (1,), (True, False), powers, (False, True) if axes else (False,))
    return [Choice(layout, axes, *rest, eps=0.5) for rest in made]


def data(layout: Layout, seed: int = 0) -> Tensor:
    return random(*SHAPES[layout], seed=seed) * 2 + 1


def slow(x: Tensor, choice: Choice) -> Tensor:
    """Group by group, from the pattern alone; a running average step by step."""
    groups = group_index(choice.pattern, x.shape, choice.layout, (), **choice.sizes)  # shape of x
    center = per_group(x, groups)[groups] if choice.centered else torch.zeros_like(x)  # shape of x
    spread = per_group((x - center).abs() ** choice.power, groups)[groups]  # shape of x
    if choice.running:
        m = float(groups.flatten().bincount()[0])
        mean, stored = torch.zeros_like(x[0]), torch.ones_like(x[0])  # the shape of one example
        for _ in range(STEPS):
            unbiased = m / (m - 1) if choice.centered and choice.power == 2 else 1
            mean = (1 - MOMENTUM) * mean + MOMENTUM * center.mean(0)
            stored = (1 - MOMENTUM) * stored + MOMENTUM * spread.mean(0) * unbiased
        center, spread = mean, stored
    return (x - center) / (spread + choice.eps) ** (1 / choice.power)


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)  # our own text
    return names


@each_subset
def test_computed_and_written_agree_with_the_slow_version(layout: Layout, axes: str) -> None:
    x = data(layout)
    for choice in choices(layout, axes):
        y, text = compose(x, choice), code(choice)
        torch.testing.assert_close(y, slow(x, choice), rtol=1e-10, atol=1e-10)
        written = run(text)
        for _ in range(STEPS if choice.running else 0):
            written["update"](x)
        torch.testing.assert_close(written["normalize"](x), y, rtol=1e-10, atol=1e-10)
        assert len([line for line in text.splitlines() if line]) <= 10
        assert max(map(len, text.splitlines())) <= 110


@each_subset
def test_named_methods_give_the_composed_result(layout: Layout, axes: str) -> None:
    x = data(layout)
    for choice in choices(layout, axes):
        for match in matches(choice, x.shape):
            expected, received = _pair(match, choice, x)
            torch.testing.assert_close(received, expected, rtol=1e-10, atol=1e-10, msg=match.title)


def _pair(match: Match, choice: Choice, x: Tensor) -> tuple[Tensor, Tensor]:
    """The composed and the method's result, with one epsilon where both have it in one place, else with hardly any."""
    under_the_root = match.method.scale in ("std", "rms") and any(knob.name == "eps" for knob in match.method.knobs)
    eps = 0.5 if under_the_root else 1e-14
    choice = Choice(choice.layout, choice.axes, choice.groups, choice.centered, choice.power, choice.running, eps)
    channels = x.shape[2 if choice.layout == "ntd" else 1]
    stored = None
    if choice.running:
        second = x.movedim(2, 1) if choice.layout == "ntd" else x  # (N, C, ...)
        start = torch.zeros(channels, dtype=x.dtype), torch.ones(channels, dtype=x.dtype)  # (C,), (C,)
        stored = running_statistics(second, *start, 1 - (1 - MOMENTUM) ** STEPS)
    plain = {"style": compose(x, Choice(choice.layout, choice.axes, eps=1e-14))}  # mean 0 and variance 1: no style
    settings = match.settings | ({"eps": eps} if under_the_root else {})
    received = apply(match.method, x, choice.layout, running=stored, sides=plain, **settings)
    style = (1 + eps) ** 0.5 if "style" in match.needs else 1.0
    return compose(x, choice) * match.factor * style, received


KNOWN = [
    (Choice("nchw", "nhw"), "Batch Normalization"),
    (Choice("nchw", "nhw", running=True), "Batch Normalization, at inference"),
    (Choice("nchw", "chw"), "Layer Normalization"),
    (Choice("nchw", "c"), "Layer Normalization, per position"),
    (Choice("ntd", "d"), "Layer Normalization"),
    (Choice("nchw", "hw"), "Instance Normalization"),
    (Choice("nchw", "chw", 3), "Group Normalization (G = 3)"),
    (Choice("nc", "c", centered=False), "RMS Normalization"),
    (Choice("nc", "c", centered=False, power=3), "Lp Normalization (p = 3)"),
    (Choice("ntd", "n"), "Recurrent Batch Normalization, per step"),
    (Choice("ncdhw", "ndhw"), "Batch Normalization"),
]


@pytest.mark.parametrize(("choice", "title"), KNOWN, ids=lambda value: value if isinstance(value, str) else "")
def test_the_first_name_is_the_usual_one(choice: Choice, title: str) -> None:
    assert matches(choice, SHAPES[choice.layout])[0].title == title


def test_several_may_fit() -> None:
    titles = {match.title: match for match in matches(Choice("nc", "c"), SHAPES["nc"])}
    assert {"Layer Normalization", "Group Normalization (G = 1)"} <= set(titles)
    assert titles["Group Normalization (G = 1)"].special and not titles["Layer Normalization"].special
    lengths = {match.title: match.factor for match in matches(Choice("ntd", "d", centered=False), SHAPES["ntd"])}
    assert lengths["RMS Normalization"] == lengths["ScaleNorm"] == 1
    assert lengths["L2 Normalization"] == pytest.approx(6**-0.5)


@pytest.mark.parametrize(
    "choice",
    [
        Choice("nchw", ""), Choice("nchw", "h"), Choice("nchw", "nhw", power=3), Choice("nchw", "hw", running=True),
        Choice("nchw", "nhw", centered=False), Choice("nchw", "cw"), Choice("ntd", "nd", 2),
    ],
    ids=str,
)  # fmt: skip
def test_nobody_has_named_these(choice: Choice) -> None:
    assert matches(choice, SHAPES[choice.layout]) == []


def test_one_step_away() -> None:
    near = {match.name: words for words, match in one_step_away(Choice("nchw", "hw", running=True), SHAPES["nchw"])}
    assert near == {
        "Batch Normalization, at inference": "also average over N",
        "Instance Normalization": "use the statistics of the batch",
    }


@each_layout
def test_presets_bear_their_names(layout: Layout) -> None:
    known = presets(layout, SHAPES[layout])
    assert {"Batch Normalization", "Layer Normalization", "RMS Normalization", "Group Normalization"} <= set(known)
    for name, choice in known.items():
        first = matches(choice, SHAPES[layout])[0]
        assert (first.name, first.plain) == (name, True)
    assert len(set(known.values())) == len(known)


def test_running_averages_without_the_batch_are_those_of_pytorch_instance_norm() -> None:
    x = data("nchw")
    mean, variance = torch.zeros(6, dtype=x.dtype), torch.ones(6, dtype=x.dtype)
    for _ in range(STEPS):
        F.instance_norm(x, mean, variance, use_input_stats=True)
    expected = F.instance_norm(x, mean, variance, use_input_stats=False)
    torch.testing.assert_close(compose(x, Choice("nchw", "hw", running=True)), expected, rtol=1e-10, atol=1e-10)


@each_subset
def test_formula(layout: Layout, axes: str) -> None:
    x = data(layout)
    for choice in choices(layout, axes, (2.0, 3.0)):
        groups = group_index(choice.pattern, x.shape, layout, (), **choice.sizes)
        together = int(groups.flatten().bincount()[0])
        text = formula(choice, x.shape)
        assert text.count("{") == text.count("}")
        assert text.endswith(rf"{together} \end{{aligned}}")
        assert (r"\mu" in text) == choice.centered
        assert (r"\leftarrow" in text) == choice.running


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("nwhc", ""), "layout"), (("nchw", "hn"), "order"), (("nchw", "t"), "letters of nchw"),
        (("nchw", "hw", 2), "1 unless axis"), (("nchw", "c", 0), "at least 1"),
        (("nc", "n", 1, True, 0.0), "above 0"), (("nc", "n", 1, True, 2.0, False, 0.0), "above 0"),
        (("nc", "", 1, True, 2.0, True), "at least one shared axis"),
    ],
)  # fmt: skip
def test_impossible_choices_are_refused_in_words(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Choice(*given)


def test_unfit_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        compose(data("nc"), Choice("nc", "c", 4))
    with pytest.raises(ValueError, match="one"):
        compose(data("nc")[:1], Choice("nc", "n", running=True))
    with pytest.raises(ValueError, match="floating-point"):
        compose(torch.ones(2, 3, dtype=torch.int64), Choice("nc", "c"))


@each_layout
def test_a_choice_can_be_drawn_as_a_method(layout: Layout) -> None:
    x = data(layout)
    for running in (False, True):
        choice = Choice(layout, layout[1:], 2, running=running)
        seen = view(as_method(choice), x, layout, {"groups": 2})
        kept = 2 if running else 2 * x.shape[0]  # groups, and examples where the statistics are live
        assert seen.total == len(np.unique(seen.rows.ids)) == kept
        expected = compose(x, choice).reshape(-1, *x.shape[-2:])[0]
        np.testing.assert_allclose(seen.after, expected.float().numpy(), rtol=1e-6)


def test_the_input_stays_as_it_is() -> None:
    x = data("nchw")
    kept = x.clone()
    compose(x, Choice("nchw", "chw", 2, running=True))
    assert identical(x, kept)
