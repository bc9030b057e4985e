"""The pages without a browser: every method and normalization is drawn, and bad input gets one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from normviz.registry import methods
from normviz.samples import load_sample

ROOT = Path(__file__).resolve().parents[1]
WAIT = 60  # seconds


def open_page(name: str, **link: str) -> AppTest:
    """A page of the app, opened by a link."""
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=WAIT)
    test.switch_page(f"pages/{name}.py")
    for key, value in link.items():
        test.query_params[key] = value
    return test.run()


def words(test: AppTest) -> str:
    """Everything that the page's boxes say."""
    return " ".join(box.proto.body for box in test.get("html"))


def errors(test: AppTest) -> list[str]:
    """The sentences in error boxes."""
    return [box.proto.body for box in test.get("html") if "nv-error" in box.proto.body]


FAST = [method.title for method in methods("attribution") if method.name != "score_cam"]


@pytest.mark.parametrize("title", FAST)
def test_every_method_draws_the_cat(title: str) -> None:
    test = open_page("class_activation_maps", method=title)
    assert not test.exception
    assert not errors(test), words(test)
    assert "The network says: cat" in words(test)


@pytest.mark.parametrize("title", [method.title for method in methods("normalization")])
@pytest.mark.parametrize("shape", ["N, C", "N, T, D", "N, C, H, W"])
def test_every_normalization_is_drawn_in_every_shape_it_takes(title: str, shape: str) -> None:
    if (title, shape) == ("Instance Normalization", "N, C"):
        pytest.skip("one value per example and channel cannot be normalized; it is not offered")
    test = open_page("normalize", method=title, shape=shape)
    assert not test.exception
    assert not errors(test), words(test)


def test_one_value_per_channel_in_training_is_said_and_the_page_goes_on() -> None:
    test = open_page("normalize", shape="N, C", N="1")
    assert "more than one value per channel" in " ".join(errors(test))
    test.toggle("training").set_value(False).run()
    assert not errors(test)


def test_the_network_says_when_it_does_not_know() -> None:
    test = open_page("class_activation_maps", sample="the Hubble deep field")
    assert "may be none of the 11 classes" in words(test)


def test_a_photo_of_ones_own_is_used_and_a_broken_one_is_said() -> None:
    test = open_page("class_activation_maps")
    test.file_uploader(key="photo-file").set_value(("cat.png", load_sample("chelsea"), "image/png")).run()
    assert "The network says: cat" in words(test)
    test.file_uploader(key="photo-file").set_value(("cat.jpg", load_sample("chelsea")[:5000], "image/jpeg")).run()
    assert "The sample is shown instead" in " ".join(errors(test))


def test_an_unknown_class_or_layer_in_a_link_is_said_and_ignored() -> None:
    test = open_page("class_activation_maps", **{"class": "unicorn", "layer": "stage9"})
    said = " ".join(caption.value for caption in test.caption)
    assert "unicorn" in said
    assert "stage9" in said
    assert not errors(test)
