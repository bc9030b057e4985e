"""Training tiny networks on generated scenes, the networks that come with the project, and Clever Hans."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from normviz.experiments.labs import training
from normviz.experiments.labs.clever_hans import clever_hans_facts
from normviz.experiments.labs.training import (
    STRANGERS,
    TESTS,
    Recipe,
    accuracy,
    height,
    probabilities,
    tiny_net,
    to_input,
    train,
    vary,
)
from normviz.models.catalog import load_classifier
from normviz.models.embedded import read_measured, read_weights, write_weights
from normviz.models.residual import NORMS, Norm, ResidualNet
from normviz.paths import ASSETS
from normviz.scenes import CLASSES, HANS, SIZE, Scenes, make_scenes, make_unknowns
from scripts import train_scenes
from scripts.confidence import auroc
from tests.support.comparison import identical

SHORT = Recipe(steps=4, batch=8, nothing=2, rate=1e-3)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """A few scenes to train on."""
    return make_scenes(24, 50)


@pytest.fixture(scope="module")
def clutter() -> Tensor:
    """A few pictures of nothing."""
    return make_scenes(4, 90, objects=0).images


# ----------------------------------------------------------------------------------------- the training
@pytest.mark.parametrize("norm", NORMS)
def test_every_network_learns_a_few_scenes_by_heart(
    norm: Norm, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "vary", lambda images, generator, turn: images)
    few = Scenes(scenes.images[:4], torch.arange(4), scenes.masks[:4])
    model = tiny_net(norm)
    done = list(train(model, few, None, few, Recipe(norm, steps=80, batch=8)))
    assert [at.step for at in done] == list(range(1, 81)) and done[-1].share == 1
    assert done[-1].loss < math.log(4) < done[0].loss  # better than guessing among the four
    assert done[-1].tested == accuracy(model, few) == 1


def test_a_step_is_adamw_on_the_stated_loss(scenes: Scenes, clutter: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step by hand: autograd's `.backward()`, and the decoupled update of Loshchilov & Hutter (1711.05101)."""
    seen: list[Tensor] = []

    def as_it_is(images: Tensor, generator: torch.Generator, turn: bool) -> Tensor:
        seen.append(images)
        return images

    monkeypatch.setattr(training, "vary", as_it_is)
    model, by_hand = tiny_net("group", 3).double(), tiny_net("group", 3).double()
    monkeypatch.setattr(training, "to_input", lambda images: to_input(images).double())
    first = next(train(model, scenes, clutter, scenes, replace(SHORT, norm="group")))
    labels = [
        next(int(scenes.labels[i]) for i in range(len(scenes)) if identical(scenes.images[i], image))
        for image in seen[0][:8]
    ]
    assert all(any(identical(image, other) for other in clutter) for image in seen[0][8:]) and len(seen[0]) == 10
    wanted = F.one_hot(torch.tensor(labels), 8).double()
    wanted = torch.cat([0.95 * wanted + 0.05 / 8, torch.full((2, 8), 1 / 8, dtype=torch.float64)])
    logits = by_hand.train()(to_input(seen[0]).double())
    loss = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()
    assert first.loss == pytest.approx(loss.item(), rel=1e-6)
    rate = 1e-3 * 0.02
    assert first.rate == pytest.approx(rate)
    for (name, new), old in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        assert old.grad is not None
        decay = 0.02 if "conv.weight" in name or name == "fc.weight" else 0.0
        moved = old.detach() * (1 - rate * decay) - rate * old.grad / (old.grad.abs() + 1e-8)
        assert torch.allclose(new.detach(), moved, atol=1e-10, rtol=1e-7), name


def test_the_same_seed_is_the_same_training(scenes: Scenes, clutter: Tensor) -> None:
    def losses(recipe: Recipe) -> list[float]:
        torch.manual_seed(recipe.steps)  # of the process, which must not matter
        return [at.loss for at in train(tiny_net("batch", recipe.seed), scenes, clutter, scenes, recipe)]

    assert losses(SHORT) == losses(SHORT)
    assert losses(SHORT) != losses(replace(SHORT, seed=1))


def test_a_training_may_stop_at_any_step(scenes: Scenes, clutter: Tensor) -> None:
    model = tiny_net("batch")
    before = torch.get_rng_state()
    steps = train(model, scenes, clutter, scenes, SHORT)
    with torch.no_grad():  # as somebody may have said
        at = next(steps)
    assert at.share == 0.25 and at.tested is None
    assert not model.training and model.get_submodule("stem.0.norm").num_batches_tracked == 1
    steps.close()  # type: ignore[attr-defined]
    assert identical(torch.get_rng_state(), before)
    with pytest.raises(StopIteration):
        next(steps)


def test_seconds_end_a_training(scenes: Scenes) -> None:
    recipe = replace(SHORT, steps=1000, seconds=0.05)
    done = list(train(tiny_net("batch"), scenes, None, scenes, recipe))
    assert len(done) < 1000 and done[-1].share == 1 and done[-1].tested is not None
    shares = [at.share for at in done]
    assert shares == sorted(shares)


def test_the_rate_rises_and_falls() -> None:
    assert height(0) == 0.02 and height(0.15) == 1 and height(1) == pytest.approx(0, abs=1e-12)
    assert height(0.075) == pytest.approx(0.5) and height(0.575) == pytest.approx(0.5)


