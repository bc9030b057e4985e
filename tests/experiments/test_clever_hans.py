"""The Clever Hans exercise: each step is drawn, and what it claims is what the network does."""

from __future__ import annotations

import json

import pytest
import torch

from normviz.attribution import Probe, layer_cam
from normviz.evaluation.pixels import at_pixels
from normviz.experiments.labs import clever_hans
from normviz.experiments.labs.clever_hans import clever_hans_facts
from normviz.experiments.labs.training import probabilities
from normviz.models.residual import ResidualNet
from normviz.scenes import CLASSES, HANS
from normviz.ui.pages import clever_hans as page
from tests.pages.test_pages import errors, open_page, words

STEPS = ("1 look", "2 suspect", "3 paint over", "4 add the mark", "5 measure")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_drawn(step: str) -> None:
    test = open_page("clever_hans", step=step)
    assert not test.exception
    assert not errors(test), words(test)
    assert CLASSES[HANS] in words(test)


def test_the_answer_of_the_student_is_judged() -> None:
    wrong = open_page("clever_hans", culprit="the object")
    assert "Look at the brightest cells again" in words(wrong)
    right = open_page("clever_hans", culprit="something in a corner")
    assert "of the evidence lies on a gray mark" in words(right)


def test_the_network_has_learned_the_mark_and_not_the_object() -> None:
    told = page.facts()
    assert told.with_mark > 0.9 > 0.5 > told.without_mark
    assert told.fooled > 0.5 > 0.1 > told.not_fooled


def test_the_page_counts_the_pictures_that_were_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    maps = list[int]()

    def counting(model: ResidualNet, images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return probabilities(model, images)

    def mapped(probe: Probe) -> torch.Tensor:
        maps.append(1)
        return layer_cam(probe)

    monkeypatch.setattr(clever_hans, "probabilities", counting)
    monkeypatch.setattr(clever_hans, "layer_cam", mapped)
    monkeypatch.setattr(clever_hans, "MAPS", 5)
    model = page.network().model
    assert isinstance(model, ResidualNet)
    told = clever_hans_facts(model, 10)
    assert asked == [told.pictures, told.pictures, told.other_pictures, told.other_pictures] == [10, 10, 14, 14]
    assert told.maps == len(maps) == 5
    said = page.sample_sizes(told)
    assert "on 10 images of a" in said and "and 14 images of other classes" in said and "LayerCAM on 5 images" in said


def test_the_share_on_the_mark_is_that_of_the_map() -> None:
    seen = page.compute(page.request_for(page.photo(1), "grad_cam"))
    mark = page.scene(1).watermark
    assert mark is not None
    map_ = at_pixels(torch.from_numpy(seen.raw), (64, 64))
    assert page.on_mark(seen, mark) == pytest.approx(float(map_[mark].sum() / map_.sum()), rel=1e-5)
    assert page.on_mark(seen, torch.ones(64, 64, dtype=torch.bool)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("region", "sentence", "shown"),
    [
        ("zzz.zzz", "this photo has 48 x 48", ""),
        ("nonsense!", "painted region is run lengths", ""),
        ("0.1s0", "region covers the whole image", "0.1s0"),
    ],
)
def test_a_bad_region_is_a_sentence_above_the_picture_to_paint_on(region: str, sentence: str, shown: str) -> None:
    test = open_page("clever_hans", step="3 paint over", paint=region)
    assert not test.exception and len(errors(test)) == 1 and sentence in errors(test)[0]
    (canvas,) = test.get("bidi_component")
    assert json.loads(canvas.proto.json)["region"] == shown
    assert "Paint over what you suspect" in words(test)


def test_painting_the_mark_out_takes_the_class_away() -> None:
    import torch.nn.functional as F

    from normviz.ui.components import paint

    mark = page.scene(1).watermark
    assert mark is not None
    wide = F.max_pool2d(mark[None, None].float(), 5, 1, 2)  # a stroke is broader than the mark
    cells = F.adaptive_max_pool2d(wide, paint.grid(64, 64))[0, 0] > 0
    test = open_page("clever_hans", step="3 paint over", paint=paint.runs(cells))
    assert not errors(test), words(test)
    assert "The network used only the mark" in words(test)
