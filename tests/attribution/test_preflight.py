"""Explanations of blank maps: networks that trigger each cause, and the sentence with cause and remedy."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe
from normviz.attribution.diagnosis.preflight import empty_reason, obstacle
from normviz.attribution.targets import Difference
from normviz.registry import Attribution, Need, get, methods
from tests.support.nets import PooledNet, pictures, pooled_net, relu_net

METHODS = methods("attribution")
AT_LAYER = [method for method in METHODS if method.level == "layer"]
WEIGHED = [method for method in AT_LAYER if method.weights is not None]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
at_layer = pytest.mark.parametrize("method", AT_LAYER, ids=lambda method: method.name)
FEW = 6  # samples, steps and masks of methods that take many


def few(method: Attribution) -> dict[str, int]:
    """Options that limit slow methods to a few evaluations."""
    whole = [knob for knob in method.knobs if knob.type is int and knob.range and knob.default > 2 * FEW]  # type: ignore[operator]
    return {knob.name: max(FEW, int(knob.range.low)) for knob in whole if knob.range}


def blank(probe: Probe, method: Attribution, name: str | None = "cat") -> tuple[Tensor, str | None]:
    """A map, and the explanation if it is blank."""
    heatmap = method.function(probe, **few(method))
    return heatmap, empty_reason(heatmap, probe, method.name, name)


def dead() -> PooledNet:
    """A network with a ReLU that is never active."""
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias").fill_(-1e3)
    return net


def flat() -> PooledNet:
    """A network with constant channels."""
    net = pooled_net()
    with torch.no_grad():
        net.conv.weight.zero_()
        net.get_parameter("conv.bias").fill_(0.5)
        net.fc.weight.abs_()
    return net


def weighing(value: float) -> PooledNet:
    """A network in which class 1 has the same weight for each channel."""
    net = pooled_net()
    with torch.no_grad():
        net.fc.weight[1] = value
    return net


def cured(reason: str | None) -> str:
    """The sentence, checked to contain a cause and a remedy."""
    assert reason is not None
    cause, _, _ = reason.partition(": ")
    assert cause and any(word in reason for word in ("choose", "explain", "look", "compute", "try", "let")), reason
    assert not reason.endswith(".")
    return reason


@each_method
def test_the_facts_name_methods_and_needs(method: Attribution) -> None:
    assert all(get(name, "attribution").kind == "attribution" for name in method.factors)
    assert set(method.needs) <= set(get_args(Need))
    assert method.reads_layer or method.level == "input"


@each_method
def test_a_map_that_shows_something_needs_no_excuse(method: Attribution) -> None:
    probe = Probe(pooled_net(), pictures(1), 2)
    assert obstacle(probe, method.name) is None
    heatmap, reason = blank(probe, method)
    assert heatmap.any() and reason is None


@at_layer
def test_a_dead_layer(method: Attribution) -> None:
    probe = Probe(dead(), pictures(1), 1, "relu")
    before = cured(obstacle(probe, method.name))
    heatmap, reason = blank(probe, method)
    assert not heatmap.any()
    assert cured(reason) == before == "every activation of layer 'relu' is 0 for this image: choose an earlier layer"


@each_method
def test_nothing_arrives_at_the_input(method: Attribution) -> None:
    heatmap, reason = blank(Probe(dead(), pictures(1), 1, "relu"), method)
    if method.level == "input" and not method.factors and not heatmap.any():
        assert "no gradient of 'cat' reaches the input" in cured(reason)
    else:
        assert heatmap.any() or cured(reason)


@at_layer
def test_constant_channels(method: Attribution) -> None:
    heatmap, reason = blank(Probe(flat(), pictures(1), 1, "relu"), method)
    assert heatmap.amax() - heatmap.amin() <= 1e-9
    assert "channel of layer 'relu' is constant" in cured(reason)


@pytest.mark.parametrize("method", WEIGHED, ids=lambda method: method.name)
def test_a_class_of_which_everything_speaks_against(method: Attribution) -> None:
    probe = Probe(weighing(-1.0), pictures(1), 1)
    heatmap, reason = blank(probe, method)
    if heatmap.any():
        assert reason is None  # signed, or without regard to the class
    else:
        causes = (
            "in every cell of layer 'relu' the contributions to 'cat', as",
            "no activation in layer 'relu' would increase 'cat'",
        )
        assert any(cause in cured(reason) for cause in causes)


def test_evidence_against_is_named_where_a_relu_hides_it() -> None:
    probe = Probe(weighing(-1.0), pictures(1), 1)
    assert cured(blank(probe, get("grad_cam", "attribution"))[1]) == (
        "in every cell of layer 'relu' the contributions to 'cat', as weighted by Grad-CAM, sum to 0 or less: "
        "choose another class or layer, or CAM or HiResCAM, which show signed evidence"
    )
    assert "no activation in layer 'relu' would increase 'cat'" in cured(
        blank(probe, get("layer_cam", "attribution"))[1]
    )
    assert "class 1" in str(blank(probe, get("grad_cam", "attribution"), name=None)[1])
    hires = get("hires_cam", "attribution")
    reason = cured(empty_reason(hires.function(probe, relu=True), probe, "hires_cam", "cat"))
    assert reason.endswith("or HiResCAM without its ReLU or CAM, which show signed evidence")


def test_the_cures_that_are_named_show_something() -> None:
    """At an inner layer, products of both signs sum to less than 0 in each cell, and CAM is not applicable."""
    probe = Probe(relu_net(seed=3), pictures(1), 0, "pool")
    heatmap, reason = blank(probe, get("grad_cam", "attribution"))
    products = probe.activations * probe.gradients
    assert not heatmap.any() and (products > 0).any() and (products < 0).any()
    assert "in every cell of layer" in cured(reason) and "every contribution" not in str(reason)
    assert str(reason).endswith("choose another class or layer, or HiResCAM, which shows signed evidence")
    shown = get("hires_cam", "attribution").function(probe)
    assert (shown < 0).any() and empty_reason(shown, probe, "hires_cam", "cat") is None
    with pytest.raises(ValueError, match="CAM requires a network of convolutions"):
        get("cam", "attribution").function(probe)
    net = weighing(-1.0)
    with torch.no_grad():
        net.fc.weight[0] = 1.0
    difference = Probe(net, pictures(1), Difference(1, 0))  # two classes: CAM refuses them
    reason = blank(difference, get("grad_cam", "attribution"), name=None)[1]
    assert str(reason).endswith("choose another class or layer, or HiResCAM, which shows signed evidence")
    pooled = Probe(weighing(-1.0), pictures(1), 1)
    assert "CAM or HiResCAM" in str(blank(pooled, get("grad_cam", "attribution"))[1])
    for name in ("hires_cam", "cam"):
        assert (get(name, "attribution").function(pooled) < 0).any()


@pytest.mark.parametrize("method", WEIGHED, ids=lambda method: method.name)
def test_a_class_that_does_not_react(method: Attribution) -> None:
    heatmap, reason = blank(Probe(weighing(0.0), pictures(1), 1), method)
    assert heatmap.any() or "the logit of 'cat' does not depend on layer 'relu'" in cured(reason)


class Wild(nn.Module):
    """A network with an infinite activation and finite logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.burst = nn.Softplus()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.burst(self.conv(x) / (x[:, :1, 1:-1, 1:-1] * 0 + torch.tensor([1e-320] + [1.0] * 9).to(x)))
        return self.fc(torch.tanh(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "score_cam"])
