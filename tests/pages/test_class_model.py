"""The page and the command of class models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from normviz.attribution import ClassModel, class_model
from normviz.commands import class_model as command
from normviz.commands.common import Parser
from normviz.images import read_photo
from normviz.models import catalog
from normviz.models.catalog import load_classifier
from normviz.ui.pages import class_model as page
from normviz.ui.pages.class_model import ClassModelRequest, ClassModelResult
from tests.pages.test_pages import errors, open_page, words
from tests.support.stand_in import write_stand_in

PAGE = "class_model"


def test_the_page_shows_the_picture_with_its_logit_and_curves() -> None:
    test = open_page(PAGE, steps="10")
    assert not test.exception and not errors(test), words(test)
    assert words(test).count("<img") == 1 and "cat: logit" in words(test) and "probability" in words(test)
    assert any(r"\text{ for cat}" in latex.value for latex in test.latex)
    assert test.get("download_button")


def test_two_classes_and_several_starts_stand_side_by_side() -> None:
    test = open_page(PAGE, steps="10", beside="church", starts="2")
    assert not test.exception and not errors(test), words(test)
    assert words(test).count("<img") == 4
    for name in ("cat, start 0", "cat, start 1", "church, start 0", "church, start 1"):
        assert f"{name}: logit" in words(test)


def test_a_search_that_was_stopped_keeps_what_it_has_and_can_go_on() -> None:
    test = open_page(PAGE, steps="10", decay="0.003")
    found = test.latex[-1].value
    wish = ClassModelRequest(load_classifier(), (load_classifier().classes.index("cat"),), 0.01, 10.0, 10)
    so_far = ClassModelResult(np.zeros((1, 4, 4, 3), np.uint8), *(np.full((4, 1), 1.5, np.float32) for _ in range(2)))
    test.session_state["search stopped"] = ("search", wish.key)
    test.session_state["search so far"] = (("search", wish.key), so_far, 0.3)
    test.select_slider(key="decay").set_value(0.01).run()
    assert "Stopped after 4 of 10 steps" in words(test) and "cat: logit 1.5" in words(test)
    test.button(key="go-on").click().run()
    assert "Stopped" not in words(test) and not errors(test)
    assert test.latex[-1].value != found
    other = ClassModelRequest(load_classifier(), wish.targets, 0.0, 10.0, 10)
    test.session_state["search stopped"] = ("search", other.key)
    test.select_slider(key="decay").set_value(0.0).run()
    assert "stopped before its first step" in " ".join(errors(test))


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A random classifier in the catalog, in an empty folder."""
    write_stand_in(tmp_path)
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_worker_makes_is_what_is_shown(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = load_classifier()
    wish = ClassModelRequest(classifier, (2, 0), 0.001, 1.0, 3, starts=2)
    made: list[ClassModel] = []

    def search(*given: Any, **settings: Any) -> ClassModel:
        made.append(class_model(*given, **settings))
        return made[0]

    monkeypatch.setattr(page, "class_model", search)
    shares: list[float] = []
    previews: list[ClassModelResult] = []
    job = SimpleNamespace(progress=shares.append, preview=previews.append)
    found = page._optimize(wish, job)  # type: ignore[arg-type]
    assert found.pixels.shape == (4, classifier.size, classifier.size, 3) and found.scores.shape == (4, 4)
    assert shares[-1] == 1 and wish.names == [
        "French horn, start 0",
        "French horn, start 1",
        "cat, start 0",
        "cat, start 1",
    ]
    np.testing.assert_array_equal(previews[-1].pixels, found.pixels)  # the last preview is the finished picture
    assert previews[-1].probabilities is None and found.probabilities is not None
    with torch.inference_mode():
        logits = classifier.model(made[0].images)
    np.testing.assert_allclose(found.probabilities, logits.softmax(dim=1)[[0, 1, 2, 3], [2, 2, 0, 0]], rtol=1e-5)
    np.testing.assert_allclose(found.scores[-1], logits[[0, 1, 2, 3], [2, 2, 0, 0]], rtol=1e-5)


def run(line: str) -> None:
    parser = Parser(prog="normviz")
    command.add(parser.add_subparsers(required=True))  # type: ignore[arg-type]
    args = parser.parse_args(line.split())
    args.run(args)


def test_the_command_writes_the_pictures(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("class-model --target cat --out cat.png --steps 3 --starts 2 --rate 1")
    picture = read_photo(Path("cat.png"))
    assert picture.shape == (3, 128, 256) and picture.float().std() > 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ["image", "image", "wrote"]
    assert out[0].startswith("image    1: logit of cat ")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--target wolf --out a.png", "has no class 'wolf'"),
        ("--target cat --out a.jpg", "the name must end in .png"),
        ("--target cat --out a.png --steps 0", "steps must be at least 1"),
    ],
)
def test_the_command_refuses(line: str, sentence: str, assets: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(f"class-model {line}")
    assert not Path("a.png").exists()
