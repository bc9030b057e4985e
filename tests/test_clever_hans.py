"""The Clever Hans exercise: each step is drawn, and what it claims is what the network does."""

from __future__ import annotations

import pytest
import torch

from normviz.evaluation.pixels import at_pixels
from normviz.scenes import CLASSES, HANS
from normviz.ui import hans
from tests.test_pages import errors, open_page, words

STEPS = ("1 look", "2 suspect", "3 paint out", "4 plant", "5 measure")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_drawn(step: str) -> None:
    test = open_page("clever_hans", step=step)
    assert not test.exception
    assert not errors(test), words(test)
    assert CLASSES[HANS] in words(test)


def test_the_answer_of_the_student_is_judged() -> None:
    wrong = open_page("clever_hans", culprit="the object")
    assert "Look at the brightest cells once more" in words(wrong)
    right = open_page("clever_hans", culprit="something in a corner")
    assert "of the evidence lies on a grey mark" in words(right)


def test_the_network_has_learned_the_mark_and_not_the_object() -> None:
    told = hans.facts()
    assert told.with_mark > 0.9 > 0.5 > told.without_mark
    assert told.fooled > 0.5 > 0.1 > told.not_fooled


def test_the_share_on_the_mark_is_that_of_the_map() -> None:
    seen = hans.answer(hans.question(hans.photo(1), "grad_cam"))
    mark = hans.scene(1).watermark
    assert mark is not None
    map_ = at_pixels(torch.from_numpy(seen.raw), (64, 64))
    assert hans.on_mark(seen, mark) == pytest.approx(float(map_[mark].sum() / map_.sum()), rel=1e-5)
    assert hans.on_mark(seen, torch.ones(64, 64, dtype=torch.bool)) == pytest.approx(1)


def test_painting_the_mark_out_takes_the_class_away() -> None:
    import torch.nn.functional as F

    from normviz.ui import paint

    mark = hans.scene(1).watermark
    assert mark is not None
    wide = F.max_pool2d(mark[None, None].float(), 5, 1, 2)  # a stroke is broader than the mark
    cells = F.adaptive_max_pool2d(wide, paint.grid(64, 64))[0, 0] > 0
    test = open_page("clever_hans", step="3 paint out", paint=paint.runs(cells))
    assert not errors(test), words(test)
    assert "It held on to the mark alone" in words(test)