def test_infinite_activations(name: str) -> None:
    torch.manual_seed(0)
    probe = Probe(Wild().double(), pictures(1), 1, "burst")
    assert not probe.activations.isfinite().all() and probe.logits.isfinite().all()
    assert "the activations of layer 'burst' contain NaN or infinity" in cured(obstacle(probe, name))
    if name != "score_cam":
        assert "the activations of layer 'burst' contain NaN or infinity" in cured(
            blank(probe, get(name, "attribution"))[1]
        )


def test_a_map_that_overflows_on_the_way_is_told() -> None:
    probe = Probe(pooled_net(), pictures(1), 1)
    reason = empty_reason(torch.full((1, 12, 12), torch.nan), probe, "grad_cam")
    assert "Grad-CAM returned NaN or infinity" in cured(reason)


@pytest.mark.parametrize("name", ["deconvnet", "guided_backprop", "guided_grad_cam"])
def test_a_network_without_relus(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 100, 3)).double()
    assert "requires a network with ReLUs" in cured(obstacle(Probe(net, pictures(1), 1), name))
    assert obstacle(Probe(net, pictures(1), 1), "saliency") is None


def test_a_network_without_a_pooled_head() -> None:
    assert "CAM requires a network of convolutions" in cured(obstacle(Probe(relu_net(), pictures(1), 1), "cam"))
    assert obstacle(Probe(relu_net(), pictures(1), 1), "grad_cam") is None


