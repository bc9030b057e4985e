"""The pages of errata and of geometry without a browser: every choice is drawn, and links restore it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from normviz.experiments.errata import ERRATA
from normviz.experiments.labs.geometry import METHODS, direction, space
from normviz.figures.experiments import geometry
from normviz.registry import get
from normviz.ui.components.board import Panel, size_of
from tests.pages.test_pages import errors, open_page, words


def test_every_erratum_is_drawn_with_both_formulas_its_numbers_and_a_link() -> None:
    test = open_page("errata")
    for name, erratum in ERRATA.items():
        test.selectbox("erratum").set_value(name).run()
        assert not test.exception, name
        assert not errors(test), words(test)
        printed, right = (latex.value for latex in test.latex)
        assert r"\textcolor{" in printed and r"\wrong" not in printed + right
        assert erratum.why in [text.value for text in test.markdown]
        assert ("cannot be computed" in words(test)) == (name == "power-iteration-shape")
        links = [link.proto.label for link in test.get("page_link")]
        assert [f"Open {get(method).title}" for method in erratum.methods] == links


def table(text: str) -> dict[str, list[str]]:
    """The rows of the table of numbers."""
    rows = re.findall(r"<tr[^>]*><th[^>]*>(.*?)</th>(.*?)</tr>", text)
    return {head: re.findall(r"<td[^>]*>(.*?)</td>", cells) for head, cells in rows}


@pytest.mark.parametrize(
    ("title", "row", "numbers"),
    [
        (
            "Spatial batch norm: a standard deviation without its mean",
            "standard deviation of the output",
            ["0.315", "1"],
        ),
        ("Sequences of different lengths: padding counted as data", "mean that is subtracted", ["1.47", "3.02"]),
        ("Inference example weighing: the square of a mean", "variance at α = 0", ["0", "4"]),
        ("Power iteration: a shear", "σ after 2000 steps", ["1.0005", "10.099"]),
        ("Power iteration: a matrix whose square is 0", "σ after 2 steps", ["0", "1"]),
        ("Batch norm and exploding gradients", "theory, π/(π − 1)", ["–", "1.467"]),
    ],
)
def test_a_link_opens_an_erratum_with_its_known_numbers(title: str, row: str, numbers: list[str]) -> None:
    assert table(words(open_page("errata", erratum=title)))[row] == numbers


def test_an_unknown_erratum_in_a_link_is_said_and_ignored() -> None:
    test = open_page("errata", erratum="the moon")
    assert "the moon" in " ".join(caption.value for caption in test.caption)
    assert not errors(test)


def test_every_method_is_drawn_in_space() -> None:
    test = open_page("geometry")
    for name in METHODS:
        test.selectbox("method").set_value(name).run()
        assert not test.exception, name
        assert not errors(test), words(test)


def test_the_numbers_of_layer_norm_in_space() -> None:
    said = words(open_page("geometry", seed="4", eps="1e-12"))
    assert "<td>1.732 to 1.732</td>" in said
    assert re.search(r"sum of the features</th><td>[1-9][\d.]*</td><td>0\.000</td>", said)
    for along in (r"\(1, 1, 1\)", "the point before", "the point after"):
        assert re.search(rf"component along {along}</th><td>[^<]*[1-9][^<]*</td><td>0\.000</td>", said)


def test_the_gradient_can_be_hidden_and_the_features_scaled() -> None:
    test = open_page("geometry", gradient="false", gamma1="2", beta3="-1", N="3")
    assert not errors(test), words(test)
    assert "all points" in words(test) and ">remaining</th>" not in words(test)


def test_what_a_change_sends_is_small() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3)))
    method = get("rms_norm", "normalization")
    seen = space(method, x, method.settings(), incoming=direction(60, 60))
    figure = geometry.scene(
        seen.before.numpy(), seen.after.numpy(), [line.numpy() for line in seen.surface], "sphere", True, 0,
        seen.gradient.incoming.numpy(), seen.gradient.left.numpy(),
    )  # fmt: skip
    assert size_of([Panel("space", "title", figure)]) < 40_000
