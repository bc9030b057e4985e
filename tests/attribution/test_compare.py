"""Comparison of maps: shared passes, errors in cells, correlations, and the decomposition of a cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from normviz.attribution import Probe, cam, grad_cam, layer_cam
from normviz.attribution.compare import (
    Map,
    across_classes,
    across_layers,
    across_networks,
    at_size,
    compare,
    correlation,
    make_map,
    ranks,
)
from normviz.attribution.diagnosis.terms import channel_maps, channel_weights, has_channel_weights, terms
from normviz.images import resize_map
from normviz.registry import get, methods
from tests.support.nets import pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHED = [method.name for method in methods("attribution") if has_channel_weights(method)]
SHARED = ["saliency", "guided_backprop", "grad_cam", "grad_cam_pp", "layer_cam"]


class Counted(nn.Module):
    """A network that counts its forward passes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.passes = [0]

    def __deepcopy__(self, memo: dict[int, object]) -> Counted:
        import copy

        other = Counted(copy.deepcopy(self.net, memo))
        other.passes = self.passes  # the network and its copies share a counter
        return other

    def forward(self, x: Tensor) -> Tensor:
        self.passes[0] += 1
        return self.net(x)  # type: ignore[no-any-return]


def raw(cell: Map) -> NDArray[np.float32]:
    """The map of a cell without an error."""
    assert cell.raw is not None, cell.refused
    return cell.raw


# Maps


def test_methods_beside_classes_are_the_single_maps() -> None:
    net, images = relu_net(), pictures(1)
    rows = compare([get(name, "attribution") for name in SHARED], across_classes(net, images, [3, 0, 1], "bn2"))
    assert [[cell.method for cell in row] for row in rows] == [[name] * 3 for name in SHARED]
    for row in rows:
        for cell, target in zip(row, (3, 0, 1), strict=True):
            assert (cell.target, cell.layer, cell.refused) == (target, "bn2", "")
            alone = get(cell.method, "attribution").function(Probe(net, images, target, "bn2"))[0]
            assert cell.raw is not None and cell.drawn is not None
            np.testing.assert_allclose(cell.raw, alone.float().numpy(), rtol=1e-5, atol=1e-7)
            drawn = alone if alone.ndim == 2 else alone.sum(dim=0)
            np.testing.assert_allclose(cell.drawn, drawn.float().numpy(), rtol=1e-4, atol=1e-6)


def test_methods_beside_layers_are_the_single_maps() -> None:
    net, images = relu_net(seed=3), pictures(1)
    layers = ["pool", "conv1", "bn2"]
    rows = compare([get(name, "attribution") for name in SHARED], across_layers(net, images, 2, layers))
    for row in rows:
        if get(row[0].method, "attribution").reads_layer:
            assert [cell.layer for cell in row] == layers
        else:
            assert row[0] is row[1] is row[2]  # computed once: the layer has no effect
        for cell, layer in zip(row, layers, strict=True):
            alone = get(cell.method, "attribution").function(Probe(net, images, 2, layer))[0]
            assert cell.raw is not None
            np.testing.assert_allclose(cell.raw, alone.float().numpy(), rtol=1e-5, atol=1e-7)


def test_methods_beside_networks_are_the_single_maps_of_each() -> None:
    nets, images = [relu_net(seed=3), relu_net(seed=4), relu_net(seed=3)], pictures(1)
    rows = compare([get(name, "attribution") for name in SHARED], across_networks(nets, images, 2, "bn2"))
    for row in rows:
        for cell, net in zip(row, nets, strict=True):
            alone = get(cell.method, "attribution").function(Probe(net, images, 2, "bn2"))[0]
            np.testing.assert_allclose(raw(cell), alone.float().numpy(), rtol=1e-5, atol=1e-7)
        first, second, third = map(raw, row)
        assert np.abs(first - second).max() > 1e-3 * np.abs(first).max()  # also where no layer is read
        np.testing.assert_allclose(first, third, rtol=1e-6, atol=1e-9)  # equal networks, equal maps


