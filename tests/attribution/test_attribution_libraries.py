"""The attribution methods against independent libraries: Captum and torchcam."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from normviz.attribution import (
    Probe,
    cam,
    deconvnet,
    grad_cam,
    guided_backprop,
    guided_grad_cam,
    layer_cam,
    saliency,
    score_cam,
)
from tests.attribution.test_attribution import TARGETS, Function, close
from tests.support.nets import pictures, pooled_net

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def captum_warnings() -> Iterator[None]:
    """Captum warns about its hooks, and enables gradients of the input."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations", category=UserWarning)
        warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require gradients")
        yield


def separate_relus(dtype: torch.dtype = torch.float64) -> nn.Module:
    """The network as a sequence, because Captum requires one module per ReLU."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5),
    ).to(dtype).eval()  # fmt: skip


def test_captum_agrees() -> None:
    from captum.attr import Deconvolution, GuidedBackprop, GuidedGradCam, LayerGradCam, Saliency

    net, images = separate_relus(), pictures()
    probe = Probe(net, images, TARGETS, "5")
    layer = net.get_submodule("5")
    with captum_warnings():
        close(saliency(probe), Saliency(net).attribute(images.clone(), target=TARGETS).amax(dim=1).detach())
        close(deconvnet(probe), Deconvolution(net).attribute(images.clone(), target=TARGETS).detach())
        close(guided_backprop(probe), GuidedBackprop(net).attribute(images.clone(), target=TARGETS).detach())
        theirs = LayerGradCam(net, layer).attribute(images.clone(), target=TARGETS, relu_attributions=True)
        close(grad_cam(probe), theirs[:, 0].detach())
        product = GuidedGradCam(net, layer).attribute(images.clone(), target=TARGETS, interpolate_mode="bilinear")
        close(guided_grad_cam(probe), product.detach())


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "ScoreCAM"])
def test_torchcam_agrees(name: str) -> None:
    from torchcam import methods as torchcam

    net, images = separate_relus(torch.float32), pictures(dtype=torch.float32)
    function: dict[str, Function] = {"GradCAM": grad_cam, "LayerCAM": layer_cam, "ScoreCAM": score_cam}
    with getattr(torchcam, name)(net, "5") as extractor:
        (theirs,) = extractor(TARGETS.tolist(), net(images), normalized=False)
    close(function[name](Probe(net, images, TARGETS, "5")), theirs.detach(), 1e-5)


def test_torchcam_agrees_on_cam() -> None:
    from torchcam.methods import CAM

    net, images = pooled_net(torch.float32).eval(), pictures(dtype=torch.float32)
    with CAM(net, "relu", "fc") as extractor:
        net(images)
        (theirs,) = extractor(TARGETS.tolist(), normalized=False)
    close(cam(Probe(net, images, TARGETS)), theirs, 1e-5)
