"""The page of the sanity check, and its figures."""

from __future__ import annotations

import pytest
import torch
from streamlit.testing.v1 import AppTest

from normviz.evaluation.sanity_check import Stage
from normviz.figures.evaluation import sanity_check as figures
from normviz.html import sanity_check as rows
from normviz.registry import methods
from tests.pages.test_pages import errors, open_page, words

KEYS = {"sample", "camera", "net", "size", "method", "class", "layer", "order", "weights", "likeness"}


def _stages(*ranks: float) -> tuple[Stage, ...]:
    return tuple(
        Stage("" if i == 0 else f"layer{i}", torch.randn(3, 90, 90), 0.5, rank, abs(rank))
        for i, rank in enumerate(ranks)
    )


def test_curves_and_words_follow_the_measure() -> None:
    found = {"One": _stages(1, 0.5, -0.25), "Two": _stages(1, 0.9, 0.8)}
    figure = figures.similarity(found, "rank", False)
    assert [list(trace.y) for trace in figure.data] == [[1, 0.5, -0.25], pytest.approx([1, 0.9, 0.8])]
    assert list(figures.similarity(found, "magnitude rank", True).data[0].y) == [1, 0.5, 0.25]
    assert figures.describe(found, "rank", False) == (
        "Rank correlation with the map of the trained network: with layer1 random One 0.50, Two 0.90; "
        "with all weights random One −0.25, Two 0.80."
    )
    assert "with only layer2 random One 0.50" in figures.describe(found, "SSIM", True)


def test_the_strip_shows_the_first_the_last_and_some_between() -> None:
    assert rows.shown_stages(3) == [0, 1, 2] and rows.shown_stages(11) == [0, 2, 4, 6, 8, 10]
    html = rows.map_rows({"a <b>": _stages(*[0.5] * 11)}, "rank", False)
    assert html.count("<img") == 6 and "a &lt;b&gt;" in html and "… to layer10" in html
    assert len(html) < 120_000


def test_every_method_is_drawn_stage_by_stage() -> None:
    test: AppTest = open_page("sanity_check")
    assert not test.exception and not errors(test), words(test)
    said = words(test)
    for title in ("Grad-CAM", "Saliency", "Guided backpropagation", "Sobel edges"):
        assert f">{title}</h3>" in said
    assert "with fc random" in said and "Sobel edges 1.00." in said
    test.segmented_control(key="order").set_value("one at a time").run()
    assert not test.exception and not errors(test) and "with only stem random" in words(test)


@pytest.mark.parametrize("knob", sorted({knob.name for method in methods("attribution") for knob in method.knobs}))
def test_no_knob_of_a_method_has_the_key_of_the_page(knob: str) -> None:
    assert knob not in KEYS