@at_layer
def test_a_layer_of_a_single_cell(method: Attribution) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1), nn.Flatten()
    ).double()
    if method.needs:
        return
    probe = Probe(net, pictures(1), 1, "2")
    assert "a single cell" in cured(obstacle(probe, method.name))


def test_guided_grad_cam_is_blank_for_the_reason_of_its_factors() -> None:
    guided = get("guided_grad_cam", "attribution")
    probe = Probe(weighing(-1.0), pictures(1), 1)
    assert "guided_backprop" in guided.factors and guided.reads_layer
    factors = [blank(probe, get(name, "attribution"))[1] for name in guided.factors]
    assert blank(probe, guided)[1] in factors
    away = empty_reason(torch.zeros(1, 3, 12, 12), Probe(pooled_net(), pictures(1), 1), "guided_grad_cam")
    assert "Grad-CAM and Guided backpropagation do not overlap anywhere" in cured(away)


def certain(output: Tensor) -> Tensor:
    """A saturated probability."""
    return (1e5 * output).softmax(dim=1).amax(dim=1)


def test_a_target_that_is_saturated() -> None:
    probe = Probe(pooled_net(), pictures(1), certain)
    for name in ("grad_cam", "saliency"):
        heatmap, reason = blank(probe, get(name, "attribution"), name=None)
        assert not heatmap.any() and "saturated probability" in cured(reason)


def test_a_class_that_is_certain_already() -> None:
    """Methods based on probabilities see no change, although the logit changes."""
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("fc.bias")[1] = 200.0
    probe = Probe(net, pictures(1), 1)
    watched = [m for m in METHODS if m.slow and m.level == "input" and any("probability" in k.choices for k in m.knobs)]
    for method in watched:
        knob = next(knob.name for knob in method.knobs if "probability" in knob.choices)
        heatmap = method.function(probe, **(few(method) | {knob: "probability"}))
        if not heatmap.any():
            reason = empty_reason(heatmap, probe, method.name, "cat")
            assert "so close to 1 (1.00000)" in cured(reason)


def test_the_rule_that_stops_everything() -> None:
    probe = Probe(weighing(-1.0), pictures(1), 1)
    heatmap, reason = blank(probe, get("deconvnet", "attribution"))
    assert not heatmap.any() and "the rule of Deconvnet blocks the whole gradient of 'cat'" in cured(reason)


def test_the_image_of_a_batch_that_is_blank() -> None:
    probe = Probe(weighing(-1.0), pictures(2), torch.tensor([0, 1]))
    heatmap = get("grad_cam", "attribution").function(probe)
    assert empty_reason(heatmap, probe, "grad_cam", index=0) is None
    assert "class 1" in cured(empty_reason(heatmap, probe, "grad_cam", index=1))
