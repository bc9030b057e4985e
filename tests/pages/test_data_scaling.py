"""The page that scales tables and photos, and its figures."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from normviz.figures import style
from normviz.figures.normalization import data_scaling
from normviz.html import data_scaling as tables
from normviz.registry import methods
from tests.pages.test_pages import errors, open_page, words

TITLES = [method.title for method in methods("normalization") if method.family == "scaling"]
GROWING = b"\n".join([b"metres,feet,name", *(f"{i},{3.28 * i},x".encode() for i in range(1, 41))])


@pytest.fixture(autouse=True)
def _plain_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMVIZ_PLAIN_CHARTS", "1")


def charts(test: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]


def said(test: AppTest) -> str:
    return " ".join(element.value for element in (*test.markdown, *test.caption))


# --- the page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", TITLES)
def test_every_scaling_is_drawn_for_a_table_and_for_a_photo(title: str) -> None:
    test = open_page("data_scaling", method=title)
    assert not test.exception and not errors(test), words(test)
    assert len(charts(test)) == 6
    test = open_page("data_scaling", method=title, data="a photo")
    assert not test.exception and not errors(test), words(test)
    assert len(charts(test)) == 4


def test_it_says_what_is_fitted_on_what() -> None:
    test = open_page("data_scaling")
    assert "Computed from the 99 training rows alone: the mean and the standard deviation of each column." in said(test)
    assert re.search(r"The 43 new rows are scaled with the same statistics; \d+ of them", said(test))
    test = open_page("data_scaling", method="Unit Length Scaling")
    assert "Nothing is learned from the data: each row is divided by its own length." in said(test)
    test = open_page("data_scaling", method="ZCA Whitening", table="iris flowers", share="100")
    assert "Computed from the 150 training rows alone: the means and covariances of the columns." in said(test)
    assert "new rows are scaled with the same" not in said(test)


def test_columns_of_text_are_named_and_the_shares_of_distance_even_out() -> None:
    test = open_page("data_scaling")
    assert "Omitted columns of text or without values: country, continent." in said(test)
    shares = re.findall(r"<td>([^<]+)%</td>", words(test))
    assert shares == ["&lt;0.1", "33.3", "&gt;99.9", "33.3", "&lt;0.1", "33.3"]


def test_a_table_of_ones_own_is_used() -> None:
    test = open_page("data_scaling", method="ZCA Whitening")
    test.file_uploader(key="table-file").set_value(("mine.csv", GROWING, "text/csv")).run()
    assert not test.exception and not errors(test), words(test)
    assert "40 rows and 2 columns of numbers are used." in said(test)
    assert "correlation 1.00" in said(test)
    assert "metres" in words(test) and "population" not in words(test)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x00\x01\x02", "is not a text file"),
        (b"a,b\nx,y\nz,w\n", "needs a column of numbers"),
        (b"a\n1\n", "two rows"),
    ],
)
def test_a_file_that_is_no_table_gets_one_sentence_and_the_sample(data: bytes, sentence: str) -> None:
    test = open_page("data_scaling")
    test.file_uploader(key="table-file").set_value(("mine.csv", data, "text/csv")).run()
    (box,) = errors(test)
    assert sentence in box and "The sample is shown instead." in box
    assert "population" in words(test) and len(charts(test)) == 6


def test_constant_columns_one_column_and_names_that_look_like_code() -> None:
    data = b"<b>x</b>\n" + b"1\n" * 9
    test = open_page("data_scaling")
    test.file_uploader(key="table-file").set_value(("mine.csv", data, "text/csv")).run()
    assert not test.exception and not errors(test), words(test)
    assert "&lt;b&gt;x&lt;/b&gt;" in words(test) and "<b>x</b>" not in words(test)
    assert "Constant columns" in said(test)


def test_changing_the_table_keeps_the_page() -> None:
    test = open_page("data_scaling", table="iris flowers")
    test.selectbox("across").select("petal length (cm)").run()
    test.selectbox("table").select("gapminder").run()
    assert not test.exception and not errors(test), words(test)
    assert len(charts(test)) == 6
    assert test.selectbox("across").value == "GDP per person (dollars)"


def test_patches_of_a_photo_are_rows() -> None:
    test = open_page("data_scaling", data="a photo", method="ZCA Whitening", row="a patch", patch="8")
    assert not test.exception and not errors(test), words(test)
    assert "a patch of 8 × 8 pixels; the columns are the 192 color values in it" in said(test)
    assert "Computed from all 1,305 patches: the means and covariances of the columns." in said(test)


# --- the figures --------------------------------------------------------------------------------------------------

VALUES = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0], [3.0, 90.0]])
TRAIN = np.array([True, True, False, True])


def test_training_rows_are_filled_and_new_rows_are_rings() -> None:
    figure = data_scaling.scatter(VALUES, ("a", "b"), TRAIN, style.BEFORE)
    known, new = figure.data
    assert (known.name, new.name) == ("training rows", "new rows")
    assert known.x.tolist() == [0, 1, 3] and known.y.tolist() == [10, 20, 90]
    assert new.x.tolist() == [2] and new.marker.symbol == "circle-open"
    assert known.marker.color == new.marker.color == style.BEFORE
    assert (
        figure.layout.showlegend
        and not data_scaling.scatter(VALUES, ("a", "b"), TRAIN | True, "#000000").layout.showlegend
    )


def test_one_scale_has_one_range_for_both_axes() -> None:
    free = data_scaling.scatter(VALUES, ("a", "b"), TRAIN, style.AFTER).layout
    one = data_scaling.scatter(VALUES, ("a", "b"), TRAIN, style.AFTER, one_scale=True).layout
    assert free.xaxis.range != free.yaxis.range and free.yaxis.scaleanchor is None
    assert one.xaxis.range == one.yaxis.range and one.yaxis.scaleanchor == "x"
    assert one.xaxis.range[0] < 0 and one.xaxis.range[1] > 90


def test_strips_put_all_columns_on_one_axis() -> None:
    figure = data_scaling.strips(VALUES, ("a", "<b>" + "x" * 40), TRAIN, style.BEFORE)
    assert sorted(np.concatenate([trace.x for trace in figure.data]).tolist()) == sorted(VALUES.ravel().tolist())
    for trace in figure.data:
        assert (trace.y.round() == (trace.x >= 10)).all()  # the second column's points lie in its own strip
    names = [annotation.text for annotation in figure.layout.annotations]
    assert names[0] == "a" and names[1].startswith("&lt;b&gt;") and names[1].endswith("…")


def test_many_rows_and_columns_are_drawn_in_part() -> None:
    values, train = np.random.default_rng(0).normal(size=(20_000, 30)), np.arange(20_000) % 2 == 0
    names = [f"c{i}" for i in range(30)]
    strips = data_scaling.strips(values, names, train, style.BEFORE)
    assert sum(len(trace.x) for trace in strips.data) <= data_scaling.MOST_POINTS
    assert len(strips.layout.annotations) == data_scaling.MOST_STRIPS
    scatter = data_scaling.scatter(values[:, :2], names[:2], train, style.BEFORE)
    assert sum(len(trace.x) for trace in scatter.data) == data_scaling.MOST_POINTS


def test_histogram_counts_each_kind_of_rows_by_itself() -> None:
    values = np.concatenate([np.zeros(30), np.ones(10), np.ones(5)])
    figure = data_scaling.histogram(values, "a", np.arange(45) < 40, style.AFTER)
    bars, line = figure.data
    assert bars.y[0] == 75 and bars.y[-1] == 25 and bars.y.sum() == 100
    assert line.y.max() == line.y[-2] == 100 and line.y[0] == line.y[-1] == 0
    width = bars.dx
    assert bars.x0 == pytest.approx(width / 2) and line.x0 == pytest.approx(-width / 2)
    assert data_scaling.histogram(np.ones(4), "a", TRAIN, style.AFTER).layout.xaxis.range == (0.5, 1.5)


def test_colors_of_a_photo_have_a_line_each() -> None:
    values = np.random.default_rng(0).random((500, 3))
    figure = data_scaling.color_histogram(values)
    assert [trace.name for trace in figure.data] == ["red", "green", "blue"]
    assert all(trace.y.sum() == pytest.approx(100, abs=1e-3) for trace in figure.data)


def test_statistics_are_those_of_the_columns() -> None:
    after = (VALUES - VALUES.mean(0)) / VALUES.std(0)
    text = tables.statistics(("a", "b & c"), VALUES, after)
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in text.split("<tr>")[2:]]
    assert rows[0] == ["before", "0", "1.5", "1.12", "3", "0.1%"]
    assert rows[1][2:4] == ["0", "1"] and rows[1][-1] == rows[3][-1] == "50.0%"
    assert rows[2][1:5] == ["10", "37.5", "31.1", "90"]
    assert "b &amp; c" in text
    assert "0%" in tables.statistics(("a",), np.ones((3, 1)), np.zeros((3, 1)))


@pytest.mark.parametrize("values", [np.zeros((4, 3)), np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_figures_refuse_what_does_not_fit(values: Any) -> None:
    with pytest.raises(ValueError, match=r"needs (one name per column|finite values)"):
        data_scaling.strips(values, ("a", "b"), TRAIN, style.BEFORE)
    with pytest.raises(ValueError, match="two columns; received 1"):
        data_scaling.scatter(VALUES[:, :1], ("a",), TRAIN, style.BEFORE)
