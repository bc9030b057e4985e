"""Layer recommendation: every number against its definition, and the recommended layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, cam, grad_cam, layers
from normviz.attribution.diagnosis.layer_advisor import LayerReport, recommend, survey
from tests.support.nets import PooledNet, pictures, pooled_net, relu_net


def test_every_layer_is_reported_once_with_its_own_numbers() -> None:
    net, images = relu_net(), pictures(1, 16)
    reports = survey(net, images, 3)
    assert [report.name for report in reports] == ["conv1", "bn1", "pool", "conv2", "bn2", "activation"]
    for report in reports:
        probe = Probe(net, images, 3, report.name)
        products = probe.activations * probe.gradients
        assert report.shape == tuple(probe.activations.shape[1:])
        assert report.cell == (16 / report.shape[1], 16 / report.shape[2])
        assert report.positive == pytest.approx(float(products.clamp(min=0).sum() / products.abs().sum()), abs=1e-9)
        blank = not grad_cam(probe).any()
        assert (report.trouble is not None) == blank
    for report in (r for r in reports if r.trouble is None):
        heatmap = grad_cam(Probe(net, images, 3, report.name))[0]
        cells = sorted(heatmap.flatten().tolist(), reverse=True)
        needed = next(n for n in range(1, len(cells) + 1) if sum(cells[:n]) >= sum(cells) / 2 - 1e-12)
        assert report.focus == pytest.approx(needed / len(cells))
    assert next(r for r in reversed(reports) if r.trouble is None).agreement == pytest.approx(1.0)


def test_agreement_is_the_correlation_of_the_maps_on_the_coarser_grid() -> None:
    net, images = relu_net(seed=3), pictures(1, 16, seed=2)
    reports = survey(net, images, 1, ["bn1", "bn2"])
    assert [r.name for r in reports] == ["bn1", "bn2"] and all(r.trouble is None for r in reports)
    fine, coarse = (grad_cam(Probe(net, images, 1, name))[0] for name in ("bn1", "bn2"))
    pooled = fine.reshape(8, 2, 8, 2).mean(dim=(1, 3))
    both = torch.stack([pooled.flatten(), coarse.flatten()])
    assert reports[0].agreement == pytest.approx(float(torch.corrcoef(both)[0, 1]), abs=1e-9)


def test_of_the_same_maps_the_shortest_name_stays() -> None:
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Identity(), nn.ReLU()))
    net = nn.Sequential(stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double()
    assert [name for name, _ in layers(net, pictures(1))] == ["0.0", "0.1.0", "0.1.1", "0.1", "0", "1"]
    assert [report.name for report in survey(net, pictures(1), 0)] == ["0.0", "0"]


def test_it_is_one_pass_forward_and_one_back(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    plain = PooledNet.forward

    def counted(self: PooledNet, x: Tensor) -> Tensor:
        runs.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(PooledNet, "forward", counted)
    net, images = pooled_net(), pictures(1)
    layers(net, images)
    runs.clear()
    survey(net, images, 1)
    assert len(runs) <= 2  # one for the graph; a fresh copy is scanned once


def test_a_method_that_refuses_a_layer_is_told() -> None:
    reports = survey(pooled_net(), pictures(1), 2, method=cam)
    troubles = {report.name: report.trouble for report in reports}
    assert troubles["relu"] is None and "CAM requires a network" in str(troubles["conv"])
    assert recommend(reports)[0] == "relu"


def test_dead_and_flat_layers_are_told_and_not_recommended() -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias").fill_(-1e3)
    reports = survey(net, pictures(1), 1)
    assert {r.name: r.trouble for r in reports}["relu"] == "blank: no positive evidence here"
    assert (reports[-1].positive, reports[-1].focus, reports[-1].agreement) == (0.0, 0.0, 0.0)
    best, words = recommend(reports)
    assert best is None and "choose another class" in words


def report(name: str, cells: int, agreement: float = 1.0, trouble: str | None = None) -> LayerReport:
    return LayerReport(name, (8, cells, cells), (64 / cells, 64 / cells), 0.5, 0.1, agreement, trouble)


def test_the_deepest_layer_with_enough_cells_is_recommended_and_a_finer_one_that_agrees() -> None:
    deep = (report("c", 8), report("d", 8, trouble="blank"), report("e", 2))
    reports = (report("a", 32, 0.2), report("b", 16, 0.8), *deep)
    best, words = recommend(reports)
    assert best == "c" and "Choose c" in words and "8 × 8" in words and "each 8 pixels high" in words
    assert "For more detail choose b" in words and "correlation 0.80" in words
    best, words = recommend((report("a", 4), report("b", 2)))
    assert best == "a" and "so the map is coarse" in words


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"requires one image, \(1, C, H, W\); received \(2, 3, 12, 12\)"):
        survey(pooled_net(), pictures(2))
    with pytest.raises(ValueError, match="no layer of this model has feature maps"):
        survey(nn.Sequential(nn.Flatten(), nn.Linear(432, 3)).double(), pictures(1))
