"""The page of the methods beyond activations: each is drawn with its knobs, its facts and its formula."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from normviz.experiments.demonstrations import experiments
from normviz.registry import get
from normviz.ui.components.board import PLAIN
from tests.figures.test_figures import decode
from tests.pages import test_pages as pages


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain charts, whose figures a test can read."""
    monkeypatch.setenv(PLAIN, "1")


def open_page(**link: str) -> AppTest:
    return pages.open_page("weights_and_blocks", **link)


def boxes(test: AppTest) -> str:
    return " ".join(box.proto.body for box in test.get("html"))


@pytest.mark.parametrize("name", experiments())
def test_each_method_is_drawn_without_an_error(name: str) -> None:
    method, experiment = get(name), experiments()[name]
    test = open_page(method=method.title)
    assert not test.exception and "nv-error" not in boxes(test) and "nv-sorry" not in boxes(test)
    shown = experiment.demonstrate()
    charts = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]
    assert len(charts) == len(shown.pictures) and all(chart["data"] for chart in charts)
    assert sum(len(json.dumps(chart)) for chart in charts) < 60_000
    assert all(fact.label.replace("'", "&#x27;") in boxes(test) for fact in shown.facts)
    assert method.formula in " ".join(block.value for block in test.latex)
    drawn = {widget.key for kind in ("slider", "select_slider", "toggle", "button_group") for widget in test.get(kind)}
    assert {f"{name}-{knob.name}" for knob in experiment.method.knobs} <= drawn


def test_a_knob_runs_it_again() -> None:
    test = open_page(method="Weight Normalization")
    test.slider(key="weight_norm-length").set_value(2.0).run()
    before, after, expected = json.loads(test.get("plotly_chart")[2].proto.spec)["data"]
    assert [trace["name"] for trace in (before, after, expected)] == ["before", "after", "expected"]
    assert list(decode(expected["y"])) == [2.0] * 8 and decode(after["y"]) == pytest.approx([2.0] * 8)
    assert decode(before["y"]) != pytest.approx([2.0] * 8)


def test_the_list_can_be_narrowed_to_what_a_method_acts_on() -> None:
    test = open_page()
    test.selectbox(key="on").set_value("training").run()
    assert test.selectbox(key="method").options == [
        get(name).title for name in ("adaptive_gradient_clipping", "affine_decay", "grad_norm")
    ]
    assert not test.exception and "nv-error" not in boxes(test)


def test_what_a_link_asks_for_in_vain_is_said() -> None:
    test = open_page(method="GradNorm", **{"grad_norm-times": "9"})
    assert not test.exception
    assert "grad_norm-times" in " ".join(caption.value for caption in test.caption)
