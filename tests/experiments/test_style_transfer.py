"""Style transfer: the exchange of statistics, the search for a picture, its chart, and the page."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest
from torch import Tensor

from normviz.experiments.labs.style_transfer import EPS, LAYERS, Painting, Statistics, exchange, paint, square
from normviz.figures.experiments.style_transfer import Cloud, against_style
from normviz.images import decode
from normviz.models.catalog import Classifier, read_classifier
from normviz.samples import load_sample
from normviz.ui.kit import cache as shared
from tests.pages.test_pages import open_page
from tests.support.comparison import identical
from tests.support.stand_in import write_stand_in

SIZE = 32


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return read_classifier(write_stand_in(tmp_path_factory.mktemp("weights")), "stand-in", "a stand-in")


@cache
def photo(name: str) -> Tensor:
    return square(decode(load_sample(name)), SIZE)


def _content() -> Tensor:
    return photo("chelsea")


def _style() -> Tensor:
    return photo("retina")


@pytest.fixture(scope="module")
def found(classifier: Classifier) -> Painting:
    return paint(classifier, _content(), _style(), "stage1", steps=40)


def _apart(some: Statistics, goal: Statistics) -> tuple[float, float]:
    return float(np.abs(some.mean - goal.mean).mean()), float(np.abs(some.std - goal.std).mean())


# --- the exchange -------------------------------------------------------------------------------------------------


def test_square_takes_the_middle_of_a_photo() -> None:
    image = torch.zeros(3, 20, 60, dtype=torch.uint8)
    image[:, :, 20:40] = 255
    for picture in (image, image.transpose(1, 2)):
        torch.testing.assert_close(square(picture, 16), torch.ones(1, 3, 16, 16))


@pytest.mark.parametrize("layer", LAYERS)
def test_means_and_deviations_of_the_style_arrive_and_nothing_else(classifier: Classifier, layer: str) -> None:
    seen = exchange(classifier, _content(), _style(), layer)
    np.testing.assert_allclose(seen.of_after.mean, seen.of_style.mean, atol=1e-5)
    old, goal = seen.of_content.std, seen.of_style.std
    np.testing.assert_allclose(seen.of_after.std, old * np.sqrt((goal**2 + EPS) / (old**2 + EPS)), rtol=1e-4)
    lively = old > 0.1  # epsilon is small beside their variance
    assert lively.any()
    np.testing.assert_allclose(seen.of_after.std[lively], goal[lively], rtol=1e-3)
    assert max(_apart(seen.of_content, seen.of_style)) > 0.02
    for before, after in zip(seen.content, seen.after, strict=True):
        if before.std() > 0.01:  # each map is the content's, scaled and shifted
            assert np.corrcoef(before.ravel(), after.ravel())[0, 1] == pytest.approx(1, abs=1e-4)


def test_the_maps_are_those_of_the_network(classifier: Classifier) -> None:
    with torch.no_grad():
        stem = classifier.model.get_submodule("stem")
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (classifier.mean, classifier.std))
        expected = classifier.model.get_submodule("stage1")(stem((_content() - mean) / std))[0]  # (C, h, w)
    seen = exchange(classifier, _content(), _style(), "stage1")
    np.testing.assert_allclose(seen.content, expected.numpy(), rtol=1e-4, atol=1e-5)
    pixels = exchange(classifier, _content(), _style(), "pixels")
    np.testing.assert_allclose(pixels.content, _content()[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_without_style_the_content_stays(classifier: Classifier, layer: str) -> None:
    seen = exchange(classifier, _content(), _style(), layer, alpha=0.0)
    np.testing.assert_allclose(seen.after, seen.content, atol=1e-6)
    half, whole = (exchange(classifier, _content(), _style(), layer, alpha).after for alpha in (0.5, 1.0))
    np.testing.assert_allclose(half, (seen.content + whole) / 2, atol=1e-4)


# --- the search ---------------------------------------------------------------------------------------------------


def test_both_errors_fall(found: Painting) -> None:
    assert found.pixels.shape == (SIZE, SIZE, 3) and found.pixels.dtype == np.uint8
    assert len(found.map_errors) == len(found.statistics_errors) == 40
    assert found.map_errors[-5:].mean() < 0.8 * found.map_errors[0]
    assert found.statistics_errors[-5:].mean() < 0.5 * found.statistics_errors[0]


def test_the_statistics_of_the_picture_approach_those_of_the_style(classifier: Classifier, found: Painting) -> None:
    seen = exchange(classifier, _content(), _style(), "stage1")
    for before, after in zip(
        _apart(seen.of_content, seen.of_style), _apart(found.statistics, seen.of_style), strict=True
    ):
        assert after < 0.5 * before


def test_without_style_the_picture_is_the_content(classifier: Classifier) -> None:
    same = paint(classifier, _content(), _style(), "stem", alpha=0.0, steps=30)
    content = (_content()[0].permute(1, 2, 0) * 255).numpy()
    assert same.map_error < 0.05 and np.abs(same.pixels - content).mean() < 10
    other = paint(classifier, _content(), _style(), "stem", alpha=1.0, steps=30)
    assert np.abs(other.pixels - content).mean() > 25


def test_colors_alone_need_no_search(classifier: Classifier) -> None:
    tinted = paint(classifier, _content(), _style(), "pixels", steps=500)
    assert not len(tinted.map_errors)
    expected = exchange(classifier, _content(), _style(), "pixels").after.clip(0.02, 0.98)
    np.testing.assert_allclose(tinted.pixels.transpose(2, 0, 1) / 255, expected, atol=0.003)


def test_the_search_tells_how_far_it_is_can_be_given_up_and_changes_nothing(classifier: Classifier) -> None:
    weights = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    shares: list[float] = []
    previews: list[NDArray[np.uint8]] = []
    content = _content().clone()
    with torch.inference_mode():
        first = paint(classifier, content, _style(), "stem", 1.0, 6, shares.append, previews.append)
    assert shares == pytest.approx([i / 6 for i in range(1, 7)]) and len(previews) == 2
    again = paint(classifier, content, _style(), "stem", 1.0, 6)
    assert identical(first.pixels, again.pixels) and identical(content, _content())
    assert all(identical(value, weights[name]) for name, value in classifier.model.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.model.parameters())

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(classifier, content, _style(), "stem", 1.0, 6, stop)


def test_searches_at_once_do_not_disturb_each_other(classifier: Classifier) -> None:
    alone = [paint(classifier, _content(), _style(), layer, steps=4).pixels for layer in ("stem", "stage1")]
    together: dict[str, NDArray[np.uint8]] = {}

    def run(layer: str) -> None:
        together[layer] = paint(classifier, _content(), _style(), layer, steps=4).pixels

    threads = [threading.Thread(target=run, args=(layer,)) for layer in ("stem", "stage1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, layer in zip(alone, ("stem", "stage1"), strict=True):
        np.testing.assert_allclose(one, together[layer], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_exchanged_is_refused_in_words(classifier: Classifier) -> None:
    content, style = _content(), _style()
    with pytest.raises(ValueError, match=r"a size divisible by 16; received \(1, 3, 32, 32\) and \(1, 3, 16, 16\)"):
        exchange(classifier, content, style[..., :16, :16], "stem")
    with pytest.raises(ValueError, match="the layer must be one of pixels, stem, stage1, stage2; received 'stage9'"):
        exchange(classifier, content, style, "stage9")
    with pytest.raises(ValueError, match="must be from 0 to 1; received"):
        paint(classifier, content, style, "stem", 1.5)
    with pytest.raises(ValueError, match="at least one step; received 0"):
        paint(classifier, content, style, "stem", steps=0)


# --- the chart ----------------------------------------------------------------------------------------------------


def test_a_channel_with_the_styles_value_lies_on_the_diagonal() -> None:
    goal, other = np.array([0.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0])
    figure = against_style(goal, [Cloud("content", other, "#000000"), Cloud("after", goal, "#FFFFFF")], "mean")
    line, before, after = figure.data
    assert list(line.x) == list(line.y) and line.x[0] < 0 and line.x[1] > 2
    assert list(after.x) == list(after.y) == [0, 1, 2] and list(before.y) == [2, 2, 2]
    assert figure.layout.xaxis.range == figure.layout.yaxis.range == tuple(line.x)
    assert [before.name, after.name] == ["content", "after"]
    with pytest.raises(ValueError, match=r"a value for each channel, \(3,\); received \(2,\)"):
        against_style(goal, [Cloud("content", other[:2], "#000000")], "mean")
    with pytest.raises(ValueError, match="received none"):
        against_style(goal, [], "mean")
    with pytest.raises(ValueError, match="1 NaN or infinite of 6"):
        against_style(goal, [Cloud("content", np.array([0, 1, np.nan]), "#000000")], "mean")


# --- the page -----------------------------------------------------------------------------------------------------


def _open(**link: str) -> AppTest:
    return open_page("style_transfer", **link)


def _table(test: AppTest) -> str:
    return " ".join(box.proto.body for box in test.get("html"))


def test_the_page_shows_the_colors_exchanged() -> None:
    test = _open(layer="the three colors")
    assert not test.exception and "error of the means" in _table(test)
    assert test.selectbox(key="style-sample").value == "retina" and test.selectbox(key="sample").value == "chelsea"
    pictures = [box.proto.body for box in test.get("html") if "Content: Chelsea the cat" in box.proto.body]
    assert pictures and pictures[-1].count("<img") == 3


def test_an_uploaded_photo_stays_in_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results are kept, but not where other visitors could meet them."""
    test = _open(layer="the three colors")
    results = shared.Shared(2**24)
    monkeypatch.setattr(shared, "_RESULTS", results)
    upload = test.file_uploader(key="style-photo-file")
    upload.set_value(("mine.png", load_sample("coffee"), "image/png")).run()
    assert not test.exception and "error of the means" in _table(test)
    assert "Style: your photo" in " ".join(box.proto.body for box in test.get("html"))
    assert not [key for key in results._entries if isinstance(key, tuple) and key[0] in ("exchange", "painting")]
    assert test.session_state["private painting"][0][2] not in (None, "retina", "coffee")
    test.file_uploader(key="style-photo-file").set_value(("mine.png", b"no picture", "image/png")).run()
    assert not test.exception
    assert "The sample is shown instead" in " ".join(box.proto.body for box in test.get("html"))