def test_all_gradient_maps_of_all_classes_and_layers_come_from_one_forward_pass() -> None:
    layer_methods = [get(name, "attribution") for name in ("grad_cam", "grad_cam_pp", "layer_cam")]
    for number in (1, 4):
        net = Counted(relu_net())
        columns = across_classes(net, pictures(1), list(range(number)), "net.bn2")
        compare(layer_methods, columns)
        by_class = net.passes[0]
        net = Counted(relu_net())
        compare(layer_methods, across_layers(net, pictures(1), 0, ["net.conv1", "net.bn2", "net.pool"][:number]))
        assert (by_class, net.passes[0]) == (2, 2)  # the scan of the layers, and the pass


def test_a_refusal_is_a_sentence_in_its_cell() -> None:
    net, images = relu_net(), pictures(1)
    rows = compare(
        [get("cam", "attribution"), get("grad_cam", "attribution")], across_layers(net, images, 1, ["conv1", "bn2"])
    )
    assert all(cell.raw is None and "global average pooling" in cell.refused for cell in rows[0])
    assert all(cell.drawn is None for cell in rows[0])
    assert all(cell.raw is not None and not cell.refused for cell in rows[1])
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    refused = make_map(get("guided_backprop", "attribution"), Probe(smooth.double(), images, 0, "1"))
    assert refused.raw is None and "ReLU" in refused.refused


def test_a_slow_method_says_how_far_it_is_and_how_it_was_computed() -> None:
    assert get("score_cam", "attribution").slow and not get("grad_cam", "attribution").slow
    columns = across_classes(pooled_net(torch.float32), pictures(1, dtype=torch.float32), [0, 1], "relu")
    shares: list[float] = []
    rows = compare([get("score_cam", "attribution"), get("cam", "attribution")], columns, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 4
    assert all("float32" in cell.note for cell in rows[0])


def test_a_visitor_who_goes_away_stops_it() -> None:
    class Gone(BaseException):
        pass

    def stop(share: float) -> None:
        raise Gone

    with pytest.raises(Gone):
        compare([get("score_cam", "attribution")], across_classes(pooled_net(), pictures(1), [0], "relu"), stop)


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        across_classes(relu_net(), pictures(1), [], "bn2")
    with pytest.raises(ValueError, match="at least one layer"):
        across_layers(relu_net(), pictures(1), 0, [])
    with pytest.raises(ValueError, match="at least one network"):
        across_networks([], pictures(1), 0, "bn2")
    with pytest.raises(ValueError, match="no class 9"):
        across_classes(relu_net(), pictures(1), [0, 9], "bn2")


# Correlation


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(9, 7)), rng.integers(0, 4, size=(9, 7)).astype(float), rng.normal(size=(9, 7)) ** 3]
    flat = np.stack([values.ravel() for values in maps])
    pearson, spearman = correlation(maps, (9, 7)), correlation(maps, (9, 7), "spearman")
    np.testing.assert_allclose(pearson, np.corrcoef(flat), atol=1e-12)
    np.testing.assert_allclose(spearman, stats.spearmanr(flat.T).statistic, atol=1e-12)
    assert np.abs(pearson - spearman).max() > 1e-2


def test_equal_values_share_their_mean_rank() -> None:
    values = np.array([3.0, 1.0, 3.0, 0.0, 3.0, 1.0])
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))


def test_maps_of_different_sizes_are_enlarged_first() -> None:
    rng = np.random.default_rng(1)
    small, large = rng.normal(size=(4, 5)), rng.normal(size=(12, 10))
    enlarged = resize_map(torch.tensor(small), (12, 10)).numpy()
    np.testing.assert_allclose(at_size(small, (12, 10)), enlarged, atol=1e-6)
    expected = np.corrcoef(enlarged.ravel(), large.ravel())[0, 1]
    assert correlation([small, large], (12, 10))[0, 1] == pytest.approx(expected, abs=1e-6)


def test_constant_and_missing_maps_correlate_with_nothing() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(5, 5))
    for kind in ("pearson", "spearman"):
        table = correlation([values, None, np.full((3, 3), 0.1), -2 * values], (8, 8), kind)
        assert np.isnan(table[[1, 2]]).all() and np.isnan(table[:, [1, 2]]).all()
        assert table[0, 0] == 1 and table[0, 3] == pytest.approx(-1)


