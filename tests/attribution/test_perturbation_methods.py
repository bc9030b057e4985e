"""Perturbation methods: references, closed forms, independent libraries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, ablation_cam, is_cam, occlusion, rise, score_cam, ss_cam
from tests.attribution.test_attribution import TARGETS, Function, close
from tests.reference import attribution_perturbation as reference
from tests.support.comparison import identical
from tests.support.nets import pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


def probe_at(layer: str = "pool", seed: int = 2) -> Probe:
    """Two images and a network with batch norms and a hidden linear layer."""
    return Probe(relu_net(seed=seed), pictures(), TARGETS, layer)


def slowly(name: str, probe: Probe, **knobs: Any) -> Tensor:
    """The reference of a method, image by image."""
    slow, net = getattr(reference, name), probe.model.eval()
    layer = probe.layer
    return torch.stack([slow(net, x, int(c), layer, **knobs) for x, c in zip(probe.images, probe.target, strict=True)])


class Linear(nn.Module):
    """A class's logit is linear in the pixels."""

    def __init__(self, size: int, classes: int = 3) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * size * size, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


def linear(size: int) -> tuple[Probe, Tensor, float]:
    """A linear network's probe, what each pixel adds to the logit (size, size), and the bias."""
    torch.manual_seed(3)
    net, image = Linear(size).double(), pictures(1, size)
    weight = net.fc.weight.detach()[1].reshape(3, size, size)
    return Probe(net, image, 1), (weight * image[0]).sum(dim=0), float(net.fc.bias.detach()[1])


