"""How alike the maps of several networks are: over photos, beside the center and beside maps of other photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from normviz.attribution import Probe
from normviz.evaluation.agreement import agreement, markdown
from normviz.evaluation.baselines import center_map
from normviz.models.catalog import Classifier, norm_variants
from normviz.registry import get
from normviz.samples import load_sample
from scripts import measure_norms as script
from tests.support.nets import pooled_net


def small(title: str, seed: int) -> Classifier:
    """A small network with seeded weights, of photos of 16 x 16 pixels."""
    model: nn.Module = pooled_net(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return Classifier(title, title, model.eval().requires_grad_(False), ("ant", "bee", "cat", "dog"), None, size=16)


def photos(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, 256, (3, 20, 24), generator=generator, dtype=torch.uint8) for _ in range(count)]


def test_each_number_is_the_correlation_of_two_maps_of_the_class_that_all_think_most_probable() -> None:
    networks, images = [small("a", 0), small("b", 1), small("a again", 0)], photos(3)
    found = agreement(networks, images, get("layer_cam", "attribution"), "relu")
    assert found.titles == ("a", "b", "a again", "the image's center") and found.same.shape == (3, 4, 4)
    for number, photo in enumerate(images):
        shares = sum(one.probabilities(photo) for one in networks)
        target = int(torch.as_tensor(shares).argmax())
        maps = [get("layer_cam").function(Probe(one.model, one.prepare(photo), target, "relu"))[0] for one in networks]
        large = [
            nn.functional.interpolate(one[None, None].double(), size=(16, 16), mode="bilinear", align_corners=False)
            for one in maps
        ]
        rows = np.stack([*(one.flatten().numpy() for one in large), center_map((16, 16)).double().flatten().numpy()])
        np.testing.assert_allclose(found.same[number], np.corrcoef(rows), atol=1e-6)
    np.testing.assert_allclose(found.same[:, 0, 2], 1.0)  # equal networks, equal maps
    assert np.abs(found.same[:, 0, 1]).max() < 0.999


def test_maps_of_other_photos_say_how_much_is_chance() -> None:
    one, images = small("a", 0), photos(2)
    found = agreement([one, one], images, get("grad_cam", "attribution"), "relu")
    same_photo_twice = agreement([one, one], [images[0], images[0]], get("grad_cam", "attribution"), "relu")
    assert found.other.shape == (1,) and found.other[0] < 0.999
    np.testing.assert_allclose(same_photo_twice.other, 1.0)


def test_a_method_that_refuses_leaves_a_dash() -> None:
    found = agreement([small("a", 0), small("b", 1)], photos(2), get("cam", "attribution"), "conv")
    assert np.isnan(found.same[:, 0, 1]).all() and found.between(0, 1) is None and len(found.other) == 0
    lines = markdown(found).splitlines()
    assert lines[2] == "| a | 1 | – | – |" and len({line.count("|") for line in lines}) == 1


def test_too_little_is_refused() -> None:
    one = small("a", 0)
    with pytest.raises(ValueError, match="at least two networks; received 1"):
        agreement([one], photos(2), get("grad_cam", "attribution"))
    with pytest.raises(ValueError, match="at least two photos; received 1"):
        agreement([one, one], photos(1), get("grad_cam", "attribution"))


def test_the_script_writes_its_command_and_a_table_of_the_family(tmp_path: Path) -> None:
    for name in ("chelsea", "coffee"):
        (tmp_path / f"{name}.png").write_bytes(load_sample(name))
    goal = tmp_path / "B.md"
    script.main(["--photos", str(tmp_path), "--count", "2", "--model", "scenes_group", "--markdown", str(goal)])
    text = goal.read_text()
    assert text.startswith(script.HEADING) and "--count 2 --model scenes_group --method grad_cam --seed 0`" in text
    head = next(line for line in text.splitlines() if line.startswith("| |"))
    assert [cell.strip() for cell in head.split("|")[2:-2]] == [entry.norm for entry in norm_variants("scenes")]
    assert str(tmp_path) not in text
