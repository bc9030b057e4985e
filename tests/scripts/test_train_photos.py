"""The training script on a few generated pictures: seeded, resumable, and it measures what it stores."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from normviz.models.catalog import SIZE, read_classifier
from normviz.models.embedded import read_measured, read_weights
from normviz.models.residual import ResidualNet
from scripts import train_photos
from scripts.confidence import auroc, best_threshold
from scripts.train_photos import (  # fmt: skip
    STORED,
    Plan,
    augment,
    blend_outliers,
    load_photos,
    main,
    measure,
    mix_outliers,
)
from tests.support.comparison import identical

COLORS = {"red_thing": (200, 30, 30), "Blue": (30, 30, 200)}


class SmallNet(ResidualNet):
    """The network with few channels, so that a training run takes a second."""

    def __init__(self, classes: int, norm: str = "batch") -> None:
        super().__init__(classes, norm, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1))  # type: ignore[arg-type]


def picture(seed: int, color: tuple[int, ...]) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 20, (50, 70, 3))
    return Image.fromarray((noise + color).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training photos in folders, four for validation in a zip, and six outliers without a class."""
    root: Path = tmp_path_factory.mktemp("photos")
    for index, (name, color) in enumerate(COLORS.items()):
        (root / "train" / name).mkdir(parents=True)
        for number in range(4):
            picture(10 * index + number, color).save(root / "train" / name / f"{number}.png")
    with zipfile.ZipFile(root / "val.zip", "w") as archive:
        for index, (name, color) in enumerate(COLORS.items()):
            for number in range(2):
                picture(50 + 10 * index + number, color).save(root / "one.png")
                archive.write(root / "one.png", f"{name}/{number}.png")
    (root / "outliers").mkdir()
    for number in range(6):
        picture(90 + number, (120, 160, 60)).save(root / "outliers" / f"{number}.png")
    return root


def train(data: Path, folder: Path, *more: str) -> Path:
    """Two epochs and one to finish; returns the weights."""
    options = f"--epochs 2 --finish 1 --batch 4 --outliers 2 --out {folder} --checkpoints {folder / 'runs'}"
    main([str(data), *options.split(), *more])
    return folder / "photos_batch.safetensors"


def weights(path: Path) -> dict[str, Tensor]:
    return dict(read_weights(path)[0].state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_photos, "ResidualNet", SmallNet)
    monkeypatch.setattr(train_photos, "MEASURED_AT", (64, SIZE))
    monkeypatch.setattr(Plan, "side", lambda self, epoch: 48)