def watch_tail(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes of all passes through the layers after the probe's layer."""
    sizes: list[int] = []
    original = Probe.score_from_layer

    def watched(self: Probe, activations: Tensor, index: int = 0) -> Tensor:
        sizes.append(len(activations))
        return original(self, activations, index)

    monkeypatch.setattr(Probe, "score_from_layer", watched)
    return sizes


# Against the references


@pytest.mark.parametrize("layer", ["conv1", "bn2", "pool"])
def test_ablation_equals_a_loop_of_full_forwards(layer: str) -> None:
    probe = probe_at(layer, seed=4)
    close(ablation_cam(probe), slowly("ablation_cam", probe))


@pytest.mark.parametrize("where", ["mask", "image"])
@pytest.mark.parametrize(("samples", "sigma", "seed"), [(1, 0.5, 0), (4, 0.1, 7)])
def test_ss_cam_equals_its_reference(where: str, samples: int, sigma: float, seed: int) -> None:
    knobs: dict[str, Any] = {"samples": samples, "sigma": sigma, "where": where, "seed": seed}
    probe = probe_at()
    close(ss_cam(probe, **knobs), slowly("ss_cam", probe, **knobs))


@pytest.mark.parametrize("path", ["cumulative", "straight"])
@pytest.mark.parametrize("steps", [2, 7])
def test_is_cam_equals_its_reference(path: str, steps: int) -> None:
    probe = probe_at()
    knobs: dict[str, Any] = {"steps": steps, "path": path}
    close(is_cam(probe, **knobs), slowly("is_cam", probe, **knobs))


@pytest.mark.parametrize("fill", ["zero", "mean", "blur"])
@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(("window", "stride"), [(0.3, 0.2), (0.5, 0.35), (0.1, 0.5)])
def test_occlusion_equals_its_reference(fill: str, score: str, window: float, stride: float) -> None:
    knobs: dict[str, Any] = {"window": window, "stride": stride, "fill": fill, "score": score}
    wide = F.pad(pictures(), (0, 3))  # 12 x 15 pixels
    probe = Probe(relu_net(), wide, TARGETS, "pool")
    close(occlusion(probe, **knobs), slowly("occlusion", probe, **knobs))


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(("cells", "p", "seed"), [(2, 0.5, 0), (5, 0.3, 9)])
def test_rise_equals_its_reference(score: str, cells: int, p: float, seed: int) -> None:
    knobs: dict[str, Any] = {"masks": 30, "cells": cells, "p": p, "seed": seed, "score": score}
    wide = F.pad(pictures(), (0, 3))  # 12 x 15 pixels: no whole number of cells
    probe = Probe(relu_net(), wide, TARGETS, "pool")
    close(rise(probe, **knobs), slowly("rise", probe, **knobs))


# Closed forms and identities


def test_ablation_on_a_pooled_linear_head_is_gradient_times_sum() -> None:
    probe = Probe(pooled_net(), pictures(), TARGETS, "relu")
    decrease = probe.gradients[:, :, 0, 0] * probe.activations.sum(dim=(2, 3))  # (N, K), g_k S_k
    close(ablation_cam(probe), (decrease[:, :, None, None] * probe.activations).sum(dim=1).relu())


def test_ablation_of_dead_channels_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias")[1:3] = -1e3
    sizes = watch_tail(monkeypatch)
    notes: list[str] = []
    probe = Probe(net, pictures(1), 1, "relu")
    ours = ablation_cam(probe, note=notes.append)
    assert sizes == [1, 4]  # the original, and the four active channels
    assert notes == ["4 of 6 channels ablated one at a time; the others are 0 everywhere."]
    close(ours, slowly("ablation_cam", probe))


def test_ablation_keeps_its_sign_where_the_logit_is_negative() -> None:
    """A channel has a positive weight if removing it lowers the score, whatever the sign of the logit."""
    net = pooled_net()
    with torch.no_grad():
        net.fc.weight[1] = torch.tensor([1.0, 0, 0, 0, 0, 0])
        net.fc.bias[1] = -50.0
    probe = Probe(net, pictures(1), 1, "relu")
    assert probe.score < 0
    close(ablation_cam(probe)[0], float(probe.activations[0, 0].mean()) * probe.activations[0, 0])


def test_score_cam_without_noise_and_with_one_step() -> None:
    net = relu_net(seed=2)
    with torch.no_grad():
        net.conv1.weight[2:4] = 0.0  # two channels are constant
    probe = Probe(net, pictures(), TARGETS, "pool")
    whole = score_cam(probe)
    close(ss_cam(probe, samples=2, sigma=0.0), whole)
    close(ss_cam(probe, samples=2, sigma=0.0, where="image"), whole)
    close(is_cam(probe, steps=1), whole)
    close(is_cam(probe, steps=1, path="straight"), whole)
    assert (is_cam(probe, steps=6) - is_cam(probe, steps=6, path="straight")).abs().max() > 1e-6 * whole.max()


def test_occlusion_of_a_linear_network_adds_up_what_is_covered() -> None:
    probe, evidence, _ = linear(6)
    close(occlusion(probe, window=1 / 6, stride=1 / 6)[0], evidence)
    squares = F.avg_pool2d(evidence[None, None], 2, 1, divisor_override=1)  # (1, 1, 5, 5), the sums of 2 x 2 pixels
    total = F.conv_transpose2d(squares, torch.ones(1, 1, 2, 2, dtype=torch.float64))
    count = F.conv_transpose2d(torch.ones_like(squares), torch.ones(1, 1, 2, 2, dtype=torch.float64))
    close(occlusion(probe, window=2 / 6, stride=1 / 6)[0], (total / count)[0, 0])


def test_a_blur_changes_nothing_where_there_is_nothing_to_blur() -> None:
    flat = torch.ones(1, 3, 12, 12, dtype=torch.float64) * torch.tensor([0.3, -1.0, 2.0])[None, :, None, None]
    probe = Probe(relu_net(), flat, 1)
    assert occlusion(probe, fill="blur").abs().max() <= 1e-9
    assert occlusion(probe, fill="mean").abs().max() <= 1e-9
    assert occlusion(probe, fill="zero").abs().max() > 1e-3


def test_rise_over_all_masks_is_the_expectation() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS)
    for cells, p, masks in ((2, 0.5, 16), (2, 0.2, 500), (3, 0.7, 512)):
        notes: list[str] = []
        ours = rise(probe, masks=masks, cells=cells, p=p, shift=False, note=notes.append)
        net = probe.model.eval()
        slow = [reference.rise_exact(net, x, int(c), cells, p) for x, c in zip(probe.images, TARGETS, strict=True)]
        close(ours, torch.stack(slow))
        assert notes[0].startswith(f"Exact: all {2 ** (cells * cells)} masks, weighted by their probability. Scores")


def test_rise_of_a_linear_network_in_closed_form() -> None:
    """E[S | pixel visible] = bias + its own evidence + p times that of all others."""
    probe, evidence, bias = linear(3)
    ours = rise(probe, masks=512, cells=3, p=0.3, shift=False, score="logit")[0]
    close(ours, bias + evidence + 0.3 * (evidence.sum() - evidence))


