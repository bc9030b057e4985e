"""Attribution methods against slow references and closed forms, for all kinds of ReLU and in batches."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import (
    Probe,
    cam,
    deconvnet,
    empty_reason,
    grad_cam,
    grad_cam_pp,
    guided_backprop,
    guided_grad_cam,
    layer_cam,
    saliency,
    score_cam,
)
from normviz.attribution.methods import perturbation
from normviz.registry import get, methods
from tests.reference import attribution as reference
from tests.reference import attribution_reference
from tests.support.nets import ACTIVATIONS, pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
Function = Callable[..., Tensor]
TARGETS = torch.tensor([2, 0])
NAMES = [method.name for method in methods("attribution")]
CONVENTIONS: tuple[perturbation.Convention, ...] = ("logit", "paper", "official")
DRAWN_AT_INPUT = ("deconvnet", "guided_backprop", "guided_grad_cam", "integrated_gradients")


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """Equal within a fraction of the largest value."""
    assert ours.shape == theirs.shape
    off, scale = (ours - theirs).abs().max(), theirs.abs().max()
    assert scale > 0, "an empty map proves nothing"
    assert off <= tolerance * scale, f"off by {off:.3g} of {scale:.3g}"


def net_for(name: str) -> tuple[nn.Module, str]:
    """A network on which the method's reference is defined, and the layer to read."""
    if name in ("cam", "grad_cam", "grad_cam_pp", "layer_cam", "score_cam"):
        return pooled_net(), "relu"
    return relu_net(), "bn2"


@pytest.fixture
def probe() -> Probe:
    """Two images on a conv -> ReLU -> pooling -> linear network."""
    return Probe(pooled_net(), pictures(), TARGETS)


# Against the references


def test_every_method_has_a_reference_of_its_own() -> None:
    assert set(NAMES) >= {
        "saliency", "deconvnet", "guided_backprop", "cam", "grad_cam", "guided_grad_cam", "grad_cam_pp", "layer_cam",
        "score_cam", "xgrad_cam", "hires_cam", "element_wise_grad_cam", "finer_cam", "shapley_cam", "layer_cam_fusion",
        "smooth_grad", "smooth_grad_cam_pp", "full_grad", "integrated_gradients",
    }  # fmt: skip
    for name in NAMES:
        assert attribution_reference(name) is not get(name).function


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_reference(name: str) -> None:
    net, layer = net_for(name)
    images = pictures()
    ours = get(name).function(Probe(net, images, TARGETS, layer))
    slow = attribution_reference(name)
    theirs = torch.stack([slow(net.eval(), x, int(c), layer) for x, c in zip(images, TARGETS, strict=True)])
    close(ours, theirs)


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "score_cam", "guided_grad_cam", "saliency"])
@pytest.mark.parametrize("layer", ["conv1", "bn2", "pool"])
def test_equals_its_reference_at_any_layer(name: str, layer: str) -> None:
    net, images = relu_net(seed=4), pictures(1)
    ours = get(name).function(Probe(net, images, 2, layer))
    theirs = getattr(reference, name)(net.eval(), images[0], 2, layer)
    close(ours[0], theirs)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_score_cam_conventions_equal_their_references(convention: perturbation.Convention) -> None:
    net, images = relu_net(seed=2), pictures()
    ours = score_cam(Probe(net, images, TARGETS, "pool"), convention=convention)
    slow = [
        reference.score_cam(net.eval(), x, int(c), "pool", convention) for x, c in zip(images, TARGETS, strict=True)
    ]
    close(ours, torch.stack(slow))


# Closed forms on conv -> ReLU -> global average pooling -> linear


def test_cam_is_cells_times_grad_cam(probe: Probe) -> None:
    close(cam(probe, relu=True), 12 * 12 * grad_cam(probe))


def test_mean_of_cam_and_bias_are_the_logit(probe: Probe) -> None:
    fc = probe.model.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    logit = probe.logits.gather(1, TARGETS[:, None])[:, 0]
    close(cam(probe).mean(dim=(1, 2)) + fc.bias.detach()[TARGETS], logit)


def test_layer_cam_keeps_positive_weights(probe: Probe) -> None:
    weight = probe.head.weight[TARGETS].relu()[:, :, None, None] / 144
    close(layer_cam(probe), (weight * probe.activations).sum(dim=1))


def test_grad_cam_pp_weights_in_closed_form(probe: Probe) -> None:
    g = probe.head.weight[TARGETS] / 144  # (N, K), the same in each cell
    total = probe.activations.sum(dim=(2, 3))
    weight = 144 * g.relu() / (2 + g * total)
    close(grad_cam_pp(probe), (weight[:, :, None, None] * probe.activations).sum(dim=1).relu())