def test_bad_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="finite matrix"):
        correlation([np.full((3, 3), np.nan)], (3, 3))
    with pytest.raises(ValueError, match="pearson or spearman"):
        correlation([np.eye(3)], (3, 3), "kendall")  # type: ignore[arg-type]


# A cell taken apart


@pytest.mark.parametrize("name", WEIGHED)
def test_all_channels_add_up_to_the_cell(name: str) -> None:
    images = pictures(2)
    net = pooled_net() if name == "cam" else relu_net()
    probe = Probe(net, images, torch.tensor([2, 0]), "relu" if name == "cam" else "bn2")
    method = get(name, "attribution")
    raw = method.function(probe)  # (N, h, w)
    for index, row, column in ((0, 0, 0), (1, 2, 3), (1, 5, 1)):
        apart = terms(method, probe, row, column, count=3, index=index)
        shown = float(raw[index, row, column])
        assert shown == pytest.approx(apart.total, rel=1e-9) or (shown == 0 and apart.total < 0)
        assert apart.channels == probe.activations.shape[1] and len(apart.terms) == 3
        assert sum(term.product for term in apart.terms) + apart.others == pytest.approx(apart.total, rel=1e-12)
        every = terms(method, probe, row, column, count=99, index=index)
        assert len(every.terms) == every.channels and every.others == pytest.approx(0, abs=1e-12)
        assert apart.terms == every.terms[:3]
        products = [abs(term.product) for term in every.terms]
        assert products == sorted(products, reverse=True)
        for term in every.terms:
            assert term.product == pytest.approx(term.weight * term.activation)
            assert term.activation == float(probe.activations[index, term.channel, row, column])
            assert term.gradient == float(probe.gradients[index, term.channel, row, column])


def test_the_weights_of_a_term_are_the_methods() -> None:
    probe = Probe(pooled_net(), pictures(1), 2, "relu")
    for name, function in (("cam", cam), ("grad_cam", grad_cam), ("layer_cam", layer_cam)):
        weights = channel_weights(get(name, "attribution"), probe)
        summed = (weights * probe.activations).sum(dim=1)
        torch.testing.assert_close(summed if name == "cam" else summed.relu(), function(probe))


def test_the_formula_holds_the_numbers() -> None:
    probe = Probe(pooled_net(), pictures(1), 2, "relu")
    apart = terms(get("cam", "attribution"), probe, 4, 7, count=2)
    text = apart.formula()
    assert text.count(r"\underbrace") == 3 and "4\\text{ others}" in text
    assert "row 4, column 7" in text and f"{apart.total:.3g}" in text
    assert "others" not in terms(get("cam", "attribution"), probe, 4, 7, count=6).formula()


def test_a_cell_without_terms_is_said() -> None:
    probe = Probe(relu_net(), pictures(1), 2, "bn2")
    for name, sentence in (("saliency", "computed at the input"), ("score_cam", "does not assign a weight")):
        with pytest.raises(ValueError, match=sentence):
            terms(get(name, "attribution"), probe, 0, 0)
        with pytest.raises(ValueError, match=sentence):
            channel_weights(get(name, "attribution"), probe)
    for row, column in ((-1, 0), (0, 6), (6, 0)):
        with pytest.raises(ValueError, match="row from 0 to 5"):
            terms(get("grad_cam", "attribution"), probe, row, column)
    with pytest.raises(ValueError, match="count must be at least 1"):
        terms(get("grad_cam", "attribution"), probe, 0, 0, count=0)


def test_a_network_without_gradients_still_has_terms_of_cam() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = pooled_net()

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return self.net(x)  # type: ignore[no-any-return]

    apart = terms(get("cam", "attribution"), Probe(Frozen(), pictures(1), 1, "net.relu"), 3, 3)
    assert all(term.gradient is None for term in apart.terms)


def test_channel_maps_are_the_activations() -> None:
    probe = Probe(relu_net(), pictures(2), 2, "bn2")
    torch.testing.assert_close(channel_maps(probe, [5, 0], index=1), probe.activations[1, [5, 0]])
