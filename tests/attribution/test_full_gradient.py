"""FullGrad: the contributions sum to the score, for many kinds of network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, full_grad, full_gradients
from normviz.attribution.targets import Difference
from normviz.models.bottleneck import BottleneckNet, calibrate_batch_norm
from normviz.models.residual import NORMS, Norm, ResidualNet
from tests.attribution.test_attribution import TARGETS, close
from tests.reference import attribution_gradient as reference
from tests.support.comparison import identical
from tests.support.nets import ACTIVATIONS, AttentionNet, pictures, pooled_net, relu_net


def complete(probe: Probe) -> None:
    """The contributions sum to the score, and none of them is superfluous."""
    found = full_gradients(probe)
    close(found.total, probe.score, 1e-12)
    close(found.score, probe.score, 1e-12)
    without = found.input.flatten(1).sum(dim=1)
    assert ((without - found.score).abs() > 1e-3 * found.score.abs()).all()


def shake(net: nn.Module) -> nn.Module:
    """Set all biases, gammas and betas to random values."""
    for parameter in net.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    return net


@pytest.mark.parametrize("kind", [*ACTIVATIONS, "forgetful"])
def test_complete_with_any_form_of_relu(kind: str) -> None:
    complete(Probe(relu_net(kind), pictures(), TARGETS))


@pytest.mark.parametrize("norm", NORMS)
def test_complete_with_any_normalization(norm: Norm) -> None:
    torch.manual_seed(0)
    complete(Probe(shake(ResidualNet(5, norm, (8, 8, 16, 16)).double()), pictures(2, 32), TARGETS))


def test_complete_where_sums_and_relus_are_in_place() -> None:
    torch.manual_seed(0)
    net = calibrate_batch_norm(BottleneckNet(10, 8, (1, 1, 1, 1)), torch.randn(8, 3, 64, 64)).double()
    complete(Probe(shake(net), pictures(1, 64), 3))


def test_complete_in_a_transformer() -> None:
    torch.manual_seed(0)
    complete(Probe(AttentionNet().double(), pictures(), 1))


def test_attention_between_tokens_has_no_place_in_the_map() -> None:
    """Contributions at the tokens of a block have a position; scores of pairs of tokens have none."""
    torch.manual_seed(0)
    probe = Probe(AttentionNet().double(), pictures(), 1)
    found = full_gradients(probe)
    tokens = [part for name, part in found.biases if part.shape == (2, 17, 8) and name]
    assert any(part.ndim == 4 and name == "" for name, part in found.biases) and len(tokens) >= 2
    placed = [found.input, *(part for name, part in found.biases if name == "embed")]
    for name, part in found.biases:
        if name and part.ndim == 3 and part.shape[1] == 17:
            placed.append(part[:, 1:].transpose(1, 2).reshape(2, -1, 4, 4))
    expected = torch.zeros(2, 12, 12, dtype=torch.float64)
    for part in placed:
        layer = part.abs().sum(dim=1, keepdim=True)
        expected += F.interpolate(layer, size=(12, 12), mode="bilinear", align_corners=False)[:, 0]
    close(full_grad(probe, rescale=False), expected)


def test_complete_where_windows_lie_in_the_batch() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3 * 36, 8)
            self.fc = nn.Linear(4 * 8, 4)

        def forward(self, x: Tensor) -> Tensor:
            windows = x.unfold(2, 6, 6).unfold(3, 6, 6).permute(0, 2, 3, 1, 4, 5).reshape(len(x) * 4, -1)
            return self.fc(self.mix(windows).relu().reshape(len(x), -1))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    complete(Probe(Windows().double(), pictures(), TARGETS))


class TurnedNorm(nn.Module):
    """A layer norm of feature maps (N, K, h, w) that computes channels-last internally."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(channels)), nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.scale.shape, self.scale, self.shift).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [5, 10])  # ten channels of 10 x 10 cells: the shape does not tell
