"""User models: NORMVIZ_MODELS, optional attributes, and one sentence for each mistake."""

from __future__ import annotations

import pytest
import torch

from normviz.attribution import Probe, grad_cam
from normviz.device import device
from normviz.images import decode
from normviz.models.catalog import load_classifier, models
from normviz.models.embedded import MEAN, STD
from normviz.models.user_models import VARIABLE, user_models
from normviz.samples import load_sample


def test_a_module_that_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mine=tests.support.user_models:small, plain = tests.support.user_models:plain")
    assert [entry.name for entry in models()[-2:]] == ["mine", "plain"]
    mine = load_classifier("mine")
    assert (mine.name, mine.classes, mine.size, mine.threshold) == ("mine", ("cat", "dog", "neither"), 32, None)
    assert mine.mean == pytest.approx((0.5, 0.4, 0.3)) and mine.std == (0.25, 0.25, 0.5)
    assert not mine.model.training and not any(p.requires_grad for p in mine.model.parameters())
    assert load_classifier("mine").model is mine.model and load_classifier("mine", 64).size == 64
    image = torch.full((3, 20, 30), 255, dtype=torch.uint8)
    assert torch.allclose(mine.prepare(image)[0, :, 0, 0].cpu(), torch.tensor([2.0, 2.4, 1.4]))
    photo = decode(load_sample("chelsea"))
    assert grad_cam(Probe(mine.model, mine.prepare(photo), mine.index("dog"))).shape == (1, 32, 32)
    assert mine.verdict(mine.probabilities(photo)).text.startswith("best guess ")


def test_a_module_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain=tests.support.user_models:plain")
    plain = load_classifier("plain")
    assert (plain.classes, plain.size, plain.mean, plain.std) == (("0", "1", "2", "3", "4"), 224, MEAN, STD)


def test_a_finished_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "finished=tests.support.user_models:finished")
    found = load_classifier("finished")
    assert (found.name, found.title, found.threshold, found.classes) == ("finished", "My own", 0.5, ("a", "b", "c"))
    assert found.model(torch.zeros(1, 3, 32, 32, device=device())).shape == (1, 3) and not found.model.training


def test_nothing_is_imported_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "a=no.such.package:function")
    assert user_models() == {"a": "no.such.package:function"}
    assert models()[-1].name == "a" and load_classifier("photos").name == "photos"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "tests.support.user_models:small",
            r"must be written as name=package.module:function, ...; received 'tests.support.user_models:small'",
        ),
        (
            "a=tests.support.user_models",
            r"must be written as name=package.module:function, ...; received 'a=tests.support.user_models'",
        ),
        (
            "a=tests.support.user_models:small, a=tests.support.user_models:plain",
            "defines 'a' twice; give each network its own name",
        ),
        (
            "photos=tests.support.user_models:small",
            "NORMVIZ_MODELS defines 'photos', which already exists",
        ),
        (
            "x=no.such:one",
            "'x' cannot be created by no.such:one: ModuleNotFoundError: No module named 'no'",
        ),
        (
            "x=tests.support.user_models:absent",
            "cannot be created by tests.support.user_models:absent: AttributeError: .* no attribute 'absent'",
        ),
        (
            "x=tests.support.user_models:failing",
            "cannot be created by tests.support.user_models:failing: RuntimeError: no such file$",
        ),
        (
            "x=tests.support.user_models:nothing",
            "tests.support.user_models:nothing must return an nn.Module or a Classifier; it returned a str",
        ),
        ("x=tests.support.user_models:features", r"to logits \(1, classes\); it returned shape \(1, 4, 222, 222\)"),
        (
            "x=tests.support.user_models:few_names",
            "returns 3 logits, so it needs 3 distinct class names; received 3, 2",
        ),
        ("x=tests.support.user_models:flat", r"'x' must be above 0; received \(0.0, 1.0, 1.0\)"),
        (
            "x=tests.support.user_models:gray",
            r"std of the network 'x' must be three numbers, one per color; received \(1.0,\)",
        ),
        (
            "x=tests.support.user_models:sizeless",
            r"size of the network 'x' must be a positive integer \(pixels\); received 32.5",
        ),
        ("x=tests.support.nets:pooled_net", r"the network 'x' must map images \(1, 3, 224, 224\) .*; it failed: "),
    ],
)
def test_mistakes(value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_classifier("x")
    assert "\n" not in str(caught.value)
