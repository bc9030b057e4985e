"""The page that asks whether a map is true."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from normviz.registry import methods
from normviz.samples import load_sample
from tests.pages.test_pages import errors, open_page, words

KEYS = {"sample", "camera", "net", "size", "method", "class", "layer", "filled", "shown", "pictures", "beside", "share",
        "action"}  # fmt: skip


def _open(**link: str) -> AppTest:
    test = open_page("faithfulness", **link)
    assert not test.exception and not errors(test), words(test)
    return test


def test_the_first_screen_shows_the_map_and_what_its_removal_does() -> None:
    said = words(_open())
    for words_ in ("The map", "10% hidden", "30% hidden", "50% hidden", "This map", "A random map", "cat: 94%"):
        assert words_ in said
    assert said.count("data:image/") == 8 and "<table" not in said


def test_curves_are_measured_on_demand_and_stay_until_something_changes() -> None:
    test = _open(pictures="10")
    test.button(key="measure").click().run()
    assert not test.exception and not errors(test), words(test)
    said = words(test)
    assert "Removing what the map marks lowers the probability" in said and "Grad-CAM</th>" in said
    test.slider(key="share").set_value(50).run()
    assert "<table" in words(test)
    test.selectbox(key="method").select("hires_cam").run()
    assert "<table" not in words(test) and test.button(key="measure")


def test_pixels_can_be_put_back_and_the_share_stands_in_the_link() -> None:
    removed, back = (words(_open(share="100", action=action)) for action in ("hide", "reveal"))
    assert removed.count("<br>cat: 94%") == 1  # the untouched photo alone
    assert back.count("<br>cat: 94%") == 5  # all that is put back gives the photo


def test_a_photo_of_ones_own_is_judged_in_ones_session() -> None:
    test = _open(pictures="10")
    test.file_uploader(key="photo-file").set_value(("cat.png", load_sample("chelsea"), "image/png")).run()
    test.button(key="measure").click().run()
    assert not test.exception and not errors(test) and "<table" in words(test)


@pytest.mark.parametrize("knob", sorted({knob.name for method in methods("attribution") for knob in method.knobs}))
def test_no_knob_of_a_method_has_the_key_of_the_page(knob: str) -> None:
    assert knob not in KEYS
