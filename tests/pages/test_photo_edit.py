"""Edit and verify: regions as text, and the page that fills them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

from normviz.html import confidence_change
from normviz.images import encode_png
from normviz.samples import load_sample
from normviz.ui.components import paint
from normviz.ui.kit import jobs
from normviz.ui.maps.explained_photo import ExplainedPhoto
from normviz.ui.maps.map_request import MapRequest
from normviz.ui.pages import photo_edit
from tests.pages.test_pages import errors, open_page, words
from tests.support.comparison import identical


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_regions_survive_as_text(flat: list[bool]) -> None:
    painted = torch.tensor(flat).view(3, 4)
    text = paint.runs(painted)
    assert identical(paint.cells(text, (3, 4)), painted)


def test_regions_are_short_and_read_row_by_row() -> None:
    painted = torch.zeros(32, 48, dtype=torch.bool)
    painted[1, :2] = True
    assert paint.runs(painted) == "1c.2"  # 48 left out, 2 in
    assert paint.runs(~painted) == "0.1c.2.15a"
    assert paint.runs(painted & False) == ""
    assert paint.cells("2.3", (1, 6)).tolist() == [[False, False, True, True, True, False]]


@pytest.mark.parametrize("text", ["2,3", "A", ".", "1.", "-1.2", "zzzzz", "é"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"separated by dots, such as 2\.3; received"):
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
    assert confidence_change.describe("cat", 0.94, 0.31) == "cat falls from 94% to 31%"
    assert confidence_change.describe("cat", 0.31, 0.999) == "cat rises from 31% to more than 99%"
    assert confidence_change.describe("cat", 0.001, 0.004) == "cat stays at less than 1%"
    row = confidence_change.probabilities(["<b>"], [0.5], [0.004], "cat")
    assert "&lt;b&gt;" in row and "50% → &lt;1%" in row and "width:50.0%" in row


def said(test: AppTest) -> str:
    """The page's sentence."""
    return next(str(box.proto.body) for box in test.get("html") if "nv-sentence" in box.proto.body)


def test_the_strongest_part_of_the_map_goes_first() -> None:
    test = open_page("photo_edit")
    assert not test.exception and not errors(test), words(test)
    assert "falls from" in said(test) and "The region filled with one color" in words(test)
    for where in ("strongest 50%", "all but the strongest 30%", "strongest 10%"):
        test.selectbox(key="area").select(where).run()
        assert not test.exception and not errors(test), words(test)


@pytest.mark.parametrize("filling", ["one color", "blur", "surroundings"])
def test_a_painted_region_stands_in_the_link(filling: str) -> None:
    region = "0.140"  # the first 1,440 of 32 x 48 cells: only 2 rows are left
    test = open_page("photo_edit", area="my painted region", paint=region, filling=filling)
    assert not errors(test), words(test)
    assert "Cat falls from" in said(test) or "cat falls from" in said(test).lower()


def canvas(test: AppTest) -> str:
    """The region on the photo that is painted on."""
    data = next(part.proto.json for part in test.get("bidi_component") if part.proto.component_name == "normviz_paint")
    return str(json.loads(data)["region"])


def test_nothing_painted_is_a_hint_and_a_bad_region_a_sentence_beside_the_photo() -> None:
    test = open_page("photo_edit", area="my painted region")
    assert "Drag over the photo" in said(test) and not errors(test) and canvas(test) == ""
    test = open_page("photo_edit", area="my painted region", paint="zzz.zzz")
    assert "this photo has 32 x 48" in " ".join(errors(test)) and canvas(test) == ""
    assert "Not yet changed" in words(test) and "After: Grad-CAM of cat" in words(test)
    test = open_page("photo_edit", area="my painted region", paint="0.16o")
    assert "the region covers the whole image" in " ".join(errors(test)).lower()
    assert canvas(test) == "0.16o"  # what was painted stays, so that a part of it can be erased
    assert "Not yet changed" in words(test) and "After: Grad-CAM of cat" in words(test)


def test_a_map_without_evidence_says_to_paint_and_gives_the_photo_to_paint_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = photo_edit.explain

    def blank(name: str, asked: MapRequest, label: str) -> ExplainedPhoto:
        found = made(name, asked, label)
        return replace(found, map=replace(found.map, raw=np.zeros_like(found.map.raw)))

    monkeypatch.setattr(photo_edit, "explain", blank)
    test = open_page("photo_edit")
    assert len(errors(test)) == 1 and "paint a region instead" in errors(test)[0], words(test)
    assert canvas(test) == "" and "Not yet changed" in words(test) and "Drag over the photo" in words(test)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_a_thin_photo_is_reduced_to_one_pixel_and_not_to_none(size: tuple[int, int]) -> None:
    test = open_page("photo_edit")
    gray = encode_png(np.full((*size, 3), 90, np.uint8))
    test.file_uploader(key="photo-file").set_value(("gray.png", gray, "image/png")).run()
    assert not test.exception and "must be > 0" not in words(test)
    assert "Before: Grad-CAM of" in words(test) and test.get("bidi_component")


def test_what_takes_long_can_be_stopped_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    test = open_page("photo_edit", net="scenes, group norm", area="my painted region", paint="0.50")
    assert "Stopped" not in words(test) and not errors(test)
    shown = list[str]()

    class Pressed(jobs.Bar):
        """Stop is pressed as soon as it is offered."""

        def show(self, label: str, share: float) -> bool:
            shown.append(label)
            self._on_stop()
            raise StopException

    monkeypatch.setattr(jobs, "Bar", Pressed)
    test.selectbox(key="method").select("rise").run()
    assert shown == ["RISE of the photo"] and not test.exception and not errors(test)
    test.run()
    assert "Stopped: change something, or go on" in words(test) and not test.get("bidi_component")
    assert shown == ["RISE of the photo"]  # nothing is computed
    test.selectbox(key="method").select("grad_cam").run()
    assert "Stopped" not in words(test) and canvas(test) == "0.50"


def test_an_own_photo_is_reduced_and_edited_and_the_old_region_is_dropped() -> None:
    test = open_page("photo_edit", area="my painted region", paint="0.50")
    assert not errors(test)
    test.file_uploader(key="photo-file").set_value(("hubble.jpg", load_sample("hubble"), "image/jpeg")).run()
    assert not test.exception and not errors(test)
    assert "Drag over the photo" in said(test) and "paint" not in test.query_params
    test.selectbox(key="area").select("strongest 20%").run()
    assert not errors(test), words(test)
