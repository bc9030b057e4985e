"""The drawbacks of attribution maps: each number held against a closed form or a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam
from normviz.attribution.compare import make_map
from normviz.experiments.drawbacks import DrawbackInput, DrawbackResult, drawbacks, gradients
from normviz.experiments.drawbacks.drawback import highlighted_share, last_layer_per_size, similarity, to_pictures
from normviz.experiments.drawbacks.gradients import (
    evidence_inside,
    fall_without,
    low_activation,
    twice,
    two_objects,
    unevenness,
)
from normviz.experiments.drawbacks.score_cam import masked
from normviz.experiments.drawbacks.taylor import Path, along, directions
from normviz.experiments.results import BarChart
from normviz.models.catalog import Classifier
from normviz.registry import get
from tests.support.comparison import identical
from tests.support.nets import pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


class Deep(nn.Module):
    """Two convolutions with pooling between them, then the mean and a linear layer."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.pool(self.first(x))).mean(dim=(2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> DrawbackInput:
    """A photo of noise before a small network that fits a pooled head."""
    monkeypatch.setenv("NORMVIZ_DEVICE", "cpu")
    torch.manual_seed(0)
    model = Deep().eval().requires_grad_(False)
    classifier = Classifier("deep", "a small network", model, ("ant", "bee", "cat", "dog"), 0.9, size=16)
    image = torch.randint(0, 256, (3, 20, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return DrawbackInput(classifier, image, int(model(classifier.prepare(image)).argmax()), "second")


def measured(limit: DrawbackResult, holds: str) -> float:
    """The one fact whose label holds a text."""
    (fact,) = [fact for fact in limit.facts if holds in fact.label]
    return fact.measured


# All of them


@pytest.mark.parametrize("name", drawbacks())
def test_every_drawback_is_measured(name: str, setting: DrawbackInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "models", tuple)  # on the photo, whether scenes are installed or not
    shares: list[float] = []
    found = drawbacks()[name].run(setting, shares.append)
    assert found.explanation.endswith(".") and found.facts and found.tiles
    for row in found.tiles:
        for tile in row:
            drawn = tile.values is not None or tile.photo is not None
            assert drawn != bool(tile.refused)
            assert tile.values is None or (tile.values.ndim == 2 and np.isfinite(tile.values).all())
    assert all(np.isfinite(fact.measured) for fact in found.facts)
    assert all(fact.agrees for fact in found.facts)
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)


def test_stages_are_the_last_layers_of_each_size_up_to_the_chosen_one(setting: DrawbackInput) -> None:
    assert last_layer_per_size(setting) == [("first", (6, 16, 16)), ("second", (8, 8, 8))]
    early = DrawbackInput(setting.classifier, setting.image, 0, "first.0")
    assert last_layer_per_size(early) == [("first.0", (6, 16, 16))]


# Taylor


def test_a_linear_network_is_its_first_order() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 3)).double()
    probe = Probe(net, pictures(1, size=4), 1)
    path = along(probe, pictures(1, size=4, seed=5))
    assert path.error.max() < 1e-12 and path.holds_until() == 1.0
    assert np.ptp(path.exact) > 0.1
    assert (path.t[0], path.t[-1]) == (0.0, 1.0)


def test_the_error_of_a_square_is_the_square_of_the_distance() -> None:
    class Squares(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.square().sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1)

    image, direction = pictures(1, size=4), pictures(1, size=4, seed=5)
    path = along(Probe(Squares(), image, 0), direction, steps=7)
    np.testing.assert_allclose(path.error, path.t**2 * float(direction.square().sum()), atol=1e-10)
    np.testing.assert_allclose(path.exact, [float((image + t * direction).square().sum()) for t in path.t])
    assert along(Probe(Squares(), image, 1), direction).error.max() < 1e-12


