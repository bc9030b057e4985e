"""What the first choices of a page say of themselves: no select without a question mark beside it."""

from __future__ import annotations

import pytest

from normviz.ui.kit import tooltips
from tests.pages.test_pages import errors, open_page, words

SAID = {
    "cam": {
        "method": tooltips.METHOD, "class": tooltips.CLASS, "layer": tooltips.SIZED_LAYER, "colors": tooltips.COLORS,
    },
    "evidence": {"class": tooltips.CLASS, "layer": tooltips.LAYER},
    "photo_edit": {"method": tooltips.METHOD, "class": tooltips.CLASS},
    "faithfulness": {"method": tooltips.METHOD, "class": tooltips.CLASS, "layer": tooltips.SIZED_LAYER},
    "sanity_check": {"method": tooltips.METHOD, "class": tooltips.CLASS, "layer": tooltips.SIZED_LAYER},
    "clever_hans": {"method": tooltips.METHOD},
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_choices_of_a_map_say_what_they_are(name: str) -> None:
    test = open_page(name)
    assert not test.exception and not errors(test)
    assert {key: test.selectbox(key=key).help for key in SAID[name]} == SAID[name]


def test_the_evidence_page_says_score_and_logit() -> None:
    assert "the score (logit) of cat" in words(open_page("evidence"))


def test_the_cells_of_a_layer_are_not_given_in_pixels_which_differ_by_network() -> None:
    (text,) = (box.value for box in open_page("cam").markdown if "Each cell of the map" in box.value)
    assert "pixels." not in text and "gives the number of cells" in text
