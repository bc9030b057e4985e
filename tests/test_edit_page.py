"""Edit and verify: regions as text, and the page that fills them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from normviz.figures import changes
from normviz.samples import load_sample
from normviz.ui import paint
from tests.test_pages import errors, open_page, words


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_regions_survive_as_text(flat: list[bool]) -> None:
    painted = torch.tensor(flat).view(3, 4)
    text = paint.runs(painted)
    assert torch.equal(paint.cells(text, (3, 4)), painted)


def test_regions_are_short_and_read_row_by_row() -> None:
    painted = torch.zeros(32, 48, dtype=torch.bool)
    painted[1, :2] = True
    assert paint.runs(painted) == "1c.2"  # 48 left out, 2 in
    assert paint.runs(~painted) == "0.1c.2.15a"
    assert paint.runs(painted & False) == ""
    assert paint.cells("2.3", (1, 6)).tolist() == [[False, False, True, True, True, False]]


@pytest.mark.parametrize("text", ["2,3", "A", ".", "1.", "-1.2", "zzzzz", "é"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"run lengths with points, as 2\.3; received"):
        paint.cells(text, (3, 4))


def test_a_region_of_another_photo_is_refused() -> None:
    assert paint.cells("0.c", (3, 4)).all()
    with pytest.raises(ValueError, match="has 13 cells; this photo has 3 x 4"):
        paint.cells("0.d", (3, 4))


def test_grids_have_square_cells() -> None:
    assert paint.grid(300, 451) == (32, 48)
    assert paint.grid(512, 100) == (48, 9)
    assert paint.grid(1000, 1) == (48, 1)


def test_changes_in_words() -> None:
    assert changes.in_words("cat", 0.94, 0.31) == "cat falls from 94 % to 31 %"
    assert changes.in_words("cat", 0.31, 0.999) == "cat rises from 31 % to more than 99 %"
    assert changes.in_words("cat", 0.001, 0.004) == "cat stays at less than 1 %"
    row = changes.table(["<b>"], [0.5], [0.004], "cat")
    assert "&lt;b&gt;" in row and "50 % → &lt; 1 %" in row and "width:50.0%" in row


def said(test: AppTest) -> str:
    """The page's sentence."""
    return next(str(box.proto.body) for box in test.get("html") if "nv-sentence" in box.proto.body)


def test_the_strongest_part_of_the_map_goes_first() -> None:
    test = open_page("edit_photo")
    assert not test.exception and not errors(test), words(test)
    assert "falls from" in said(test) and "The region filled with one colour" in words(test)
    for where in ("strongest 50 %", "all but the strongest 30 %", "strongest 10 %"):
        test.selectbox(key="area").select(where).run()
        assert not test.exception and not errors(test), words(test)


@pytest.mark.parametrize("filling", ["one colour", "blur", "the surroundings"])
def test_a_painted_region_stands_in_the_link(filling: str) -> None:
    region = "0.140"  # the first 1,440 of 32 x 48 cells: only 2 rows are left
    test = open_page("edit_photo", area="what I paint", paint=region, filling=filling)
    assert not errors(test), words(test)
    assert "Cat falls from" in said(test) or "cat falls from" in said(test).lower()


def test_nothing_painted_is_a_hint_and_a_bad_region_a_sentence() -> None:
    test = open_page("edit_photo", area="what I paint")
    assert "Drag over the photo" in said(test) and not errors(test)
    test = open_page("edit_photo", area="what I paint", paint="zzz.zzz")
    assert "this photo has 32 x 48" in " ".join(errors(test))
    test = open_page("edit_photo", area="what I paint", paint="0.16o")
    assert "the region is the whole picture" in " ".join(errors(test)).lower()


def test_an_own_photo_is_reduced_and_edited_and_the_old_region_is_dropped() -> None:
    test = open_page("edit_photo", area="what I paint", paint="0.50")
    assert not errors(test)
    test.file_uploader(key="photo-file").set_value(("hubble.jpg", load_sample("hubble"), "image/jpeg")).run()
    assert not test.exception and not errors(test)
    assert "Drag over the photo" in said(test) and "paint" not in test.query_params
    test.selectbox(key="area").select("strongest 20 %").run()
    assert not errors(test), words(test)
