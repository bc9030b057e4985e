"""The pages Invariances and Compare without a browser."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from normviz.activations import Layout
from normviz.experiments.invariance.measurement import columns, rows
from normviz.paths import ROOT
from normviz.registry import get, methods
from normviz.ui.inputs.source import SHAPES
from normviz.ui.pages import compare_norms
from normviz.ui.pages.compare_norms import SORTS

WAIT = 60  # seconds
LAYOUTS: tuple[Layout, ...] = ("nc", "ntd", "nchw")


def open_page(name: str, **link: str | list[str]) -> AppTest:
    """A page of the app, opened by a link."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=WAIT)
    test.switch_page(f"pages/{name}.py")
    for key, value in link.items():
        test.query_params[key] = value
    return test.run()


def bodies(test: AppTest, holds: str) -> list[str]:
    """The boxes that hold a text."""
    return [box.proto.body for box in test.get("html") if holds in box.proto.body]


def cards_of(test: AppTest) -> list[str]:
    """The cards with pictures, in their order."""
    return [body for body in bodies(test, 'class="nv-values"') if "<article" in body]


def fine(test: AppTest) -> None:
    assert not test.exception
    assert not bodies(test, "nv-sorry")


# --- invariances --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_matrix_shows_every_method_and_every_change(layout: Layout) -> None:
    test = open_page("invariance", shape=SHAPES[layout])
    fine(test)
    (table,) = (
        json.loads(element.proto.json) for element in test.get("bidi_component") if "cells" in element.proto.json
    )
    assert table["rows"] == [row.label for row in rows(layout)]
    assert [title for title, _ in table["columns"]] == [column.title for column in columns(layout)]
    assert [len(line) for line in table["cells"]] == [len(columns(layout))] * len(rows(layout))
    marks = {tuple(cell) for line in table["cells"] for cell in line}
    assert ("✓", "unchanged", "good") in marks
    assert any(re.fullmatch(r"\d+%", text) for text, _, _ in marks)


def test_a_cell_is_explained_and_stands_in_the_link() -> None:
    test = open_page("invariance", method="Layer norm, per position", change="One row of W × δ")
    fine(test)
    assert test.subheader[0].value == "Layer norm, per position: one row of W × δ"
    (said,) = bodies(test, "Channels share a statistic")
    assert "nv-hint" in said and "Changed by" in said
    test.selectbox(key="change").set_value("All weights × δ").run()
    (said,) = bodies(test, "so it cancels")
    assert "nv-good" in said and "Unchanged" in said


def test_what_a_method_refuses_is_said_in_its_cell() -> None:
    test = open_page("invariance", shape="N, C", method="Batch norm, training", change="Each sample alone")
    fine(test)
    assert "more than one value per channel" in bodies(test, "The method refuses this input")[0]


def test_seed_and_size_change_the_numbers() -> None:
    def said(**link: str) -> str:
        return bodies(open_page("invariance", **link), "Changed by")[0]

    assert len({said(), said(seed="1"), said(delta="4.0")}) == 3


# --- compare ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", list(SHAPES.values()))
def test_every_method_has_a_card(shape: str) -> None:
    test = open_page("compare_norms", shape=shape, N="4", C="8", D="8", T="4", H="4", W="4", depth="2")
    fine(test)
    layout = next(layout for layout, text in SHAPES.items() if text == shape)
    titles = [m.title for m in methods("normalization") if m.takes_activations and layout in m.layouts()]
    cards = cards_of(test)
    assert [html.unescape(re.findall(r"<a [^>]*>(.*?)</a>", card)[0]) for card in cards] == titles
    assert all("data:image/png" in card for card in cards)
    assert not bodies(test, 'class="nv-multiple nv-waiting"')
    assert f"{len(titles)} methods on the same" in test.caption[-1].value


def test_a_subset_is_chosen_by_the_link_and_sorted() -> None:
    some = ["Batch Normalization", "Layer Normalization", "L2 Normalization"]
    test = open_page("compare_norms", methods=some, sort="statistics", N="4", C="8", H="4", W="4")
    fine(test)

    def order() -> list[str]:
        return [re.findall(r">([^<>]* Normalization)</a>", card)[0] for card in cards_of(test)]

    assert order() == ["Layer Normalization", "Batch Normalization", "L2 Normalization"]  # 4, 8, 64
    test.selectbox(key="sort").set_value("learned parameters").run()
    assert order() == ["L2 Normalization", "Batch Normalization", "Layer Normalization"]  # 0, 16, 256
    test.selectbox(key="sort").set_value("name").run()
    assert order() == ["Batch Normalization", "L2 Normalization", "Layer Normalization"]
    test.multiselect(key="methods").set_value([]).run()
    assert len(cards_of(test)) > 3


def test_a_card_opens_its_method_on_the_same_input() -> None:
    test = open_page("compare_norms", methods=["Group Normalization"], sort="time", seed="3", C="8", N="4")
    (card,) = cards_of(test)
    page, _, query = html.unescape(re.findall(r'<a href="([^"]*)"', card)[0]).partition("?")
    assert page == "normalize"
    assert parse_qs(query) == {
        "method": ["Group Normalization"], "num_groups": ["4"], "seed": ["3"], "C": ["8"], "N": ["4"],
    }  # fmt: skip


def test_what_is_refused_is_said_on_the_card_and_the_others_go_on() -> None:
    test = open_page("compare_norms", shape="N, C", N="1", C="4", sort="time")
    fine(test)
    refused = bodies(test, "more than one value per channel in training")
    assert "Batch Normalization" in refused[0]
    assert cards_of(test)


def test_numbers_are_exported() -> None:
    from normviz.normalization.analysis.comparison import compare, look
    from normviz.ui.kit import cache

    x = cache.activations((4, 8, 4, 4), "shifted", 0)
    ground = look(x)
    found = [
        compare_norms.NormCard(get(name, "normalization"), compare(get(name, "normalization"), x, ground))
        for name in ("batch_norm", "group_norm")
    ]
    found.append(compare_norms.NormCard(get("layer_norm", "normalization"), refused="no"))
    lines = list(csv.DictReader(io.StringIO(compare_norms.table(found))))
    assert [line["name"] for line in lines] == ["batch_norm", "group_norm"]
    assert lines[1]["settings"] == "num_groups=4 eps=1e-5"
    assert float(lines[0]["std"]) == pytest.approx(1, abs=1e-3)
    assert int(lines[0]["output"]) == 4 * x.numel()
    for by in SORTS:
        assert compare_norms.ordered(found, by)[-1].refused


@pytest.mark.parametrize(
    ("seconds", "text"), [(42e-6, "42 µs"), (0.9949e-3, "995 µs"), (1.26e-3, "1.26 ms"), (0.25, "250 ms"), (2, "2 s")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert compare_norms._duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KB"), (392 * 1024, "392 KB"), (3 * 2**19, "1.5 MB")]
)
def test_amounts_are_short(size: int, text: str) -> None:
    assert compare_norms._amount(size) == text
