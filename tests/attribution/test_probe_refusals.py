"""Errors of the probe: images, models, classes and layers."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, saliency
from normviz.models.bottleneck import BottleneckNet
from tests.support.comparison import identical
from tests.support.nets import pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


class Broken(nn.Module):
    """Returns a given value."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(3, 8, 8), r"shape \(N, C, H, W\).*received a float32 tensor of shape \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), "every size at least 1"),
        (torch.zeros(1, 3, 0, 8), "every size at least 1"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floating point.*torch.uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "must be finite"),
        (torch.full((1, 3, 8, 8), torch.inf), "must be finite"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float32), "torch.float64 on cpu.*received torch.float32"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.float64), r"cannot process images of shape \(1, 4, 8, 8\)"),
    ],
)
def test_images_that_cannot_be_read_are_refused(images: Tensor, sentence: str) -> None:
    if images.dtype == torch.float32 and "float64" not in sentence:
        images = images.double()
        sentence = sentence.replace("float32", "float64")
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), images)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda x: x, r"logits of shape \(1, classes\).*returned a float32 tensor of shape \(1, 3, 8, 8\)"),
        (lambda x: (x,), "returned a tuple"),
        (lambda x: {"out": x}, "returned a dict"),
        (lambda x: x.sum(dim=(2, 3)) * torch.nan, r"logits are not finite \(image 0, class 0: nan\)"),
        (lambda x: x.sum(dim=(2, 3)).argmax(dim=1, keepdim=True), "returned a int64 tensor"),
    ],
)
def test_models_that_do_not_return_logits_are_refused(make: Callable[[Tensor], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(Broken(make), torch.ones(1, 3, 8, 8))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a torch.nn.Module; received function"):
        Probe(F.relu, pictures())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (5, "no class 5: this model's classes are 0 to 4"),
        (-1, "no class -1"),
        (torch.tensor([0, 9]), "no class 9"),
        (torch.tensor([0]), r"integers of shape \(2,\).*received a int64 tensor of shape \(1,\)"),
        (torch.tensor([0.0, 1.0]), "integers"),
        (True, "received True"),
        ("cat", "received 'cat'"),
    ],
)
def test_unknown_classes_are_refused(target: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures(), target)
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures()).for_target(target)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("conv9", "no layer 'conv9'; choose one of conv1, bn1, pool, conv2, bn2, activation"),
        ("", "no layer ''"),
        ("fc", r"layer 'fc' has no feature maps.*float64 tensor of shape \(1, 5\); choose one of conv1"),
        (nn.ReLU(), "ReLU given as the layer is not part of this model"),
    ],
)
def test_unknown_layers_are_refused_with_the_choices(layer: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures(), layer=layer)


def test_among_many_layers_the_closest_are_offered() -> None:
    net = BottleneckNet(10, 2, (1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"the closest of its \d+ layers with feature maps: .*layer3\.0\.conv2"):
        Probe(net, pictures(1, 64, torch.float32), layer="layer3.0.conv")


def test_layers_that_do_not_run_or_do_not_matter_are_told() -> None:
    class Extra(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.idle, self.aside = pooled_net(), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.net(x)  # type: ignore[no-any-return]

    net = Extra()
    with pytest.raises(ValueError, match="layer 'idle' does not run"):
        Probe(net, pictures(), layer="idle")
    with pytest.raises(ValueError, match="no gradient flows from the logits to layer 'aside'"):
        grad_cam(Probe(net, pictures(), layer="aside"))


def test_a_network_without_feature_maps_has_saliency_only() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    probe = Probe(net, pictures())
    assert probe.logits.shape == (2, 3) and saliency(probe).any()
    with pytest.raises(ValueError, match="no layer of this model has feature maps"):
        grad_cam(probe)


def test_weights_in_hooks_are_refused_by_name() -> None:
    net = relu_net()
    with pytest.warns(FutureWarning, match="weight_norm"):
        torch.nn.utils.weight_norm(net.conv2)
    with pytest.raises(ValueError, match=r"'conv2' \(Conv2d\) computes its weight in a hook \(WeightNorm\)"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.spectral_norm(net.hidden)
    with pytest.raises(ValueError, match=r"'hidden' .*SpectralNorm"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.prune.l1_unstructured(net.conv1, "weight", 0.5)  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match=r"'conv1' .*L1Unstructured"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.parametrizations.weight_norm(net.conv2)
    torch.nn.utils.parametrizations.spectral_norm(net.hidden)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert grad_cam(Probe(net, pictures(), 1, "pool")).any()
    assert all(identical(value, before[key]) for key, value in net.state_dict().items())


def test_scripted_lazy_and_uncopyable_models_are_refused_by_name() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(ValueError, match=r"module '0' .* is scripted"):
        Probe(nn.Sequential(scripted, nn.Flatten(), nn.Linear(400, 2)), torch.zeros(1, 3, 12, 12))
    with pytest.raises(ValueError, match=r"'0' .*lazy and has no weights"):
        Probe(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()), torch.zeros(1, 3, 12, 12))
    net = relu_net()
    net.bn1.__dict__["lock"] = threading.Lock()
    with pytest.raises(ValueError, match=r"module 'bn1' .* holds a lock in 'lock'"):
        Probe(net, pictures())
    net = relu_net()
    net.hidden.last = net.hidden(torch.zeros(1, 128, dtype=torch.float64))  # a stored activation is no obstacle
    assert grad_cam(Probe(net, pictures(), 1, "pool")).any()