def test_grad_cam_pp_with_derivatives_of_the_exponential_by_autograd(probe: Probe) -> None:
    """First, second and third derivative of exp(S_c), computed by autograd on the layers after the activations."""
    fc = probe.model.get_submodule("fc")
    for index, target in enumerate(TARGETS.tolist()):
        a = probe.activations[index]
        shift = torch.zeros_like(a, requires_grad=True)
        y = (fc((a + shift).mean(dim=(1, 2)))[target] - probe.logits[index, target]).exp()
        (first,) = torch.autograd.grad(y, shift, create_graph=True)
        cells = torch.zeros(len(a), dtype=torch.float64)
        for k in range(len(a)):
            for i, j in ((0, 0), (5, 7)):
                (second,) = torch.autograd.grad(first[k, i, j], shift, create_graph=True)
                (third,) = torch.autograd.grad(second[k, i, j], shift, retain_graph=True)
                d2, d3 = second[k, i, j], third[k, i, j]
                alpha = d2 / (2 * d2 + a[k].sum() * d3)
                cells[k] = 144 * alpha * first[k, i, j].relu()  # each cell has the same gradient
        close(grad_cam_pp(probe)[index], (cells.detach()[:, None, None] * a).sum(dim=0).relu())


def test_grad_cam_pp_survives_a_negative_denominator() -> None:
    net = relu_net(seed=4)
    heatmap = grad_cam_pp(Probe(net, 30 * pictures(), TARGETS, "bn2"))
    assert torch.isfinite(heatmap).all()


def test_score_cam_baseline_cancels_in_the_paper_convention(probe: Probe) -> None:
    """The reference subtracts the black image's probability, the method does not."""
    ours = score_cam(probe, convention="paper")
    net = probe.model.eval()
    close(ours[1], reference.score_cam(net, probe.images[1], 0, "relu", "paper"))


def test_saliency_of_a_linear_network_is_its_weight() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4)).double()
    weight = net.get_parameter("1.weight").detach()[TARGETS].reshape(2, 3, 4, 4)
    close(saliency(Probe(net, pictures(2, 4), TARGETS)), weight.abs().amax(dim=1))


def test_deconvnet_without_pooling_is_the_same_for_every_image() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    net.double()
    first, second = deconvnet(Probe(net, pictures(2, 8), 1))
    close(first, second)
    first, second = guided_backprop(Probe(net, pictures(2, 8), 1))
    assert not torch.allclose(first, second)


def test_the_three_gradients_agree_where_all_is_positive() -> None:
    net = relu_net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
        for norm in (net.bn1, net.bn2):
            assert norm.running_mean is not None  # BatchNorm2d tracks it
            norm.running_mean.zero_()
    probe = Probe(net, pictures().abs(), TARGETS)
    close(deconvnet(probe), probe.input_gradient)
    close(guided_backprop(probe), probe.input_gradient)


def test_rules_differ_from_the_gradient_in_general() -> None:
    probe = Probe(relu_net(), pictures(), TARGETS)
    maps = [probe.input_gradient, deconvnet(probe), guided_backprop(probe)]
    for a in range(3):
        for b in range(a):
            assert (maps[a] - maps[b]).abs().max() > 0.1 * maps[a].abs().max()


# Every form of ReLU


@pytest.mark.parametrize("kind", [*ACTIVATIONS, "forgetful"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "cam"])  # the network has a hidden linear layer
def test_the_form_of_the_relu_does_not_matter(name: str, kind: str) -> None:
    images = pictures()
    ours = get(name).function(Probe(relu_net(kind), images, TARGETS, "bn2"))
    close(ours, get(name).function(Probe(relu_net("module"), images, TARGETS, "bn2")), 1e-12)


@pytest.mark.parametrize("rule", [deconvnet, guided_backprop])
@pytest.mark.parametrize("six", [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: x.clamp(0, 6)])
def test_relu6_saturates(rule: Function, six: Callable[[Tensor], Tensor]) -> None:
    """In one dimension: y = 2 relu6(3 x), at x = -1, 1 and 3."""

    class Six(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * six(3 * x).flatten(1)

    images = torch.tensor([-1.0, 1.0, 3.0]).reshape(3, 1, 1, 1)
    expected = [0.0, 6.0, 0.0] if rule is guided_backprop else [6.0, 6.0, 6.0]
    assert rule(Probe(Six(), images)).flatten().tolist() == expected


@pytest.mark.parametrize("rule", [deconvnet, guided_backprop])
def test_an_in_place_relu_on_a_part_of_a_tensor(rule: Function) -> None:
    class Halves(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.fc = nn.Linear(6, 3)
            self.inplace = inplace

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            if self.inplace:
                x[:, :3].relu_()
            else:
                x = torch.cat([x[:, :3].relu(), x[:, 3:]], dim=1)
            return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    maps = []
    for inplace in (True, False):
        torch.manual_seed(0)
        maps.append(rule(Probe(Halves(inplace).double(), pictures(), 1)))
    close(maps[0], maps[1], 1e-12)


def test_networks_without_relu_are_told_so() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 100, 3)).double()
    probe = Probe(net, pictures())
    with pytest.raises(ValueError, match=r"requires a network with ReLUs.*it uses GELU"):
        guided_backprop(probe)
    with pytest.raises(ValueError, match=r"none was found.*choose saliency"):
        deconvnet(Probe(nn.Sequential(nn.Flatten(), nn.Linear(432, 3)).double(), pictures()))
    assert saliency(probe).any()


