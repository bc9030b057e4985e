"""The residual network, its weight file, the catalog, and the embedded classifier."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from normviz.device import device
from normviz.images import decode, to_batch
from normviz.models import catalog
from normviz.models.catalog import SIZE, SIZES, Classifier, load_classifier, models, read_classifier
from normviz.models.embedded import MEAN, STD, Measured, read_measured, read_weights, write_weights
from normviz.models.residual import NORMS, Norm, ResidualBlock, ResidualNet, ScaledStandardizedConv2d
from normviz.paths import ASSETS
from normviz.samples import load_sample
from tests.support.comparison import identical
from tests.support.stand_in import CLASSES, write_stand_in

WEIGHTS = ASSETS / "photos_batch.safetensors"


@pytest.fixture
def stand_in(tmp_path: Path) -> Classifier:
    return read_classifier(write_stand_in(tmp_path), "photos", "a stand-in")


# ------------------------------------------------------------------------------------------ the network
@pytest.mark.parametrize("norm", NORMS)
def test_sizes(norm: Norm) -> None:
    torch.manual_seed(0)
    assert sum(p.numel() for p in ResidualNet(11, norm).parameters()) <= 3_900_000
    model = ResidualNet(11, norm, widths=(8, 8, 16, 16)).eval()
    with torch.no_grad():
        assert model.features(torch.rand(2, 3, 128, 128)).shape == (2, 16, 8, 8)
        assert model.features(torch.rand(1, 3, 224, 224)).shape == (1, 16, 14, 14)
        x = torch.rand(2, 3, 64, 96)
        pooled = model.features(x).mean(dim=(2, 3))  # (2, K)
        assert torch.allclose(model(x), pooled @ model.fc.weight.T + model.fc.bias, atol=1e-5)


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "batch"])
def test_an_image_does_not_depend_on_its_batch(norm: Norm) -> None:
    torch.manual_seed(1)
    model = ResidualNet(3, norm, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).train()
    x = torch.rand(3, 3, 32, 32)
    assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5)


def test_batch_norm_depends_on_the_batch_in_training_only() -> None:
    torch.manual_seed(1)
    model = ResidualNet(3, "batch", widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).double()
    torch.nn.init.normal_(model.fc.weight)
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    assert (model.train()(x)[:1] - model(x[:1])).abs().max() > 1e-3
    assert torch.allclose(model.eval()(x)[:1], model(x[:1]), atol=1e-12)


def test_a_block_starts_as_its_shortcut() -> None:
    block = ResidualNet(3, "batch", widths=(8, 8, 8, 8)).get_submodule("stage2.1")
    assert isinstance(block, ResidualBlock)
    x = torch.rand(1, 8, 5, 5)
    assert identical(block.eval()(x), x)


def test_scaled_weight_standardization_keeps_the_scale() -> None:
    torch.manual_seed(2)
    conv = ScaledStandardizedConv2d(64, 256, 3, 1, 1).double()
    weight = conv.weight.detach()
    mean = weight.mean(dim=(1, 2, 3), keepdim=True)
    std = weight.std(dim=(1, 2, 3), keepdim=True, correction=0)
    standardized = math.sqrt(2 / (1 - 1 / math.pi)) * (weight - mean) / (std * math.sqrt(64 * 9))
    x = torch.randn(4, 64, 24, 24, dtype=torch.float64)
    expected = F.conv2d(x, standardized, conv.bias, padding=1)
    assert (conv(x) - expected).abs().max() < 1e-3 * expected.abs().max()  # 1e-4 under its root
    assert conv(x.relu() - x.relu().mean())[..., 2:-2, 2:-2].std().item() == pytest.approx(1, abs=0.1)


def test_an_unknown_norm() -> None:
    with pytest.raises(ValueError, match="norm must be one of batch, group, layer, instance, none; received 'power'"):
        ResidualNet(3, "power")  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- the file
@pytest.mark.parametrize("norm", NORMS)
def test_weights_survive_the_file(norm: Norm, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = ResidualNet(4, norm, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).eval()
    model.fc.bias.data.normal_()
    measured = [Measured(128, 0.91, 0.92, 0.4, 0.9, 0.7), Measured(224, 0.9, 0.91, 0.45, 0.8, 0.6)]
    path = tmp_path / "new" / "net.safetensors"
    write_weights(path, model, ["a", "b", "c", "d"], measured)
    again, classes = read_weights(path)
    assert classes == ["a", "b", "c", "d"] and again.config == model.config and read_measured(path) == measured
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    for key, value in model.state_dict().items():
        kept = again.state_dict()[key]
        assert kept.dtype == value.dtype
        assert identical(kept, value.half().float() if value.is_floating_point() else value)
    write_weights(path, again, classes, measured)  # writing what was read changes nothing
    for key, value in again.state_dict().items():
        assert identical(read_weights(path)[0].state_dict()[key], value)


# ---------------------------------------------------------------------------------------- the catalog
def test_only_what_is_installed_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    assert models() == ()
    with pytest.raises(ValueError, match="no classifier 'photos'; no weights are installed in assets/"):
        load_classifier()
    write_stand_in(tmp_path, file="twins_group.safetensors")
    write_stand_in(tmp_path)
    assert [entry.name for entry in models()] == ["photos", "twins_group"]
    with ThreadPoolExecutor(4) as pool:
        assert {found.title for found in pool.map(load_classifier, ["twins_group"] * 4)} == {models()[1].title}
    assert load_classifier().model is load_classifier("photos").model and load_classifier().name == "photos"
    with pytest.raises(ValueError, match="no classifier 'flowers'; choose one of photos, twins_group"):
        load_classifier("flowers")


def test_weights_that_were_never_measured_are_refused(tmp_path: Path) -> None:
    path = write_stand_in(tmp_path)
    with pytest.raises(ValueError, match=r"not measured at 96 pixels; run .*--measure-only"):
        read_classifier(path, "photos", "a stand-in", size=96)
    model, classes = read_weights(path)
    write_weights(path, model, classes)
    with pytest.raises(ValueError, match=f"not measured at {SIZE} pixels"):
        read_classifier(path, "photos", "a stand-in")


def test_prepare(stand_in: Classifier) -> None:
    image = torch.full((3, 30, 50), 51, dtype=torch.uint8)
    batch = stand_in.prepare(image)
    assert batch.shape == (1, 3, SIZE, SIZE) and batch.device.type == device().type
    for channel in range(3):
        assert torch.allclose(batch[0, channel].cpu(), torch.tensor((0.2 - MEAN[channel]) / STD[channel]), atol=1e-6)
    photo = decode(load_sample("coffee"))
    restored = stand_in.prepare(photo).cpu() * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert torch.allclose(restored, to_batch(photo, SIZE), atol=1e-6)


def test_probabilities(stand_in: Classifier) -> None:
    photo = decode(load_sample("coffee"))
    probabilities = stand_in.probabilities(photo)
    assert probabilities.shape == (3,) and probabilities.sum().item() == pytest.approx(1)
    logits = stand_in.model(stand_in.prepare(photo))[0].cpu()
    assert torch.allclose(probabilities.log() - probabilities[0].log(), logits - logits[0], atol=1e-4)


def test_class_names(stand_in: Classifier) -> None:
    assert [stand_in.index(name) for name in CLASSES] == [0, 1, 2]
    assert [stand_in.index(name) for name in ("CAT", "chain_saw", "french-horn", " Chainsaw")] == [0, 1, 2, 1]
    for name in ("dog", "", "ca", "1"):
        with pytest.raises(ValueError, match=r"has no class .*; choose one of cat, chain saw, French horn"):
            stand_in.index(name)


def test_verdict(stand_in: Classifier) -> None:
    assert stand_in.threshold == 0.5
    known = stand_in.verdict(torch.tensor([0.02, 0.97, 0.01]))
    assert (known.known, known.index, known.text) == (True, 1, "chain saw, 97%")
    assert known.probability == pytest.approx(0.97)
    assert stand_in.verdict(torch.tensor([0.5, 0.3, 0.2])).known
    unknown = stand_in.verdict(torch.tensor([0.3, 0.3, 0.4]))
    assert (unknown.known, unknown.index) == (False, 2)
    assert unknown.text == (
        "Not sure: this may be none of its 3 classes (cat, chain saw, French horn); "
        "the best guess is French horn, with only 40%"
    )
    assert stand_in.verdict(torch.tensor([0.9999, 0.0001, 0.0])).text == "cat, more than 99%"
    with pytest.raises(ValueError, match=r"must have shape \(3,\); received \(1, 3\)"):
        stand_in.verdict(torch.ones(1, 3) / 3)
    with pytest.raises(ValueError, match="must be finite"):
        stand_in.verdict(torch.full((3,), torch.nan))


def test_a_verdict_where_nothing_was_measured_is_a_best_guess(stand_in: Classifier) -> None:
    unmeasured = replace(stand_in, threshold=None)
    seen = unmeasured.verdict(torch.tensor([0.3, 0.3, 0.4]))
    assert (seen.known, seen.index, seen.text) == (True, 2, "best guess French horn, 40%")


def test_many_classes_are_counted_and_the_nearest_are_named(stand_in: Classifier) -> None:
    many = replace(stand_in, classes=("tench, Tinca tinca", "crane, bird", "crane, machine", *map(str, range(997))))
    seen = many.verdict(torch.full((1000,), 1e-3))
    assert seen.text.startswith("Not sure: this may be none of its 1000 classes; the best guess is tench, ")
    assert [many.index(name) for name in ("Tinca tinca", "tench", "tench, tinca tinca", "Machine")] == [0, 0, 0, 2]
    with pytest.raises(ValueError, match="it has 1000 classes, the closest: crane, bird; crane, machine"):
        many.index("crane")  # two classes have this name


def test_the_whole_photo_is_seen(stand_in: Classifier) -> None:
    image = torch.zeros(3, 30, 50, dtype=torch.uint8)
    assert stand_in.box(30, 50) == (0, 0, 30, 50) and stand_in.view(image).shape == (3, 30, 50)


def test_scenes_are_offered_at_their_own_size_when_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    model, classes = read_weights(write_stand_in(tmp_path))
    write_weights(tmp_path / "scenes_layer.safetensors", model, classes, [Measured(64, 0.9, 0.9, 0.5, 0.9, 0.8)])
    write_weights(tmp_path / "clever_hans.safetensors", model, classes, [Measured(64, 0.9, 0.9, 0.5, 0.9, 0.8)])
    assert [(entry.name, entry.size, entry.sizes) for entry in models()] == [
        ("photos", SIZE, SIZES), ("scenes_layer", 64, (64,)), ("clever_hans", 64, (64,)),
    ]  # fmt: skip
    assert load_classifier("scenes_layer").size == load_classifier("clever_hans").size == 64


# ------------------------------------------------------------------- the classifier that comes with it
def test_the_shipped_file() -> None:
    assert WEIGHTS.stat().st_size <= 8_000_000
    model, classes = read_weights(WEIGHTS)
    assert sum(p.numel() for p in model.parameters()) <= 3_900_000
    assert sorted(classes) == sorted(
        ["cat", "dog", "tench", "cassette player", "chain saw", "church", "French horn", "garbage truck", "gas pump",
         "golf ball", "parachute"]
    )  # fmt: skip


def test_the_shipped_measurements_and_card() -> None:
    measured = {one.size: one for one in read_measured(WEIGHTS)}[SIZE]
    assert measured.top1 >= 0.90 and measured.auroc >= 0.90
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {SIZE} | {measured.top1:.2%} | {measured.auroc:.3f} | {measured.threshold:.3f} |" in card


def test_all_sizes_share_one_network() -> None:
    for size in SIZES:
        classifier = load_classifier("photos", size)
        assert classifier.model is load_classifier().model and classifier.size == size
        assert classifier.prepare(decode(load_sample("chelsea"))).shape == (1, 3, size, size)
    with pytest.raises(ValueError, match="not measured at 100 pixels"):
        load_classifier("photos", 100)


def test_the_cat_is_called_a_cat() -> None:
    classifier = load_classifier("photos")
    verdict = classifier.verdict(classifier.probabilities(decode(load_sample("chelsea"))))
    assert verdict.known and classifier.classes[verdict.index] == "cat" and verdict.text.startswith("cat, ")


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_it_says_so_when_it_does_not_know(name: str) -> None:
    classifier = load_classifier("photos")
    verdict = classifier.verdict(classifier.probabilities(decode(load_sample(name))))
    assert not verdict.known and verdict.text.startswith("Not sure: this may be none of its 11 classes")
