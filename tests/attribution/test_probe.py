"""The probe: values, caching, layers and head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, cam, grad_cam, guided_backprop, layers, saliency
from normviz.models.bottleneck import BottleneckNet, calibrate_batch_norm
from normviz.models.residual import ResidualNet
from normviz.registry import get, methods
from tests.support.nets import WrappedNet, pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = [method.name for method in methods("attribution")]
READS_ANY_HEAD = [name for name in NAMES if name != "cam"]


# What a probe computes


def test_logits_activations_and_gradients_are_those_of_the_plain_model() -> None:
    net, images, targets = relu_net(), pictures(), torch.tensor([3, 1])
    probe = Probe(net, images, targets, "bn2")
    net.eval()
    torch.testing.assert_close(probe.logits, net(images).detach(), rtol=0, atol=1e-12)
    x = net.pool(F.relu(net.bn1(net.conv1(images))))
    a = net.bn2(net.conv2(x)).detach().requires_grad_()
    logits = net.fc(F.relu(net.hidden(F.adaptive_avg_pool2d(F.relu(a + x.detach()), 4).flatten(1))))
    (g,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), a)
    torch.testing.assert_close(probe.activations, a.detach(), rtol=0, atol=1e-12)  # before the in-place addition
    torch.testing.assert_close(probe.gradients, g, rtol=0, atol=1e-12)


def test_gradients_by_finite_differences() -> None:
    net, images = relu_net().eval(), pictures(1)
    probe = Probe(net, images, 2)
    step = torch.zeros_like(images)
    step[0, 1, 4, 5] = 1e-6
    with torch.no_grad():
        slope = (net(images + step) - net(images - step))[0, 2] / 2e-6
    assert probe.input_gradient[0, 1, 4, 5].item() == pytest.approx(slope.item(), rel=1e-6)


def test_without_a_target_each_image_explains_its_top_class() -> None:
    net, images = relu_net(), pictures(4)
    probe = Probe(net, images, layer="pool")
    assert probe.target.tolist() == net.eval()(images).argmax(dim=1).tolist()
    assert len(set(probe.target.tolist())) > 1
    torch.testing.assert_close(grad_cam(probe), grad_cam(Probe(net, images, probe.target, "pool")))


def counted_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each pass from now on."""
    from normviz.attribution.engine import forward, probe
    from normviz.attribution.engine.network import read_output

    runs: list[int] = []

    def counted(net: nn.Module, images: Tensor) -> object:
        runs.append(len(images))
        return read_output(net, images)

    monkeypatch.setattr(forward, "read_output", counted)
    monkeypatch.setattr(probe, "read_output", counted)
    return runs


def test_everything_is_computed_once_and_a_class_costs_no_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch)
    net, images = relu_net(), pictures()
    probe = Probe(net, images, 0, "pool")
    assert runs == []
    for name in ("grad_cam", "grad_cam_pp", "layer_cam", "grad_cam"):
        get(name).function(probe)
    others = [grad_cam(probe.for_target(c)) for c in range(5)]
    assert runs == [2]
    for _ in range(3):
        saliency(probe)
    assert runs == [2, 2]
    guided_backprop(probe)
    guided_backprop(probe)
    assert runs == [2, 2, 2]
    for c, heatmap in enumerate(others):
        torch.testing.assert_close(heatmap, grad_cam(Probe(net, images, c, "pool")), rtol=0, atol=1e-12)
    assert probe.for_target(torch.tensor([0, 4])).target.tolist() == [0, 4]
    assert probe.for_target(None).target.tolist() == probe.logits.argmax(dim=1).tolist()


def test_saliency_alone_costs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch)
    saliency(Probe(relu_net(), pictures()))
    assert runs == [2]