@pytest.mark.parametrize("shift", [True, False])
def test_rise_comes_closer_as_its_standard_error_says(shift: bool) -> None:
    probe = Probe(relu_net(), pictures(1), 2)
    truth = rise(probe, masks=20_000, cells=3, shift=True) if shift else rise(probe, masks=512, cells=3, shift=False)
    for masks in (60, 500):
        notes: list[str] = []
        ours = rise(probe, masks=masks, cells=3, shift=shift, seed=4, note=notes.append)
        assert notes[0].startswith(f"Monte Carlo estimate from {masks} random masks, seed 4: the standard error is")
        error = float(notes[0].split("at most ")[1].split(",")[0])
        if shift or masks < 512:
            assert 0.05 * error < (ours - truth).abs().max() < 4 * error


def test_masks_lie_between_0_and_1_and_average_p() -> None:
    """A network that always returns 1: the map is the mean of the masks divided by p."""

    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_zeros(len(x), 1)  # one class, probability 1

    ours = rise(Probe(One(), pictures(1, 20)), masks=4000, cells=4, p=0.3)
    assert (ours - 1).abs().max() < 0.15 and ours.std() > 0


@pytest.mark.parametrize(("function", "knobs"), [(ss_cam, {"samples": 2}), (rise, {"masks": 20})])
def test_the_seed_alone_decides(function: Function, knobs: dict[str, Any]) -> None:
    probe = probe_at()
    before = torch.get_rng_state()
    first = function(probe, seed=1, **knobs)
    torch.testing.assert_close(function(probe, seed=1, **knobs), first, rtol=1e-12, atol=1e-14)
    assert not identical(function(probe, seed=2, **knobs), first)
    occlusion(probe)
    assert identical(torch.get_rng_state(), before)


# Against independent libraries


def plain_net() -> nn.Sequential:
    """A network as a sequence in single precision, as required by the libraries."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_captum_agrees_on_occlusion(score: str) -> None:
    from captum.attr import Occlusion

    net, images = plain_net().double(), pictures()
    asked = nn.Sequential(*net, nn.Softmax(dim=1)) if score == "probability" else net
    theirs = Occlusion(asked).attribute(images, (3, 4, 4), strides=(3, 2, 2), baselines=0, target=TARGETS)
    ours = occlusion(Probe(net, images, TARGETS), window=4 / 12, stride=2 / 12, score=score)  # type: ignore[arg-type]
    close(ours, theirs[:, 0], 1e-6)  # Captum adds up in single precision


def test_captum_agrees_on_ablation() -> None:
    from captum.attr import LayerFeatureAblation

    net, images = plain_net().double(), pictures()
    channels = torch.arange(8)[None, :, None, None]
    decrease = LayerFeatureAblation(net, net[5]).attribute(images, target=TARGETS, layer_mask=channels)  # (N, K, h, w)
    probe = Probe(net, images, TARGETS, "5")
    close(ablation_cam(probe), (decrease * probe.activations).sum(dim=1).relu())


def test_torchcam_agrees_on_is_cam() -> None:
    from torchcam.methods import ISCAM

    net, images = plain_net(), pictures(dtype=torch.float32)
    with ISCAM(net, "5", num_samples=4) as extractor, torch.no_grad():
        net(images)
        (theirs,) = extractor(TARGETS.tolist(), normalized=False)
    close(is_cam(Probe(net, images, TARGETS, "5"), steps=4), theirs, 1e-5)


def test_torchcam_agrees_on_ss_cam_with_the_same_noise() -> None:
    from torchcam.methods import SSCAM

    net, image = plain_net(), pictures(1, dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    fields = torch.stack([torch.randn(1, 12, 12, generator=generator) for _ in range(2 * 8)]).reshape(2, 1, 8, 12, 12)

    class Drawn:
        """Yields the noise that `ss_cam` draws, sample by sample."""

        def __init__(self) -> None:
            self.left = iter(2.0 * fields)

        def sample(self, size: object) -> Tensor:
            field: Tensor = next(self.left)
            return field

    with SSCAM(net, "5", num_samples=2, std=2.0) as extractor, torch.no_grad():
        extractor._distrib = Drawn()  # type: ignore[assignment]
        net(image)
        (theirs,) = extractor(1, normalized=False)
    close(ss_cam(Probe(net, image, 1, "5"), samples=2, sigma=2.0, seed=5), theirs, 1e-5)
