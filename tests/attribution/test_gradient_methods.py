"""Methods based on activations and gradients at a layer: closed forms, identities, independent libraries."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import (
    Probe,
    element_wise_grad_cam,
    finer_cam,
    grad_cam,
    hires_cam,
    layer_cam,
    layer_cam_fusion,
    shapley_cam,
    xgrad_cam,
)
from normviz.attribution.methods.curvature import second_order
from normviz.attribution.methods.fusion import last_of_each_size
from normviz.attribution.targets import Difference
from normviz.models.residual import ResidualNet
from tests.attribution.test_attribution import TARGETS, close
from tests.attribution.test_attribution_libraries import separate_relus
from tests.reference import attribution_gradient as reference
from tests.support.nets import AttentionNet, pictures, pooled_net, relu_net


@pytest.fixture
def probe() -> Probe:
    """Two images and a conv -> ReLU -> pooling -> linear network with maps of 144 cells."""
    return Probe(pooled_net(), pictures(), TARGETS)


def weights_of(probe: Probe, targets: Tensor) -> Tensor:
    """The last layer's weights (N, K, 1, 1) of the classes, divided by the number of cells."""
    return probe.head.weight[targets][:, :, None, None] / 144


# On a pooled linear head


def test_hires_grad_cam_and_xgrad_are_one(probe: Probe) -> None:
    signed = (weights_of(probe, TARGETS) * probe.activations).sum(dim=1)
    close(hires_cam(probe), signed)
    close(hires_cam(probe, relu=True), grad_cam(probe))
    close(xgrad_cam(probe), grad_cam(probe))
    assert (signed < 0).any()


def test_the_cells_of_hires_and_the_bias_add_up_to_the_logit(probe: Probe) -> None:
    close(hires_cam(probe).sum(dim=(1, 2)) + probe.head.bias[TARGETS], probe.score)


def test_element_wise_keeps_positive_weights_as_the_activations_are_positive(probe: Probe) -> None:
    close(element_wise_grad_cam(probe), (weights_of(probe, TARGETS).relu() * probe.activations).sum(dim=1))
    close(element_wise_grad_cam(probe), layer_cam(probe))


def test_a_dead_channel_adds_nothing_to_xgrad() -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias")[2] = -1e3
    probe = Probe(net, pictures(), TARGETS)
    assert not probe.activations[:, 2].any()
    close(xgrad_cam(probe), grad_cam(probe))


def test_they_differ_on_another_head() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "bn2")
    maps = [grad_cam(probe), xgrad_cam(probe), hires_cam(probe, relu=True), element_wise_grad_cam(probe)]
    for a in range(4):
        for b in range(a):
            assert (maps[a] - maps[b]).abs().max() > 0.01 * maps[a].abs().max()


def test_torchcam_agrees_on_xgrad() -> None:
    from torchcam.methods import XGradCAM

    net, images = separate_relus(torch.float32), pictures(dtype=torch.float32)
    with XGradCAM(net, "5") as extractor:
        (theirs,) = extractor(TARGETS.tolist(), net(images), normalized=False)
    close(xgrad_cam(Probe(net, images, TARGETS, "5")), theirs.detach(), 1e-5)


# One class against others


def test_finer_cam_without_gamma_is_grad_cam() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "bn2")
    close(finer_cam(probe, gamma=0.0), grad_cam(probe))


def test_finer_cam_against_one_class_is_grad_cam_of_the_difference() -> None:
    probe = Probe(relu_net(), pictures(), 2, "bn2")
    close(finer_cam(probe, other=1), grad_cam(probe.for_target(Difference(2, 1))))


def test_finer_cam_in_closed_form(probe: Probe) -> None:
    logits = probe.logits.clone()
    logits[torch.arange(2), TARGETS] = -torch.inf
    first, second = logits.sort(dim=1, descending=True).indices[:, :2].unbind(dim=1)
    rivals = (weights_of(probe, first) + weights_of(probe, second)) / 2
    weight = weights_of(probe, TARGETS) - 0.6 * rivals
    close(finer_cam(probe, gamma=0.6, similar=2), (weight * probe.activations).sum(dim=1).relu())


@pytest.mark.parametrize(("gamma", "similar"), [(0.6, 1), (1.5, 3), (1.0, 10)])
def test_finer_cam_equals_its_reference(gamma: float, similar: int) -> None:
    net, images = relu_net(seed=4), pictures()
    ours = finer_cam(Probe(net, images, TARGETS, "bn2"), gamma, similar)
    slow = [
        reference.finer_cam(net.eval(), x, int(c), "bn2", gamma, similar) for x, c in zip(images, TARGETS, strict=True)
    ]
    close(ours, torch.stack(slow))


def test_finer_cam_refuses_a_comparison_with_itself_or_with_nothing(probe: Probe) -> None:
    with pytest.raises(ValueError, match="must differ from the explained class; received 0 for both"):
        finer_cam(probe, other=0)
    with pytest.raises(ValueError, match="there is no class 9"):
        finer_cam(probe, other=9)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)).double()
    with pytest.raises(ValueError, match="requires at least two classes; this model has 1"):
        finer_cam(Probe(net, pictures(), 0))


# The second derivative


def test_shapley_cam_of_the_logit_is_grad_cam_on_a_relu_network() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "bn2")
    close(shapley_cam(probe, "logit"), grad_cam(probe))