def test_later_changes_of_the_images_do_not_reach_a_probe() -> None:
    images = pictures()
    probe, expected = Probe(relu_net(), images, 1), saliency(Probe(relu_net(), images.clone(), 1))
    images.zero_()
    torch.testing.assert_close(saliency(probe), expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", READS_ANY_HEAD)
def test_the_callers_context_does_not_matter(name: str, context: Callable[[], Any]) -> None:
    expected = get(name).function(Probe(relu_net(), pictures(), layer="pool"))
    with context():
        net, images = relu_net(), pictures()  # even weights made in inference mode
        inside = get(name).function(Probe(net, images, layer="pool"))
        probe = Probe(relu_net(), pictures(), layer="pool")
    torch.testing.assert_close(inside.clone(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(get(name).function(probe), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", READS_ANY_HEAD)
def test_frozen_or_not_training_or_not(name: str) -> None:
    maps = []
    for frozen in (False, True):
        for training in (False, True):
            net = relu_net().train(training).requires_grad_(not frozen)
            maps.append(get(name).function(Probe(net, pictures(), 1, "bn2")))
    for heatmap in maps[1:]:
        torch.testing.assert_close(heatmap, maps[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("as_dict", [True, False])
def test_logits_may_come_in_an_object_or_a_dictionary(as_dict: bool) -> None:
    plain, wrapped = relu_net(), WrappedNet(relu_net(), as_dict)
    ours = grad_cam(Probe(wrapped, pictures(), 1, "net.pool"))
    torch.testing.assert_close(ours, grad_cam(Probe(plain, pictures(), 1, "pool")))


def test_half_precision_networks_work() -> None:
    net, images = relu_net(dtype=torch.bfloat16), pictures(dtype=torch.bfloat16)
    heatmap = grad_cam(Probe(net, images, 1, "pool"))
    assert heatmap.dtype == torch.bfloat16 and heatmap.any()


# Layers


def test_layers_stand_in_the_order_in_which_they_finish() -> None:
    found = layers(relu_net(), pictures())
    assert found == [
        ("conv1", (8, 12, 12)), ("bn1", (8, 12, 12)), ("pool", (8, 6, 6)), ("conv2", (8, 6, 6)), ("bn2", (8, 6, 6)),
        ("activation", (8, 6, 6)),
    ]  # fmt: skip


def test_the_default_layer_is_the_outermost_of_the_last_feature_maps() -> None:
    net = ResidualNet(11, "batch", (4, 4, 4, 4))
    assert Probe(net, pictures(1, 64, torch.float32)).layer == "stage4"
    small = BottleneckNet(10, 2, (1, 1, 1, 1))
    assert Probe(small, pictures(1, 64, torch.float32)).layer == "layer4"
    assert Probe(small, pictures(1, 32, torch.float32)).layer == "layer4.0.bn1"  # then one cell


def test_a_layer_may_be_given_as_a_module() -> None:
    net = relu_net()
    by_module = Probe(net, pictures(), 1, net.bn2)
    assert by_module.layer == "bn2"
    torch.testing.assert_close(grad_cam(by_module), grad_cam(Probe(net, pictures(), 1, "bn2")), rtol=1e-12, atol=0)


def test_a_shared_relu_is_read_at_its_last_run_on_feature_maps() -> None:
    """In `relu_net` it runs a third time, on the hidden linear layer."""
    net = relu_net("in-place module").eval()
    probe = Probe(net, pictures(), 1, "activation")
    x = net.pool(F.relu(net.bn1(net.conv1(pictures()))))
    torch.testing.assert_close(probe.activations, F.relu(net.bn2(net.conv2(x)) + x).detach(), rtol=0, atol=1e-12)


def test_a_relu_that_runs_twice_on_feature_maps_is_read_at_the_second() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.relu = nn.ReLU(inplace=True)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.relu(self.conv2(self.relu(self.conv1(x)))).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    net = Shared().double()
    probe = Probe(net, pictures(), 1, "relu")
    expected = F.relu(net.conv2(F.relu(net.conv1(pictures())))).detach()
    torch.testing.assert_close(probe.activations, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(cam(probe).mean(dim=(1, 2)) + net.fc.bias[1], probe.logits[:, 1])


# The head


def test_head_is_the_linear_layer_or_a_one_by_one_convolution() -> None:
    net = pooled_net()
    assert Probe(net, pictures()).head.name == "fc"
    torch.manual_seed(0)
    convolutional = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1, bias=False), nn.Flatten()
    )
    assert Probe(convolutional.double(), pictures()).head.name == "3"


def test_other_heads_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"8 channels of layer 'bn2' to 5 classes .its last one is \(5, 16\)."):
        cam(Probe(relu_net(), pictures(), layer="bn2"))
    torch.manual_seed(0)
    pooled_by_max = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).double()
    with pytest.raises(ValueError, match="'4' applied to the pooled channels of layer '1' does not return the logits"):
        cam(Probe(pooled_by_max, pictures()))
    with pytest.raises(ValueError, match="'fc' applied to the pooled channels of layer 'conv' does not return"):
        cam(Probe(pooled_net(), pictures(), layer="conv"))


# On a graphics card


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_maps_on_cuda_are_those_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    net = calibrate_batch_norm(BottleneckNet(10, 8, (1, 1, 1, 1)), torch.randn(8, 3, 64, 64)).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    ours = get(name).function(Probe(copy.deepcopy(net).cuda(), images.cuda(), 3, "layer4"))
    assert ours.is_cuda
    torch.testing.assert_close(ours.cpu(), get(name).function(Probe(net, images, 3, "layer4")), rtol=1e-6, atol=1e-9)