@pytest.mark.usefixtures("small")
def test_a_run_is_seeded_and_goes_on_where_it_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = weights(train(data, tmp_path / "whole"))
    assert not same(whole, weights(train(data, tmp_path / "other", "--seed", "1")))

    def stop_after_two(
        path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.SGD, epoch: int
    ) -> None:
        save(path, model, average, optimizer, epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    save = train_photos.save_checkpoint
    monkeypatch.setattr(train_photos, "save_checkpoint", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "halves")
    monkeypatch.setattr(train_photos, "save_checkpoint", save)
    capsys.readouterr()
    path = train(data, tmp_path / "halves")
    out = capsys.readouterr().out
    assert "epoch 3: loss" in out and "epoch 2: loss" not in out
    assert same(whole, weights(path))

    measured = read_measured(path)
    assert [one.size for one in measured] == [64, SIZE] and all(0 <= one.auroc <= 1 for one in measured)
    assert read_classifier(path, "photos", "tiny").classes == ("Blue", "red thing")
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {SIZE} | {measured[1].top1:.2%} | {measured[1].auroc:.3f} | {measured[1].threshold:.3f} |" in card
    assert "--name photos --norm batch --epochs 2 --finish 1 --sides 96 112 128 144 --seed 0" in card
    assert "| red thing | 2 |" in card

    before = path.read_bytes()
    path.with_suffix(".md").unlink()
    train(data, path.parent, "--measure-only")
    assert same(whole, weights(path)) and read_measured(path) == measured and len(path.read_bytes()) == len(before)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == card


def test_load_photos(data: Path) -> None:
    train_set, val = load_photos(data, "train"), load_photos(data, "val")
    assert train_set.classes == val.classes == ["Blue", "red thing"]
    assert train_set.images.shape == (8, 3, STORED, STORED) and train_set.images.dtype == torch.uint8
    means = train_set.images.float().mean(dim=(2, 3))  # (8, 3)
    assert identical((means[:, 0] > means[:, 2]).long(), train_set.labels) and val.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(SystemExit, match="contains neither test/ nor"):
        load_photos(data, "test")


def test_augment_is_seeded_and_keeps_the_range() -> None:
    images = torch.randint(0, 256, (6, 3, STORED, STORED), dtype=torch.uint8)
    one, again, other = (augment(images, 40, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (6, 3, 40, 40) and one.min() >= 0 and one.max() <= 255
    assert identical(one, again) and not torch.allclose(one, other)


def test_mixed_outliers_come_from_two() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 20, 20).clone()
    mixed = mix_outliers(images, torch.Generator().manual_seed(0))
    assert [sorted(set(one.flatten().tolist())) for one in mixed] == [[0.0, 3.0], [1.0, 2.0], [2.0], [3.0]]
    assert identical(images, torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 20, 20))


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    random = torch.Generator().manual_seed(0)
    known, unknown = (
        torch.randint(0, 9, (40,), generator=random) + 1.0,
        torch.randint(0, 9, (30,), generator=random) + 0.0,
    )
    pairs = (known[:, None] > unknown).double() + 0.5 * (known[:, None] == unknown).double()
    assert auroc(known, unknown) == pytest.approx(float(pairs.mean()))
    assert auroc(torch.tensor([1.0, 2.0]), torch.tensor([0.0])) == pytest.approx(1.0)


def test_the_best_threshold_keeps_and_catches_most() -> None:
    generator = torch.Generator().manual_seed(0)
    known, unknown = torch.rand(40, generator=generator) ** 0.5, torch.rand(30, generator=generator) ** 2

    def score(threshold: float) -> float:
        return float((known >= threshold).double().mean() + (unknown < threshold).double().mean())

    best = best_threshold(known, unknown)
    assert score(best) == pytest.approx(max(score(float(value)) for value in [*known, *unknown]))
    assert score(best) > 1.2  # 1 is what guessing reaches


def test_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([0] * 10 + [1] * 10)
    sure = torch.linspace(0.55, 0.93, 20)
    probabilities = torch.stack([torch.where(labels == 0, sure, 1 - sure), torch.where(labels == 0, 1 - sure, sure)], 1)
    probabilities[3] = probabilities[3].flip(0)  # one mistake
    unknown = torch.tensor([[0.5, 0.5], [0.45, 0.55], [0.9, 0.1], [0.5, 0.5]])
    answers = iter([probabilities, unknown])
    monkeypatch.setattr(train_photos, "predict", lambda *_: next(answers))
    photos = train_photos.Photos(torch.empty(20), labels, ["a", "b"])
    result = measure(ResidualNet(2, widths=(8, 8, 8, 8)), photos, torch.empty(4), 64, torch.device("cpu"))
    assert result.measured.top1 == pytest.approx(0.95) and result.confusion.tolist() == [[9, 1], [0, 10]]
    assert result.measured.threshold == pytest.approx(0.57)  # above three of four unknown, below all known but one
    assert (result.measured.kept, result.measured.caught) == pytest.approx((0.95, 0.75))
    assert result.sure_when_wrong == pytest.approx(float(sure[3]))


def test_plan() -> None:
    plan = Plan(epochs=60, finish=12, rate=0.2, steps=10)
    assert [plan.side(epoch) for epoch in (0, 20, 21, 40, 41, 59, 60)] == [96, 96, 112, 112, 128, 128, 144]
    rates = [plan.rate_at(epoch, step) for epoch in range(72) for step in range(10)]
    assert rates[0] == 0 and max(rates) == pytest.approx(0.2) == rates[90] and rates[599] < 1e-4
    assert rates[600] == pytest.approx(0.04) and rates[660] == pytest.approx(0.02) and rates[719] < 1e-4


def test_blended_outliers_are_wanted_as_their_parts() -> None:
    outliers, known = torch.zeros(6, 3, 4, 4), torch.full((8, 3, 4, 4), 100.0)
    outliers[1] = 50
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    pixels, wanted = blend_outliers(outliers, known, labels, 3, torch.Generator().manual_seed(0))
    assert identical(pixels[:2], outliers[:2]) and torch.allclose(wanted[:4], torch.tensor(1 / 3))
    assert (pixels[2] > 0).all() and (pixels[2] <= 25).all() and (pixels[3] == 0).all()  # with the outlier before
    for i in (4, 5):
        share = pixels[i, 0, 0, 0].item() / 100
        assert 0 < share <= 0.5
        assert wanted[i, labels[i]].item() == pytest.approx((1 - share) / 3 + share, abs=1e-5)
    assert torch.allclose(wanted.sum(dim=1), torch.ones(6))