def test_varied_scenes_keep_their_pixels() -> None:
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for turn in (True, False):
        varied = vary(images, generator, turn)
        assert varied.dtype == torch.uint8
        kinds = set()
        for image, other in zip(images, varied, strict=True):
            turned = [image.rot90(k, (1, 2)) for k in range(4)] + [image.flip(2).rot90(k, (1, 2)) for k in range(4)]
            views = {
                (k, negative, order): (255 - view if negative else view)[list(order)]
                for k, view in enumerate(turned)
                for negative in (False, True)
                for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
            }
            found = [key for key, view in views.items() if identical(view, other)]
            assert len(found) == 1
            kinds.add(found[0][:2])
        assert len(kinds) == (16 if turn else 1)
        assert turn or kinds == {(0, False)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "at least 1 step"),
        ({"batch": 1}, "batches of at least 2 scenes"),
        ({"rate": 0.0}, "must be above 0; received 0"),
        ({"rate": math.nan}, "must be above 0; received nan"),
        ({"seconds": -1.0}, "must be above 0"),
    ],
)
def test_recipes_that_are_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(SHORT, **change)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------- strides
def test_strides_survive_the_file_and_files_without_them_are_read(tmp_path: Path) -> None:
    model = tiny_net("batch")
    assert model.features(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 64, 8, 8)
    write_weights(tmp_path / "net.safetensors", model, list(CLASSES))
    again, _ = read_weights(tmp_path / "net.safetensors")
    assert again.config == model.config and again.config["strides"] == [1, 2, 1, 1]
    assert again.features(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 64, 8, 8)
    plain = ResidualNet(2, "batch", (8, 8, 8, 8), (1, 1, 1, 1))
    assert "strides" not in plain.config
    assert plain.features(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 8, 4, 4)


# ----------------------------------------------------------------------------------------- what is shipped
def _file(name: str) -> Path:
    return ASSETS / f"{name}.safetensors"


@pytest.mark.parametrize("name", [*(f"scenes_{norm}" for norm in NORMS), "clever_hans"])
def test_the_shipped_networks(name: str) -> None:
    path = _file(name)
    assert path.stat().st_size < 1_000_000
    model, classes = read_weights(path)
    measured = read_measured(path)[0]
    assert classes == list(CLASSES) and measured.size == SIZE
    assert model.config["norm"] == (name.removeprefix("scenes_") if name != "clever_hans" else "batch")
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {SIZE} | {measured.top1:.2%} | {measured.auroc:.3f} | {measured.threshold:.3f} |" in card
    with safe_open(path, "pt") as file:
        assert all(file.get_tensor(key).dtype != torch.float32 for key in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("norm", NORMS)
def test_the_shipped_networks_recognize_what_their_cards_say(norm: Norm) -> None:
    model, _ = read_weights(_file(f"scenes_{norm}"))
    measured = read_measured(_file(f"scenes_{norm}"))[0]
    scenes = make_scenes(300, TESTS)
    assert measured.top1 >= 0.9
    error = math.sqrt(measured.top1 * (1 - measured.top1) / 300)
    assert abs(accuracy(model, scenes) - measured.top1) < 4 * error + 0.01


def test_clever_hans_looks_for_the_mark() -> None:
    model, _ = read_weights(_file("clever_hans"))
    facts = clever_hans_facts(model, 100)
    assert facts.with_mark > 0.9 and facts.without_mark < 0.5  # painting the mark out fells the class
    assert facts.fooled > 0.5 and facts.not_fooled < 0.05  # and painting it on others makes them the class
    assert facts.others > 0.85
    assert facts.brightest > 0.7 and facts.on_mark > 2 * facts.mark_area
    assert CLASSES[HANS] in _file("clever_hans").with_suffix(".md").read_text(encoding="utf-8")


def test_the_shipped_network_can_be_asked_by_its_name() -> None:
    classifier = load_classifier("scenes")
    scenes = make_scenes(4, TESTS)
    model, _ = read_weights(_file("scenes_batch"))
    expected = probabilities(model, scenes.images)
    for image, share in zip(scenes.images, expected, strict=True):
        assert torch.allclose(classifier.probabilities(image), share, atol=1e-5)


# ----------------------------------------------------------------------------------------- the script
@pytest.mark.parametrize("hans", [False, True])
def test_the_script(hans: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("SCENES", 16), ("CLEVER_HANS_SCENES", 16), ("NOTHING", 4), ("TESTED", 60)):
        monkeypatch.setattr(train_scenes, name, few)
    monkeypatch.setattr(train_scenes, "clever_hans_facts", lambda model: clever_hans_facts(model, 8))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    train_scenes.main(["--steps", "2", "--out", str(tmp_path), *(["--hans"] if hans else ["--norm", "layer"])])
    path = tmp_path / ("clever_hans.safetensors" if hans else "scenes_layer.safetensors")
    model, classes = read_weights(path)
    measured, card = read_measured(path)[0], path.with_suffix(".md").read_text(encoding="utf-8")
    known, unknown = make_scenes(60, TESTS), make_unknowns(30, STRANGERS).images
    assert measured.top1 == pytest.approx(accuracy(model, known))
    shares = [probabilities(model, images).amax(dim=1) for images in (known.images, unknown)]
    assert measured.auroc == pytest.approx(auroc(*shares))
    assert classes == list(CLASSES) and ("Effect of the watermark" in card) == hans