# Batches


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    net, layer = net_for(name)
    images, targets = pictures(3), torch.tensor([1, 3, 1])
    together = get(name).function(Probe(net, images, targets, layer))
    for index in range(3):
        alone = get(name).function(Probe(net, images[index : index + 1], int(targets[index]), layer))
        close(together[index], alone[0])


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_units(name: str) -> None:
    net, layer = net_for(name)
    facts = get(name, "attribution")
    heatmap = facts.function(Probe(net, pictures(2, 16), TARGETS, layer))
    at_layer = (2, 16, 16) if layer == "relu" else (2, 8, 8)
    at_layer = (2, 16, 16) if name == "layer_cam_fusion" else at_layer  # that of its largest layer
    drawn = (2, 3, 16, 16) if name in DRAWN_AT_INPUT else (2, 16, 16)
    assert heatmap.shape == (at_layer if facts.level == "layer" else drawn)
    assert facts.unit and facts.summary.endswith(".")
    assert not heatmap.requires_grad and not heatmap.is_inference()


@pytest.mark.parametrize("name", NAMES)
def test_randomized_weights_change_the_map(name: str) -> None:
    images = pictures()
    net, layer = net_for(name)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_(0, 0.2)
    first, second = (get(name).function(Probe(n, images, TARGETS, layer)) for n in (net, other))
    assert (first - second).abs().max() > 0.05 * first.abs().max()


# Why a map is empty


def test_a_map_with_something_in_it_needs_no_excuse(probe: Probe) -> None:
    for name in NAMES:
        assert empty_reason(get(name).function(probe), probe, name) is None


def test_evidence_against_is_told() -> None:
    net = pooled_net()
    with torch.no_grad():
        net.fc.weight[1] = -1.0
    probe = Probe(net, pictures(1), 1)
    assert "in every cell of layer 'relu' the contributions to 'cat', as weighted by Grad-CAM, sum to 0 or less" in (
        str(empty_reason(grad_cam(probe), probe, "Grad-CAM", "cat"))
    )
    assert "or CAM without its ReLU or HiResCAM, which show" in str(empty_reason(cam(probe, relu=True), probe, "cam"))
    for function in (layer_cam, grad_cam_pp):
        reason = empty_reason(function(probe), probe, function.__name__)
        assert reason and "no activation in layer 'relu' would increase class 1" in reason
    assert empty_reason(guided_grad_cam(probe), probe, "guided_grad_cam") == empty_reason(
        grad_cam(probe), probe, "grad_cam"
    )


def test_dead_layers_and_classes_are_told() -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias").fill_(-1e3)
    probe = Probe(net, pictures(1), 1)
    for function in (cam, grad_cam, layer_cam, score_cam):
        reason = empty_reason(function(probe), probe, function.__name__)
        assert reason and "every activation of layer 'relu' is 0" in reason
    assert "no gradient of class 1 reaches the input" in str(empty_reason(saliency(probe), probe, "saliency"))
    net = pooled_net()
    with torch.no_grad():
        net.fc.weight[1] = 0.0
    probe = Probe(net, pictures(1), 1)
    assert "does not depend on layer 'relu'" in str(empty_reason(grad_cam(probe), probe, "grad_cam"))


# Names


def test_names_as_people_type_them() -> None:
    for typed, name in (
        ("Grad-CAM++", "grad_cam_pp"), ("gradcam++", "grad_cam_pp"), ("GradCAMpp", "grad_cam_pp"),
        ("GradCAM", "grad_cam"),
        ("Guided Backpropagation", "guided_backprop"), ("deconvolution", "deconvnet"), ("Layer-CAM", "layer_cam"),
        ("ScoreCAM", "score_cam"), ("guided grad-cam", "guided_grad_cam"), ("Class Activation Mapping", "cam"),
    ):  # fmt: skip
        assert get(typed, "attribution").name == name
    assert [knob.choices for knob in get("score_cam").knobs] == [CONVENTIONS, ("full", "auto", "bfloat16")]
    assert [knob.name for knob in get("cam").knobs] == ["relu"]