def test_each_part_lies_where_it_was_added(channels: int) -> None:
    """Of a norm that turns its maps, a channels-last curve, and a product of two channels-last outputs."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, channels, 3, bias=False)
            self.norm = TurnedNorm(channels)
            self.wide, self.narrow = nn.Linear(channels, 7, bias=False), nn.Linear(7, channels, bias=False)
            self.curve = nn.SiLU()
            self.fc = nn.Linear(channels, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.conv(x)).permute(0, 2, 3, 1)  # (N, 10, 10, K)
            x = x * self.narrow(self.curve(self.wide(x)))
            return self.fc(x.mean(dim=(1, 2)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    probe = Probe(Net().double(), pictures(), TARGETS)
    found = full_gradients(probe)
    assert [name for name, _ in found.biases] == ["norm", "curve", "", "fc"]
    parts = [part for _, part in found.biases]
    turned = [part.permute(0, 3, 1, 2) for part in parts[:2]]
    product = parts[2] if channels == 10 else parts[2].permute(0, 3, 1, 2)  # at the root nothing tells a cube's sides
    assert [grid is None for grid in found.grids] == [False, False, False, True]
    for ours, by_hand in zip(found.placed, [found.input, *turned, product], strict=True):
        assert identical(ours, by_hand)
    close(found.unplaced, parts[3].sum(dim=1))
    expected = torch.zeros(2, 12, 12, dtype=torch.float64)
    for part in [found.input, *turned, product]:
        layer = part.abs().sum(dim=1, keepdim=True)
        expected += F.interpolate(layer, size=(12, 12), mode="bilinear", align_corners=False)[:, 0]
    close(full_grad(probe, rescale=False), expected)


def test_what_has_a_place_and_what_has_none_are_the_score() -> None:
    torch.manual_seed(0)
    found = full_gradients(Probe(AttentionNet().double(), pictures(), 1))
    close(torch.stack([part.sum(dim=(1, 2, 3)) for part in found.placed]).sum(dim=0) + found.unplaced, found.score)
    for (name, part), grid in zip(found.biases, found.grids, strict=True):
        assert (grid is not None) == (name == "embed" or bool(name and part.ndim == 3)), name
    assert found.unplaced.abs().min() > 1e-3


def test_complete_for_a_difference_of_classes() -> None:
    complete(Probe(relu_net(), pictures(), Difference(1, 3)))


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "GELU": nn.GELU(), "SiLU": nn.SiLU(), "SiLU in place": nn.SiLU(inplace=True), "ELU": nn.ELU(), "Tanh": nn.Tanh(),
    "Softplus": nn.Softplus(), "Hardswish": nn.Hardswish(), "ReLU6": nn.ReLU6(), "LeakyReLU": nn.LeakyReLU(),
    "Mish": nn.Mish(), "Sigmoid": nn.Sigmoid(), "LRN": nn.LocalResponseNorm(3), "GroupNorm": nn.GroupNorm(2, 6),
    "Softmax": nn.Softmax(dim=1), "MaxPool": nn.MaxPool2d(2), "AvgPool": nn.AvgPool2d(2),
    "Upsample": nn.Upsample(scale_factor=2), "normalize": lambda x: F.normalize(x, dim=1),
    "add in place": lambda x: x.add_(0.5), "add": lambda x: x + torch.ones(1, 6, 1, 1), "subtract": lambda x: 1 - x,
    "reciprocal": lambda x: 1 / (1 + x.square()), "product": lambda x: x * x.mean(dim=1, keepdim=True),
    "matrix product": lambda x: x.matmul(x.transpose(2, 3)), "clamp": lambda x: x.clamp(-0.1, 0.3),
    "quotient": lambda x: x / (x.var(dim=1, keepdim=True) + 1e-5).sqrt(),
    "concatenation": lambda x: torch.cat([x, torch.ones_like(x)], dim=1)[:, 3:9],
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_complete_with_any_step_between(step: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.fc = nn.Linear(6, 4)
            self.step = step

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.step(self.conv(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    complete(Probe(Net().double(), pictures(), TARGETS))


def test_a_function_without_a_rule_is_not_hidden() -> None:
    class Wave(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cos(x).flatten(1)

    probe = Probe(Wave(), pictures(1), 0)
    x = probe.images[0, 0, 0, 0]
    found = full_gradients(probe)
    assert not found.biases
    torch.testing.assert_close(found.rest[0], x.cos() + x * x.sin())


def test_the_parts_are_those_of_the_paper_by_name() -> None:
    net, images = relu_net(), pictures()
    found = full_gradients(Probe(net, images, TARGETS))
    assert [name for name, _ in found.biases] == ["conv1", "bn1", "conv2", "bn2", "hidden", "fc"]
    for index, target in enumerate(TARGETS.tolist()):
        first, parts = reference.full_gradients(net.eval(), images[index], target)
        close(found.input[index], first)
        for name, part in found.biases:
            close(part[index], parts[name])


def test_on_a_pooled_head_the_last_bias_is_its_own() -> None:
    probe = Probe(pooled_net(), pictures(), TARGETS)
    name, part = full_gradients(probe).biases[-1]
    assert name == "fc" and part.shape == (2, 4)
    close(part.sum(dim=1), probe.head.bias[TARGETS])


def test_without_biases_the_input_has_it_all() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(600, 3, bias=False)).double()
    probe = Probe(net, pictures(), TARGETS)
    found = full_gradients(probe)
    assert not found.biases
    close(found.input.sum(dim=(1, 2, 3)), probe.score)
    close(found.input, probe.images * probe.input_gradient)


def test_the_map_without_rescaling_equals_its_reference() -> None:
    net, images = relu_net(), pictures()
    ours = full_grad(Probe(net, images, TARGETS), rescale=False)
    slow = [
        reference.full_grad(net.eval(), x, int(c), "bn2", rescale=False) for x, c in zip(images, TARGETS, strict=True)
    ]
    close(ours, torch.stack(slow))
