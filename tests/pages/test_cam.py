"""The pages Class activation maps and Evidence: targets, methods, sections, stopping, and the script."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from normviz.models.catalog import load_classifier
from normviz.registry import Attribution, get, methods
from normviz.samples import SAMPLES, load_sample
from normviz.ui.inputs import method as method_picker
from normviz.ui.inputs import target_picker
from normviz.ui.inputs.photo import decoded
from normviz.ui.kit.jobs import Job
from normviz.ui.maps.map_request import AttributionMap, MapRequest, make_map
from normviz.ui.maps.photo import Photo
from normviz.ui.pages.cam import stage
from tests.pages.test_pages import errors, open_page, words
from tests.support.comparison import identical

PAGE = "cam"
SLOW = [method for method in methods("attribution") if method.slow]
STEM = "stem 48 × 32 × 32"  # a layer with few channels


def small(method: Attribution) -> dict[str, str]:
    """Knobs in a link with which a method that takes long takes a moment."""
    few = {"samples": "2", "steps": "2", "masks": "16", "window": "0.5", "stride": "0.5"}
    ranges = {knob.name: knob.range for knob in method.knobs if knob.range}
    return {
        name: f"{min(max(float(value), ranges[name].low), ranges[name].high):g}"
        for name, value in few.items()
        if name in ranges
    } | ({"layer": STEM} if method.reads_layer else {})


@pytest.mark.parametrize("method", SLOW, ids=lambda method: method.name)
def test_every_method_that_takes_long_draws_the_cat(method: Attribution) -> None:
    test = open_page(PAGE, method=method_picker.title(method.name), **small(method))
    assert not test.exception
    assert not errors(test), words(test)
    assert test.selectbox(key="method").value == method.name
    assert "Prediction: cat" in words(test) and "The map is blank" not in words(test)
    assert not [c.value for c in test.caption if "The link asks for" in c.value]


def test_the_list_begins_with_maps_of_a_layer_and_ends_with_what_takes_long() -> None:
    listed = method_picker.names()
    assert sorted(listed) == sorted(method.name for method in methods("attribution"))
    kinds = [(get(name, "attribution").slow, get(name, "attribution").level == "input") for name in listed]
    assert kinds == sorted(kinds)
    assert method_picker.title("score_cam") == "Score-CAM (slow)" and method_picker.title("grad_cam") == "Grad-CAM"


@pytest.mark.parametrize("asked", ["ablation_cam", "AblationCAM", "Ablation-CAM"])
def test_a_link_may_name_a_method_by_any_of_its_names(asked: str) -> None:
    test = open_page(PAGE, method=asked, layer=STEM)
    assert not test.exception and not errors(test)
    assert test.selectbox(key="method").value == "ablation_cam"


# Targets


def test_difference_between_two_classes() -> None:
    test = open_page(PAGE, aim="Difference between two classes", **{"class": "cat", "not": "dog"})
    assert not test.exception and not errors(test), words(test)
    names = [button.proto.label for button in test.get("download_button")]
    assert len(names) == 3
    test.selectbox(key="not").select("cat").run()
    assert "The two classes must differ; received cat twice" in " ".join(errors(test))
    test.selectbox(key="not").select("dog").run()
    test.selectbox(key="method").select("finer_cam").run()
    assert not test.exception and not errors(test)
    assert not [slider for slider in test.slider if slider.key == "similar"]  # the other class is named


def test_similarity_to_another_photo() -> None:
    test = open_page(PAGE, aim="Similarity to another photo", **{"like-sample": SAMPLES["astronaut"]})
    assert not test.exception and not errors(test), words(test)
    assert not [box for box in test.selectbox if box.key == "class"]
    test.selectbox(key="method").select("cam").run()
    assert not test.exception and "CAM" in " ".join(errors(test))  # it needs a class


def test_fusion_of_chosen_layers() -> None:
    test = open_page(PAGE, method="LayerCAM, fused")
    assert not test.exception and not errors(test), words(test)
    test.multiselect(key="layers").set_value(["stage4", "stage2"]).run()
    assert not test.exception and not errors(test)


@pytest.mark.parametrize("section", stage.SECTIONS)
@pytest.mark.parametrize("target", list(target_picker.KINDS.values()))
def test_every_section_is_drawn(section: str, target: str) -> None:
    test = open_page(PAGE, section=section, aim=target)
    assert not test.exception and not errors(test), words(test)
    said = " ".join([*(caption.value for caption in test.caption), words(test), *(c.value for c in test.code)])
    expected = {
        "formula": "The numbers of the strongest cell", "pooling": "The contributions sum to",
        "layers": "Choose stage", "Python": "probe = Probe(",
    }  # fmt: skip
    assert expected[section] in said


def test_the_pooling_adds_up_to_the_logit_on_the_page() -> None:
    test = open_page(PAGE, section="pooling")
    assert "gives the score" in " ".join(caption.value for caption in test.caption)
    table = words(test)
    assert "the 375 other channels" in table and "bias" in table and "the logit" in table


def test_a_blank_map_is_explained_and_a_layer_is_offered() -> None:
    test = open_page(PAGE, layer="stage1.0.conv1.conv 48 × 32 × 32")
    assert not test.exception and not errors(test)
    assert "The map is blank" in words(test) and "sum to 0 or less" in words(test)
    test.button(key="use-stage4").click().run()
    assert test.selectbox(key="layer").value == "stage4"
    assert "The map is blank" not in words(test)


def test_the_recommended_layer_is_taken_with_a_button() -> None:
    test = open_page(PAGE, section="layers", layer="stage2 96 × 16 × 16")
    test.button(key="use-stage4").click().run()
    assert not test.exception and test.selectbox(key="layer").value == "stage4"


# The lines of Python


def photo(name: str) -> Photo:
    return Photo(SAMPLES[name], decoded(load_sample(name)), name, name)


def question(method: str, **asked: Any) -> MapRequest:
    """A question about the cat."""
    classifier = load_classifier()
    layer = asked.pop("layer", "stage4")
    settings = get(method).settings(asked.pop("settings", {}))
    return MapRequest(
        photo("chelsea"), classifier, get(method, "attribution"), classifier.index("cat"), layer, settings, **asked
    )


def run_script(asked: MapRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float32]:
    """What the script's `heatmap` is, run where the photos lie."""
    monkeypatch.chdir(folder)
    (folder / "photo.jpg").write_bytes(load_sample("chelsea"))
    (folder / "other.jpg").write_bytes(load_sample("coffee"))
    names: dict[str, Any] = {}
    exec(compile(asked.script(), "script", "exec"), names)
    heatmap: torch.Tensor = names["heatmap"]
    return heatmap.numpy()


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("grad_cam", {}),
        ("cam", {"settings": {"relu": True}}),
        ("guided_grad_cam", {"layer": "stage3"}),
        ("saliency", {}),
        ("hires_cam", {"other": "dog"}),
        ("finer_cam", {"other": "dog"}),
        ("grad_cam", {"like": "coffee"}),
        ("layer_cam_fusion", {"layers": ("stage2", "stage4")}),
        ("integrated_gradients", {"settings": {"steps": 2}}),
    ],
)
def test_the_lines_of_python_make_the_same_map(
    method: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "like" in asked:
        asked = asked | {"like": photo(asked["like"])}
    if "other" in asked:
        asked = asked | {"other": load_classifier().index(asked["other"])}
    one = question(method, **asked)
    shown = make_map(one)
    assert shown.raw.any()
    theirs = run_script(one, tmp_path, monkeypatch)
    assert theirs.shape == shown.raw.shape
    assert np.abs(theirs - shown.raw).max() <= 1e-4 * np.abs(shown.raw).max()


@pytest.mark.parametrize("method", [method.name for method in methods("attribution")])
def test_the_lines_of_python_name_every_method(method: str) -> None:
    source = question(method).script()
    names: dict[str, Any] = {}
    exec(compile("\n".join(line for line in source.splitlines() if "import" in line), "script", "exec"), names)
    assert callable(names[method])
    assert ("layer=" in source) == (
        get(method, "attribution").reads_layer and not get(method, "attribution").takes("layers")
    )


# Stopping


def test_a_stopped_map_is_shown_as_far_as_it_came() -> None:
    test = open_page(PAGE, method=method_picker.title("rise"), masks="16")
    assert not errors(test)
    asked = question("rise", settings=get("rise").settings({"masks": 16}))
    identity = ("map", asked.photo.identity, asked.key)
    partial = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
    test.session_state["map stopped"] = identity
    test.session_state["map so far"] = (identity, partial, 0.4)
    test.run()
    assert not test.exception and not errors(test), words(test)
    assert any("Stopped at 40%: this is an approximation" in caption.value for caption in test.caption)
    test.button(key="go-on").click().run()
    assert not test.exception and not errors(test)
    assert not any("Stopped" in caption.value for caption in test.caption)


def test_a_stop_before_there_is_anything_is_said() -> None:
    test = open_page(PAGE, method=method_picker.title("rise"), masks="16")
    asked = question("rise", settings=get("rise").settings({"masks": 16}))
    test.session_state["map stopped"] = ("map", asked.photo.identity, asked.key)
    test.run()
    assert "was stopped before its first map" in " ".join(errors(test))
    assert test.button(key="go-on")


def test_previews_reach_the_page_and_the_last_one_is_the_map() -> None:
    seen: list[NDArray[np.float32]] = []

    class Recorded(Job[AttributionMap]):
        def preview(self, value: object) -> None:
            assert isinstance(value, np.ndarray)
            seen.append(value)

    request = question("smooth_grad", settings={"samples": 9, "seed": 3})
    job = Recorded(partial(make_map, request))
    job.join()
    shown = job.result(lambda job: None)
    assert len(seen) >= 2 and not identical(seen[0], seen[-1])
    assert identical(seen[-1], shown.raw)


# Evidence


@pytest.mark.parametrize(
    "link", [{}, {"way": "Pixels and biases (FullGrad)"}, {"aim": "Difference between two classes"}], ids=str
)
def test_the_ledger_adds_up_on_the_page(link: dict[str, str]) -> None:
    test = open_page("evidence", **link)
    assert not test.exception and not errors(test), words(test)
    assert "nv-good" in words(test) and "together" in words(test)
    assert any("They sum to the score" in caption.value for caption in test.caption)


def test_a_ledger_with_a_rest_says_so() -> None:
    test = open_page("evidence", layer="stage3")
    assert not test.exception and not errors(test)
    assert "unexplained" in words(test)


def test_classes_of_one_name_are_told_apart() -> None:
    from dataclasses import replace

    twice = replace(load_classifier(), classes=("crane", "cat", "crane"))
    assert target_picker.labels(twice) == ("crane (0)", "cat", "crane (2)")
