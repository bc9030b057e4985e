"""The evidence ledger: its entries add up to the logit, whatever the network and the grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, full_gradients
from normviz.attribution.targets import Difference
from normviz.evaluation.evidence import EvidenceMap, full_evidence, layer_evidence, spread
from normviz.figures.evaluation.evidence import waterfall
from normviz.models.hub import read_folder
from normviz.models.residual import NORMS, Norm, ResidualNet
from tests.support.checkpoints import SIDE, write_checkpoint
from tests.support.nets import ACTIVATIONS, pictures, pooled_net, relu_net


def small(norm: Norm) -> ResidualNet:
    """A residual network with weights, running statistics and affine parameters that are not those of its start."""
    torch.manual_seed(0)
    net = ResidualNet(5, norm, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).double()
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_(0.3, 0.3)
    return net.eval()


def test_on_a_pooled_head_the_cells_and_the_bias_are_the_logit() -> None:
    net, images = pooled_net(), pictures()
    probe = Probe(net, images, torch.tensor([2, 0]))
    for index, target in enumerate((2, 0)):
        seen = layer_evidence(probe, index)
        logit = float(net(images).detach()[index, target])
        features = net.relu(net.conv(images))[index].detach()  # (K, 12, 12)
        evidence = torch.einsum("k,kij->ij", net.fc.weight[target].detach(), features) / 144
        assert torch.allclose(seen.cells, evidence, rtol=0, atol=1e-12)
        assert seen.exact and seen.score == pytest.approx(logit, abs=1e-9)
        assert seen.unplaced == pytest.approx(float(net.fc.bias.detach()[target]), abs=1e-12)
        assert float(seen.cells.sum()) + seen.unplaced == pytest.approx(logit, abs=1e-9)
        assert abs(seen.residual) <= 1e-9
        assert seen.positive + seen.negative == pytest.approx(float(seen.cells.sum()), abs=1e-12)


def test_at_another_layer_the_rest_is_said() -> None:
    probe = Probe(relu_net(), pictures(1), 3, "bn2")
    seen = layer_evidence(probe)
    products = (probe.activations * probe.gradients)[0].sum(dim=0)
    assert torch.allclose(seen.cells, products, rtol=0, atol=1e-12)
    assert not seen.exact and seen.unplaced == 0
    assert seen.residual == pytest.approx(float(probe.logits[0, 3] - products.sum()), abs=1e-12)
    assert abs(seen.residual) > 1e-3


@pytest.mark.parametrize("size", [None, (12, 12), (4, 4), (5, 7), (1, 1), (24, 24)])
@pytest.mark.parametrize("kind", [*ACTIVATIONS, "forgetful"])
def test_pixels_and_biases_are_the_logit(kind: str, size: tuple[int, int] | None) -> None:
    net, images = relu_net(kind), pictures()
    probe = Probe(net, images, torch.tensor([1, 3]))
    for index, target in enumerate((1, 3)):
        seen = full_evidence(probe, index, size)
        assert seen.cells.shape == (size or (12, 12))
        assert float(seen.cells.sum()) + seen.unplaced == pytest.approx(float(probe.logits[index, target]), abs=1e-9)
        assert seen.exact and abs(seen.residual) <= 1e-9


@pytest.mark.parametrize("norm", NORMS)
def test_the_projects_own_networks_with_each_normalization(norm: Norm) -> None:
    images = pictures(1, 32)
    probe = Probe(small(norm), images, 2)
    for seen in (full_evidence(probe), full_evidence(probe, size=(8, 8)), layer_evidence(probe)):
        assert seen.exact and abs(seen.residual) <= 1e-9
        assert seen.total == pytest.approx(float(probe.logits[0, 2]), abs=1e-9)


@pytest.mark.parametrize("way", [layer_evidence, full_evidence])
def test_why_one_and_not_the_other_is_the_difference_of_two_ledgers(way: Callable[[Probe], EvidenceMap]) -> None:
    net, images = small("batch"), pictures(1, 32)
    both = way(Probe(net, images, Difference(2, 4)))
    one, other = way(Probe(net, images, 2)), way(Probe(net, images, 4))
    assert torch.allclose(both.cells, one.cells - other.cells, rtol=0, atol=1e-9)
    assert both.unplaced == pytest.approx(one.unplaced - other.unplaced, abs=1e-9)
    assert both.score == pytest.approx(one.score - other.score, abs=1e-9)
    assert abs(both.residual) <= 1e-9


def test_a_network_of_tokens_has_entries_without_a_place() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Conv2d(3, 6, 4, 4)
            self.mix = nn.Linear(6, 6)
            self.fc = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.cut(x).flatten(2).transpose(1, 2)  # (N, T, 6)
            return self.fc(self.mix(tokens).relu().mean(dim=1))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    probe = Probe(Tokens().double(), pictures(1, 16), 1)
    seen = full_evidence(probe)
    assert abs(seen.residual) <= 1e-9 and seen.unplaced != 0


def by_hand(part: Tensor, name: str) -> Tensor | None:
    """The cells (K, h, w) of a part of a small checkpoint (1, ...), read by its shape; None where it has none."""
    one = part[0]
    if len(part) > 1 or "attention" in name or one.shape[:-1].numel() == 1:
        return None  # windows, heads, a pooled vector, or one number a channel
    if one.ndim == 3:
        return one.permute(2, 0, 1)  # channels last
    rows = int(one.shape[0] ** 0.5)  # 17 tokens: the class token and 4 x 4
    return one[-(rows**2) :].T.reshape(-1, rows, rows) if one.ndim == 2 else None


@pytest.mark.parametrize("family", ["convnextv2", "vit", "swin"])
def test_parts_lie_where_they_were_added_whatever_the_layout(family: str, tmp_path: Path) -> None:
    model = read_folder(write_checkpoint(tmp_path / family, family), family, family).model
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).to(next(model.parameters()))
    together = Probe(model, images, 1)
    for index in range(2):
        probe = Probe(model, images[index : index + 1], 1)
        found, seen = full_gradients(probe), full_evidence(probe, size=(8, 8))
        expected, fixed = spread(found.input[0].double().sum(dim=0), (8, 8)), 0.0
        for name, part in found.biases:
            maps = by_hand(part, name)
            expected += 0 if maps is None else spread(maps.double().sum(dim=0), (8, 8))
            fixed += float(part.sum()) - (0.0 if maps is None else float(maps.sum()))
        close = 1e-5 * float(expected.abs().sum())
        assert torch.allclose(seen.cells, expected, rtol=0, atol=close)
        assert seen.unplaced == pytest.approx(fixed, abs=close) and abs(fixed) > 100 * close
        assert seen.exact and abs(seen.residual) <= close
        assert seen.total == pytest.approx(float(probe.logits[0, 1]), abs=close)
        batched = full_evidence(together, index, size=(8, 8))  # the windows of both pictures lie in one batch
        assert torch.allclose(batched.cells, seen.cells, rtol=0, atol=close)
        assert batched.unplaced == pytest.approx(seen.unplaced, abs=close)


@pytest.mark.parametrize("size", [(3, 5), (6, 4), (13, 7), (1, 1)])
def test_sharing_out_keeps_the_sum_and_the_place(size: tuple[int, int]) -> None:
    cells = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    resized = spread(cells, size)
    assert resized.shape == size and float(resized.sum()) == pytest.approx(float(cells.sum()), abs=1e-12)
    fine = cells.repeat_interleave(size[0], 0).repeat_interleave(size[1], 1) / (size[0] * size[1])
    blocks = fine.reshape(size[0], 6, size[1], 4).sum(dim=(1, 3))
    assert torch.allclose(resized, blocks, rtol=0, atol=1e-12)


def test_a_function_without_a_rule_leaves_a_rest_and_is_not_called_exact() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.cos(self.conv(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    seen = full_evidence(Probe(Odd().double(), pictures(1), 1))
    assert not seen.exact and abs(seen.residual) > 1e-3
    assert seen.total + seen.residual == pytest.approx(seen.score, abs=1e-12)


def test_each_bar_begins_where_the_one_before_it_ends() -> None:
    figure = waterfall([("for", 5.0), ("against", -2.0), ("bias", 0.5)], ("the logit", 3.5))
    bars = figure.data[0]
    assert list(bars.base) == [0.0, 5.0, 3.0, 0.0]
    assert list(bars.x) == [5.0, -2.0, 0.5, 3.5]
    assert list(bars.text) == ["+5", "−2", "+0.5", "+3.5"]
    low, high = figure.layout.xaxis.range
    assert low <= 0 and high >= 5
    with pytest.raises(ValueError, match="the entries add up to 3, not to 4: add an entry for the rest"):
        waterfall([("for", 3.0)], ("the logit", 4.0))
    with pytest.raises(ValueError, match="at least one entry; received none"):
        waterfall([], ("the logit", 0.0))