def test_how_far_the_first_order_holds() -> None:
    t = np.linspace(0, 1, 11)
    exact = -(t**2) + 4 * t
    linear = 4 * t  # the error t² is half of the change 4t - t² at t = 4/3, a tenth of it at t = 4/11
    assert Path(t, exact, linear).holds_until(0.5) == 1.0
    assert Path(t, exact, linear).holds_until(0.1) == pytest.approx(0.3)


def test_paths_that_cannot_be_walked_are_said() -> None:
    probe = Probe(relu_net(), pictures(1), 0)
    with pytest.raises(ValueError, match="image's shape"):
        along(probe, torch.zeros(3, 12, 12))
    with pytest.raises(ValueError, match="at least one step"):
        along(probe, torch.zeros(1, 3, 12, 12), steps=0)


def test_all_ways_lead_away() -> None:
    probe = Probe(relu_net(dtype=torch.float32), pictures(1, dtype=torch.float32), 0)
    ways = directions(probe)
    length = float(probe.images.norm())
    lengths = [float(way.norm()) / length for way in ways.values()]
    assert lengths == pytest.approx([1, 1, 0.1], rel=1e-5)
    assert not (probe.images + ways["fading to gray"]).any()


# Gradients


def test_what_is_lost_without_a_channel_is_gradient_times_sum_before_a_linear_tail() -> None:
    probe = Probe(pooled_net(), pictures(1), 2, "relu")
    expected = (probe.gradients[0] * probe.activations[0]).sum(dim=(1, 2))
    torch.testing.assert_close(fall_without(probe, lambda share: None), expected)


def test_what_is_lost_without_a_channel_equals_a_loop() -> None:
    net, images = relu_net().eval().requires_grad_(False), pictures(1)
    shares: list[float] = []
    falls = fall_without(Probe(net, images, 3, "pool"), shares.append)
    whole = net(images)[0, 3]
    for k in range(8):

        def cut(module: nn.Module, args: object, output: Tensor, k: int = k) -> Tensor:
            output = output.clone()
            output[:, k] = 0
            return output

        hook = net.pool.register_forward_hook(cut)
        assert float(falls[k]) == pytest.approx(float(whole - net(images)[0, 3]), abs=1e-10)
        hook.remove()
    assert shares == [1.0] and falls.abs().max() > 1e-3


def test_before_a_linear_tail_weight_times_sum_ranks_as_the_loss(setting: DrawbackInput) -> None:
    found = low_activation(setting, lambda share: None)
    assert measured(found, "rank correlation of weight × ΣA") == pytest.approx(1, abs=1e-6)
    assert measured(found, "rank correlation of weight and logit drop") < 1


def test_the_gradient_is_even_only_where_the_mean_is_taken() -> None:
    net, images = Deep().double(), pictures(1)
    assert unevenness(Probe(net, images, 0, "second")) < 1e-12
    early = unevenness(Probe(net, images, 0, "first"))
    gradients = Probe(net, images, 0, "first").gradients[0]
    mean = gradients.mean(dim=(1, 2))
    constant = 144 * mean.square().sum()
    assert early == pytest.approx(float((1 - constant / gradients.square().sum()).sqrt()))
    assert 0.1 < early < 1


def test_cam_is_refused_before_the_last_layer(setting: DrawbackInput) -> None:
    found = drawbacks()["cam_refused"].run(setting, lambda share: None)
    row = {tile.title: tile.refused for tile in found.tiles[0]}
    assert "no linear layer here maps the 6 channels" in row["CAM, first"] and not row["CAM, second"]
    assert measured(found, "CAM is not defined") == 1


def test_two_copies_lie_where_their_masks_say() -> None:
    wide = torch.randint(1, 120, (3, 20, 30), dtype=torch.uint8)
    for image in (wide, wide.transpose(1, 2)):
        picture, masks = twice(image)
        _, height, width = image.shape
        assert identical(picture[:, masks[0]], image.flatten(1))
        copy = picture[:, masks[1]].view(3, round(0.8 * height), round(0.8 * width)).float()
        small = nn.functional.interpolate(image[None].float(), size=copy.shape[1:], mode="bilinear", antialias=True)[0]
        assert (copy.flip(2) - small).abs().max() <= 0.5
        assert (picture[:, ~masks.any(dim=0)] == 127).all() and not (masks[0] & masks[1]).any()
        rows, columns = (int(masks[1].any(dim=1).sum()), int(masks[1].any(dim=0).sum()))
        assert (rows, columns) == (round(0.8 * height), round(0.8 * width))
        assert (picture[:, masks[1]] < 127).all()


