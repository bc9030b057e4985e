"""The page where a tiny network trains, and what stands behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from normviz.attribution import Probe, grad_cam
from normviz.experiments.labs.training import Recipe, probabilities, tiny_net, to_input
from normviz.formatting import percent
from normviz.html import training as training_html
from normviz.html.training import Curve
from normviz.images import resize_map
from normviz.models.embedded import read_weights
from normviz.paths import ASSETS
from normviz.scenes import CLASSES, Scenes, make_scene, make_scenes
from normviz.ui.kit import cache, jobs
from normviz.ui.pages import training
from tests.pages.test_pages import errors, open_page, words


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few scenes and few steps."""
    for name, value in (("SCENES", 60), ("NOTHING", 8), ("TESTED", 8), ("MOST_STEPS", 6)):
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(cache, "_COLLECTIONS", {})
    yield


# ------------------------------------------------------------------------------------------ the page
def test_the_page_shows_scenes_and_what_an_untrained_network_says() -> None:
    test = open_page("training")
    assert not test.exception and not errors(test)
    said = words(test)
    assert all(name in said for name in CLASSES)
    assert said.count("not trained yet") == 6 * 2  # the words and what is read aloud
    assert [button.label for button in test.button] == ["Train"]


@pytest.mark.parametrize("norm", ["batch norm", "none"])
def test_a_network_trains_on_the_page(norm: str) -> None:
    test = open_page("training", norm=norm)
    test.button[0].click().run()
    assert not test.exception and not errors(test)
    said = words(test)
    assert "Finished after 6 steps" in said and "not trained yet" not in said
    assert "Loss by step" in said and "Accuracy by step" in said
    assert [button.label for button in test.button] == ["Train again"]
    first = test.session_state["tiny-run"]
    assert len(first.history) == 6 and not first.model.training
    test.button[0].click().run()
    again = test.session_state["tiny-run"]
    assert again is not first and [at.loss for at in again.history] == [at.loss for at in first.history]


def test_other_knobs_begin_anew_and_other_test_scenes_do_not() -> None:
    test = open_page("training")
    test.button[0].click().run()
    run = test.session_state["tiny-run"]
    test.segmented_control(key="tests").set_value("two").run()
    assert test.session_state["tiny-run"] is run and "Finished after" in words(test)
    assert " and " in words(test)
    test.segmented_control(key="tests").set_value("unknown").run()
    assert "no object of a class" in words(test) and not errors(test)
    test.number_input(key="seed").set_value(4).run()
    assert "Finished after" not in words(test)
    assert test.session_state["tiny-run"].recipe.seed == 4


def test_a_training_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SLICE", 0.0)
    test = open_page("training")
    run = test.session_state["tiny-run"]
    scenes = training.data(lambda job: None)
    run.advance(scenes)
    assert len(run.history) == 1 and run.stopped
    test.run()
    assert "Stopped after 1 steps" in words(test) and [button.label for button in test.button] == ["Go on"]
    test.button[0].click().run()
    assert "Finished after 6 steps" in words(test) and test.session_state["tiny-run"] is run


def test_two_visitors_have_networks_of_their_own() -> None:
    one, other = open_page("training"), open_page("training")
    one.button[0].click().run()
    assert not other.session_state["tiny-run"].history
    assert one.session_state["tiny-run"].model is not other.session_state["tiny-run"].model


# ------------------------------------------------------------------------------------------ behind it
def test_pieces_of_work_make_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = training.data(lambda job: None)
    losses = []
    for piece in (0.0001, 100.0):
        monkeypatch.setattr(training, "SLICE", piece)
        run = training.begin(Recipe(steps=6, seed=2))
        while not run.done:
            run.advance(scenes)
        losses.append([at.loss for at in run.history])
    assert losses[0] == losses[1]


def slowly(make: Callable[..., Scenes]) -> Callable[..., Scenes]:
    """The same after half a second, so that it is seen in the making."""

    def later(*args: Any, **kwargs: Any) -> Scenes:
        time.sleep(0.5)
        return make(*args, **kwargs)

    return later


def test_the_scenes_are_made_once_and_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class TurnedAway(BaseException):
        pass

    def cancel(job: jobs.Job[Any]) -> None:
        raise TurnedAway

    monkeypatch.setattr(training, "make_scenes", slowly(make_scenes))
    with pytest.raises(TurnedAway):
        training.data(cancel)
    shares: list[float] = []
    made = training.data(lambda job: shares.append(job.share))
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
    assert training.data(cancel) is made


def test_smoothed() -> None:
    values = np.random.default_rng(0).normal(size=80).tolist()
    expected = [float(np.mean(values[max(i - training.WINDOW + 1, 0) : i + 1])) for i in range(80)]
    assert training.smoothed(values) == pytest.approx(expected)
    assert training.smoothed([]) == []


def test_answers_tell_class_confidence_and_the_share_of_the_map_on_the_object() -> None:
    model, _ = read_weights(ASSETS / "scenes_batch.safetensors")
    scenes = [make_scene(3), make_scene(4, objects=2), make_scene(5, objects=0)]
    found = training.answers(model, scenes)
    assert found[2].share_on_object is None and not found[2].right
    for scene, answer in zip(scenes[:2], found, strict=False):
        share = probabilities(model, scene.image[None])[0]  # (classes,)
        best = int(share.argmax())
        assert answer.text == f"{CLASSES[best]}, {percent(float(share[best]))}"
        assert answer.right == (best in [item.label for item in scene.items])
        raw = grad_cam(Probe(model, to_input(scene.image[None]), best))[0]  # (h, w)
        drawn = resize_map(raw, (64, 64))
        covered = torch.stack([item.mask for item in scene.items]).any(dim=0)
        assert answer.share_on_object == pytest.approx(float((drawn * covered).sum() / drawn.sum()), abs=1e-4)
    cards = training.cards(scenes, tiny_net("batch"), None)
    assert all(card.after is None for card in cards) and cards[2].area == 0
    assert cards[0].area == pytest.approx(float(scenes[0].items[0].mask.float().mean()))


def test_a_chart_says_where_it_is_and_draws_every_curve() -> None:
    points = [(step, 0.5) for step in range(1, 1001)]
    drawn = training_html.chart(
        "Right & wrong", [Curve("seen", "#7C8DA6", points), Curve("new", "#D9622B", [])], 1000, 1.0, True
    )
    assert "Right &amp; wrong by step. seen now 50%" in drawn and "100%" in drawn
    lines = training_html._lines([Curve("seen", "#7C8DA6", points)], [0.0], 1000, 1.0)
    assert lines.startswith("data:image/svg+xml;base64,") and len(lines) < 12_000  # not every point is sent
    empty = training_html.chart("Loss", [Curve("loss", "#7C8DA6", [])], 1)
    assert "Loss by step" in empty
