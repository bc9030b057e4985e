"""The sanity check: weights of its own, what is made random and in which order, and what the similarities say."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage import metrics
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, guided_backprop, saliency, score_cam
from normviz.evaluation.baselines import sobel_map
from normviz.evaluation.pixels import at_pixels
from normviz.evaluation.sanity_check import FEWEST, groups, randomized, sanity_check, similarity, spearman
from normviz.models.residual import ResidualNet
from tests.support.comparison import identical
from tests.support.nets import pictures, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (12, 12)


def _edges(probe: Probe) -> Tensor:
    """A method that never asks the network."""
    return torch.stack([sobel_map(image) for image in probe.images])  # (N, H, W)


def _gradient(probe: Probe) -> Tensor:
    return probe.input_gradient  # (N, C, H, W)


# --- what is made random ------------------------------------------------------------------------------------------


def test_groups_run_from_the_output_to_the_input_and_hold_every_weight() -> None:
    net = relu_net()
    found = groups(net, pictures())
    assert list(found) == ["fc", "hidden", "bn2", "conv2", "bn1", "conv1"]
    residual = ResidualNet(3, widths=(4, 4, 8, 8), blocks=(1, 1, 1, 1))
    parts = groups(residual, torch.randn(1, 3, 32, 32))
    assert len(parts) >= FEWEST and next(iter(parts)) == "fc"
    with_weights = {name.rpartition(".")[0] for name, _ in residual.named_parameters()}
    assert {name for modules in parts.values() for name in modules} == with_weights
    with pytest.raises(ValueError, match="no weights"):
        groups(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), pictures())


def test_weights_are_drawn_like_the_trained_ones_on_a_copy_that_shares_nothing() -> None:
    net = relu_net()
    before = copy.deepcopy(net.state_dict())
    own = randomized(net, ["conv2", "bn1"], seed=3)
    theirs, mine = dict(net.named_parameters()), dict(own.named_parameters())
    buffers, own_buffers = dict(net.named_buffers()), dict(own.named_buffers())
    for name, tensor in theirs.items():
        assert mine[name].data_ptr() != tensor.data_ptr()
        assert identical(mine[name], tensor) == (name.split(".")[0] not in ("conv2", "bn1")), name
    assert all(own_buffers[name].data_ptr() != tensor.data_ptr() for name, tensor in buffers.items())
    assert all(identical(own_buffers[name], tensor) for name, tensor in buffers.items())
    weight, trained = mine["conv2.weight"], theirs["conv2.weight"].detach()
    error = 4 * float(trained.std()) / math.sqrt(trained.numel())
    assert float(weight.mean()) == pytest.approx(float(trained.mean()), abs=error)
    assert float(weight.std()) == pytest.approx(float(trained.std()), rel=0.15)
    assert all(identical(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_a_seed_gives_the_same_weights_whatever_else_is_random() -> None:
    net = relu_net()
    one, other = randomized(net, ["conv2"], 1), randomized(net, ["fc", "conv2"], 1)
    assert identical(one.get_parameter("conv2.weight"), other.get_parameter("conv2.weight"))
    third = randomized(net, ["conv2"], 2)
    assert not identical(one.get_parameter("conv2.weight"), third.get_parameter("conv2.weight"))


# --- the check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("independent", [False, True])
def test_an_edge_detector_passes_unchanged_and_a_gradient_changes(independent: bool) -> None:
    probe = Probe(relu_net(), pictures(), 1)
    found = sanity_check(probe, {"edges": _edges, "gradient": _gradient}, independent=independent)
    for stage in found["edges"]:
        assert (stage.ssim, stage.rank, stage.absolute_rank) == (1, 1, 1)
    stages = found["gradient"]
    assert [stage.layers for stage in stages] == ["", "fc", "hidden", "bn2", "conv2", "bn1", "conv1"]
    assert (stages[0].ssim, stages[0].rank) == (1, 1)
    assert abs(stages[-1].rank) < 0.5 and stages[-1].ssim < 0.7


def test_the_cascade_ends_in_a_random_network_and_one_at_a_time_does_not() -> None:
    net = relu_net()
    probe = Probe(net, pictures(), 2, "conv2")
    cascade, single = (
        sanity_check(probe, {"it": grad_cam}, independent=alone, seed=4, index=1)["it"] for alone in (False, True)
    )
    for stages, modules in ((cascade, ["fc", "hidden", "bn2", "conv2", "bn1", "conv1"]), (single, ["conv1"])):
        expected = grad_cam(Probe(randomized(net, modules, 4), pictures()[1:], 2, "conv2"))[0]
        torch.testing.assert_close(stages[-1].heatmap, expected)
    torch.testing.assert_close(cascade[0].heatmap, grad_cam(probe)[1])
    torch.testing.assert_close(cascade[1].heatmap, single[1].heatmap)  # the first is the same


def test_the_network_that_is_asked_about_stays_as_it_was() -> None:
    net, shares = relu_net(), list[float]()
    before = copy.deepcopy(net.state_dict())
    probe = Probe(net, pictures(), 1, "conv2")
    sanity_check(probe, {"it": guided_backprop}, progress=shares.append)
    assert net.training and all(identical(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert shares == sorted(shares) and shares[-1] == 1

    class StopError(Exception):
        pass

    def stop(share: float) -> None:
        raise StopError

    with pytest.raises(StopError):
        sanity_check(probe, {"it": saliency}, progress=stop)


class StoppedError(Exception):
    pass


def test_a_slow_method_moves_the_bar_within_a_stage_and_can_be_stopped_there() -> None:
    """One that tells how far it is, between two that do not; there are six groups, so seven networks."""
    net, asked, shares = relu_net(), list[Probe](), list[float]()
    steps = 5

    def slow(probe: Probe, scale: float, *, progress: Callable[[float], None] | None = None) -> Tensor:
        asked.append(probe)
        for step in range(steps):
            if progress:
                progress((step + 1) / steps)
        return scale * probe.input_gradient  # (N, C, H, W)

    twice, once = partial(slow, scale=2.0), partial(slow, scale=1.0)
    functions: dict[str, Callable[..., Tensor]] = {"edges": _edges, "slow": twice, "other": once, "fast": saliency}
    found = sanity_check(Probe(net, pictures(), 1), functions, progress=shares.append)
    assert len(found["slow"]) == 7 and len(asked) == 2 * 7
    assert shares == sorted(shares) and shares[-1] == 1 and len(set(shares)) == 2 * 7 * steps
    assert shares[0] == pytest.approx(1 / (7 * 2 * steps))

    def stop(share: float) -> None:
        shares.append(share)
        if share > 0.2:
            raise StoppedError

    shares.clear()
    asked.clear()
    with pytest.raises(StoppedError):
        sanity_check(Probe(net, pictures(), 1), functions, progress=stop)
    assert len(asked) == 3  # within the first of two slow methods on the second network
    assert 0.2 < shares[-1] < 2 / 7 and shares[-2] <= 0.2


def test_a_registered_slow_method_is_stopped_within_the_first_network() -> None:
    shares = list[float]()

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        sanity_check(Probe(relu_net(), pictures(), 1, "conv2"), {"it": partial(score_cam, chunk=2)}, progress=stop)
    assert len(shares) == 2 and 0 < shares[0] < shares[1] < 1 / 7


# --- how alike two maps are ---------------------------------------------------------------------------------------


def test_ranks_are_correlated_as_by_scipy() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(9, 9)).round(1), generator.normal(size=(9, 9)).round(1)  # with ties
    expected: Any = spearmanr(one.ravel(), other.ravel())
    assert spearman(one, other) == pytest.approx(float(expected.statistic), abs=1e-12)
    assert spearman(one, np.exp(one)) == pytest.approx(1) and spearman(one, -one) == pytest.approx(-1)
    assert spearman(one, np.zeros((9, 9))) == 0


def test_similarity_is_that_of_scaled_maps_at_the_pixels() -> None:
    one, other = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    big, small = (at_pixels(heatmap, SIZE).numpy() for heatmap in (one, other))
    compare: Any = metrics.structural_similarity
    expected = compare(big / abs(big).max(), small / abs(small).max(), win_size=7, data_range=2.0)
    assert similarity(one, other, SIZE)[0] == pytest.approx(float(expected), abs=1e-12)
    assert similarity(one, 4 * other, SIZE) == pytest.approx(similarity(one, other, SIZE))  # the unit says nothing
    assert similarity(one, one, SIZE) == (1, 1, 1)
    turned = similarity(one, -one, SIZE)
    assert turned[1] == pytest.approx(-1) and turned[2] == pytest.approx(1)
    assert similarity(one, torch.zeros(4, 4, dtype=torch.float64), SIZE)[1:] == (0, 0)
    assert similarity(one, torch.full((4, 4), math.nan, dtype=torch.float64), SIZE) == (0, 0, 0)