def test_evidence_is_counted_inside_the_masks() -> None:
    values = np.array([[1.0, -5.0], [2.0, 4.0]])
    masks = torch.zeros(2, 2, 2, dtype=torch.bool)
    masks[0, 0] = True
    masks[1, :, 1] = True
    np.testing.assert_array_equal(evidence_inside(values, masks), [1.0, 4.0])
    np.testing.assert_array_equal(evidence_inside(None, masks), [0.0, 0.0])


def test_the_objects_of_a_scene_are_those_of_one_class(setting: DrawbackInput, monkeypatch: pytest.MonkeyPatch) -> None:
    from normviz.scenes import CLASSES

    model = Deep(len(CLASSES)).eval()
    classifier = Classifier("scenes", "scenes", model, CLASSES, None, size=64)
    monkeypatch.setattr(gradients, "models", lambda: (type("E", (), {"name": "scenes"}),))
    monkeypatch.setattr(gradients, "load_classifier", lambda name: classifier)
    asked, masks = two_objects(setting)
    assert asked.classifier is classifier and masks.shape == (2, 64, 64)
    assert not (masks[0] & masks[1]).any() and masks.flatten(1).any(dim=1).all()


def test_what_counts_as_lit() -> None:
    values = np.zeros((4, 4))
    values[1, 2], values[0, 0] = 2.0, 1.01
    assert highlighted_share(values, (4, 4)) == 2 / 16
    assert highlighted_share(np.zeros((2, 2)), (4, 4)) == 0


def test_alike_is_both_correlations() -> None:
    probe = Probe(relu_net(), pictures(1), 2, "bn2")
    one, other = make_map(get("layer_cam", "attribution"), probe), make_map(get("saliency", "attribution"), probe)
    assert similarity(one, one, (12, 12)) == pytest.approx((1.0, 1.0), abs=1e-12)
    assert -1 <= similarity(one, other, (12, 12))[0] < 1


# Score-CAM


def test_masked_pictures_are_the_image_between_nothing_and_all_of_it() -> None:
    probe = Probe(relu_net(), pictures(1), 2, "pool")
    for k, picture in zip([1, 5], masked(probe, [1, 5]), strict=True):
        up = nn.functional.interpolate(probe.activations[:1, k : k + 1], size=(12, 12), mode="bilinear")[0, 0]
        expected = probe.images[0] * (up - up.min()) / (up.max() - up.min())
        torch.testing.assert_close(picture, expected)


def test_score_cams_conventions_are_compared(setting: DrawbackInput) -> None:
    found = drawbacks()["score_cam_cost"].run(setting, lambda share: None)
    assert found.tiles[0][0].title == "Grad-CAM" and len(found.tiles[0]) == 4
    (bars,) = found.pictures
    assert isinstance(bars, BarChart)
    activations = setting.probe().activations[0]
    assert measured(found, "masked images") == int((activations.amax(dim=(1, 2)) > activations.amin(dim=(1, 2))).sum())
    assert found.tiles[0][0].values is not None
    np.testing.assert_allclose(found.tiles[0][0].values, grad_cam(setting.probe())[0].numpy(), rtol=1e-5)


def test_an_input_is_shown_as_the_picture_it_came_from(setting: DrawbackInput) -> None:
    small = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    (picture,) = to_pictures(setting.classifier, setting.classifier.prepare(small))
    assert np.abs(picture.astype(int) - small.permute(1, 2, 0).numpy()).max() <= 1