def test_shapley_cam_of_the_residual_softmax_in_closed_form(probe: Probe) -> None:
    """U = 2 S_c - ln sum exp S on S = W mean(A) + b: grad U = 2 w_c - sum p w; H A = -(sum p w (w.m - mean))."""
    weight, pooled = probe.head.weight, probe.activations.mean(dim=(2, 3))  # (classes, K), (N, K)
    share = probe.logits.softmax(dim=1)  # (N, classes)
    average = share @ weight  # (N, K)
    first = 2 * weight[TARGETS] - average  # (N, K)
    reach = pooled @ weight.T  # (N, classes)
    second = -((share * reach) @ weight - average * (share * reach).sum(dim=1, keepdim=True))  # (N, K)
    alpha = (first - second / 2) / 144
    close(shapley_cam(probe), (alpha[:, :, None, None] * probe.activations).sum(dim=1).relu())
    assert not torch.allclose(shapley_cam(probe), grad_cam(probe))


@pytest.mark.parametrize("utility", ["rest", "logit"])
def test_shapley_cam_equals_its_reference_on_a_curved_network(utility: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.GELU(), nn.Flatten(), nn.Linear(64, 3)
    ).double()
    with torch.no_grad():
        net.get_parameter("5.weight").mul_(5)
    ours = shapley_cam(Probe(net, pictures(), TARGETS, "1"), utility)  # type: ignore[arg-type]
    slow = [reference.shapley_cam(net, x, int(c), "1", utility) for x, c in zip(pictures(), TARGETS, strict=True)]
    close(ours, torch.stack(slow))
    assert not torch.allclose(ours, grad_cam(Probe(net, pictures(), TARGETS, "1")))


def test_the_second_derivative_passes_attention() -> None:
    """The Hessian times A, by differences of the gradient along A."""
    net = AttentionNet().double()
    probe = Probe(net, pictures(1), 1, "embed")
    gradient, product = second_order(probe, probe.objective)
    close(gradient, probe.gradients)
    leaf = probe.activations

    def slope(share: float) -> Tensor:
        at = (leaf * (1 + share)).requires_grad_()
        (found,) = torch.autograd.grad(net.rest(at)[:, 1].sum(), at)
        return found

    close(product, (slope(1e-5) - slope(-1e-5)) / 2e-5, 1e-6)


def test_shapley_cam_takes_a_target_that_is_no_class_and_refuses_unknown_utilities(probe: Probe) -> None:
    close(shapley_cam(probe.for_target(Difference(2, 1))), grad_cam(probe.for_target(Difference(2, 1))))
    with pytest.raises(ValueError, match="supports rest, logit; received 'probability'"):
        shapley_cam(probe, "probability")  # type: ignore[arg-type]


# Several layers


def test_one_layer_fused_is_its_layer_cam_divided_by_the_maximum() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS, "bn2")
    heatmap = layer_cam(probe)
    close(layer_cam_fusion(probe, layers=["bn2"]), heatmap / heatmap.amax(dim=(1, 2), keepdim=True))


def test_layers_are_those_that_end_a_resolution_up_to_the_probes_own() -> None:
    torch.manual_seed(0)
    net, images = ResidualNet(4, "batch", (8, 8, 8, 8)).double(), pictures(1, 64)
    assert last_of_each_size(Probe(net, images, 1)) == ["stem.1", "stage1", "stage2", "stage4"]
    assert last_of_each_size(Probe(net, images, 1, "stage2.0")) == ["stem.1", "stage1", "stage2.0"]


def test_fusion_takes_the_maximum_and_lifts_the_shallow_layers() -> None:
    torch.manual_seed(0)
    net, images = ResidualNet(4, "none", (8, 8, 8, 8)).double(), pictures(1, 64)
    probe = Probe(net, images, 1)
    names = ["stem", "stage2", "stage4"]
    fused = layer_cam_fusion(probe, 3.0, layers=names)
    parts = []
    for name in names:
        one = layer_cam(Probe(net, images, 1, name))
        part = one / one.max()
        part = torch.tanh(3.0 * part) if name == "stem" else part
        parts.append(F.interpolate(part[:, None], size=(16, 16), mode="bilinear", align_corners=False)[:, 0])
    close(fused, torch.stack(parts).amax(dim=0))
    assert fused.max() <= 1 and fused.min() >= 0
    for part in parts:  # each layer is the highest somewhere
        assert (fused == part).any()


def test_torchcam_fuses_the_unlifted_layers_alike() -> None:
    from torchcam.methods import LayerCAM

    net, images = relu_net(), pictures()
    probe = Probe(net, images, TARGETS, "bn2")
    shares = [layer_cam(one) for one in (Probe(net, images, TARGETS, "bn1"), probe)]
    shares = [share / share.amax(dim=(1, 2), keepdim=True) for share in shares]
    theirs = LayerCAM._fuse_cams(shares, (12, 12))
    close(layer_cam_fusion(probe, layers=["bn1", "bn2"]), theirs)


def test_an_empty_layer_does_not_make_the_fused_map_nan(probe: Probe) -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias").fill_(-1e3)
    assert not layer_cam_fusion(Probe(net, pictures(1), 1)).any()
    with pytest.raises(ValueError, match="at least one layer"):
        layer_cam_fusion(probe, layers=[])
    with pytest.raises(ValueError, match="the model has no layer 'relu9'"):
        layer_cam_fusion(probe, layers=["relu9"])
