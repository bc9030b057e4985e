"""Perturbation methods: progress, previews, other targets, invalid options."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, ablation_cam, is_cam, occlusion, rise, score_cam, ss_cam
from normviz.attribution.engine.network import read_output
from normviz.attribution.targets import Difference, Region
from tests.attribution.test_attribution import TARGETS, Function, close
from tests.attribution.test_perturbation_methods import linear, probe_at, watch_tail
from tests.support.comparison import identical
from tests.support.nets import PooledNet, pictures, pooled_net, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW: dict[str, tuple[Function, dict[str, Any]]] = {  # small enough to run many times
    "score_cam": (score_cam, {}),
    "ss_cam": (ss_cam, {"samples": 3}),
    "ss_cam on images": (ss_cam, {"samples": 3, "where": "image"}),
    "is_cam": (is_cam, {"steps": 3}),
    "ablation_cam": (ablation_cam, {}),
    "occlusion": (occlusion, {"stride": 0.2}),
    "rise": (rise, {"masks": 40, "cells": 3}),
    "rise, exact": (rise, {"masks": 600, "cells": 3, "shift": False}),
}
each_slow = pytest.mark.parametrize(("function", "knobs"), SLOW.values(), ids=SLOW)


# How they report


@each_slow
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_chunk_changes_nothing(function: Function, knobs: dict[str, Any], chunk: int) -> None:
    close(function(probe_at(), chunk=chunk, **knobs), function(probe_at(), **knobs), 1e-12)


@each_slow
def test_a_batch_is_its_images_one_by_one(function: Function, knobs: dict[str, Any]) -> None:
    probe = probe_at()
    together = function(probe, **knobs)
    for index in range(2):
        alone = Probe(probe.model, probe.images[index : index + 1], int(TARGETS[index]), probe.layer)
        close(together[index : index + 1], function(alone, **knobs))


@each_slow
def test_progress_is_even_and_ends_at_one(function: Function, knobs: dict[str, Any]) -> None:
    shares: list[float] = []
    function(probe_at(), chunk=4, progress=shares.append, **knobs)
    assert shares == [pytest.approx((k + 1) / len(shares)) for k in range(len(shares))] and shares[-1] == 1.0


@each_slow
def test_the_preview_improves_and_ends_with_the_map(function: Function, knobs: dict[str, Any]) -> None:
    shown: list[Tensor] = []
    shares: list[float] = []
    heatmap = function(probe_at(), chunk=2, preview=shown.append, progress=shares.append, **knobs)
    assert len(shown) == len(shares) and {one.shape for one in shown} == {heatmap.shape}
    assert identical(shown[-1], heatmap)
    for image in range(2):  # the second image is empty until the first is done
        share = slice(image * len(shown) // 2, (image + 1) * len(shown) // 2)
        errors = [float((one[image] - heatmap[image]).norm()) for one in shown[share]]
        third = max(1, len(errors) // 3)
        assert sum(errors[-third:]) < sum(errors[:third]) and errors[-1] <= 1e-12
    assert not identical(shown[0], shown[1]), "each preview must be a tensor of its own"


@each_slow
def test_the_note_is_one_paragraph_and_names_what_is_random(function: Function, knobs: dict[str, Any]) -> None:
    notes: list[str] = []
    function(probe_at(), note=notes.append, **knobs)
    assert len(notes) == 1 and notes[0].endswith(".")
    assert ("seed" in notes[0]) == (function is ss_cam or (function is rise and knobs.get("shift", True)))


@each_slow
def test_no_pass_is_larger_than_the_chunk(
    function: Function, knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by the chunk, whatever the number of channels, squares or masks."""
    sizes = watch_tail(monkeypatch)

    def watched(net: nn.Module, images: Tensor) -> object:
        sizes.append(len(images))
        return read_output(net, images)

    monkeypatch.setattr("normviz.attribution.engine.scorer.read_output", watched)
    torch.manual_seed(0)
    probe = Probe(PooledNet(channels=67).double(), pictures(1), 0, "conv")
    function(probe, chunk=16, **knobs)
    assert max(sizes) == 16 and sum(sizes) > 17


@each_slow
def test_cancelling_and_failing_leave_the_network_as_it_was(function: Function, knobs: dict[str, Any]) -> None:
    probe = probe_at()
    net = probe.model.train()
    before = copy.deepcopy(net.state_dict())

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        function(probe, progress=stop, **knobs)
    whole = function(probe, **knobs)
    close(whole, function(Probe(net, probe.images, TARGETS, "pool"), **knobs))
    assert net.training and all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(not m._forward_hooks and not m._forward_pre_hooks and not m._backward_hooks for m in net.modules())
    assert all(identical(before[name], value) for name, value in net.state_dict().items())


@each_slow
def test_eight_threads_on_one_network_equal_one(function: Function, knobs: dict[str, Any]) -> None:
    net, images = relu_net(seed=2), pictures()
    expected = function(Probe(net, images, TARGETS, "pool"), **knobs)
    wrong: list[str] = []

    def work() -> None:
        for _ in range(2):
            if not identical(function(Probe(net, images, TARGETS, "pool"), **knobs), expected):
                wrong.append("differs")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# Other targets than a class


@each_slow
def test_a_function_that_picks_a_logit_is_that_class(function: Function, knobs: dict[str, Any]) -> None:
    if function is rise:
        knobs = {**knobs, "score": "logit"}  # a function has no probability
    net, images = relu_net(seed=2), pictures()
    ours = function(Probe(net, images, lambda output: output[:, 3], "pool"), **knobs)
    close(ours, function(Probe(net, images, 3, "pool"), **knobs), 1e-12)


def test_a_difference_of_classes_is_the_difference_of_their_maps() -> None:
    """Occlusion is linear in the score."""
    net, images = relu_net(seed=2), pictures()
    ours = occlusion(Probe(net, images, Difference(1, 3)), stride=0.2)
    close(ours, occlusion(Probe(net, images, 1), stride=0.2) - occlusion(Probe(net, images, 3), stride=0.2))


@each_slow
def test_a_region_of_a_segmentation(function: Function, knobs: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)).double()
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[:4, :4] = True
    heatmap = function(Probe(net, pictures(), Region(1, mask), "2"), **knobs)
    assert torch.isfinite(heatmap).all() and heatmap.any()
    if function is occlusion:
        assert not heatmap[:, 8:, 8:].any(), "pixels that no output in the region sees change nothing"


@pytest.mark.parametrize("convention", ["paper", "official"])
def test_a_probability_of_something_that_is_no_class_is_refused(convention: str) -> None:
    probe = Probe(relu_net(), pictures(), Difference(1, 3), "pool")
    with pytest.raises(ValueError, match="the target is class 1 and not class 3, not a class"):
        score_cam(probe, convention=convention)  # type: ignore[arg-type]


# Bad settings


@pytest.mark.parametrize(
    ("function", "knobs", "sentence"),
    [
        (ss_cam, {"chunk": 0}, "chunk must be at least 1; received 0"),
        (is_cam, {"chunk": 0}, "chunk must be at least 1; received 0"),
        (ablation_cam, {"chunk": -1}, "chunk must be at least 1; received -1"),
        (occlusion, {"chunk": 0}, "chunk must be at least 1; received 0"),
        (rise, {"chunk": 0}, "chunk must be at least 1; received 0"),
        (ss_cam, {"samples": 0}, "samples must be at least 1; received 0"),
        (ss_cam, {"where": "layer"}, "ss_cam supports mask, image; received 'layer'"),
        (is_cam, {"steps": 0}, "steps must be at least 1; received 0"),
        (is_cam, {"path": "bent"}, "is_cam supports cumulative, straight; received 'bent'"),
        (occlusion, {"window": 0.0}, "window and stride must be above 0; received 0.0 and 0.05"),
        (occlusion, {"fill": "red"}, "occlusion supports zero, mean, blur; received 'red'"),
        (occlusion, {"score": "rank"}, "occlusion supports logit, probability; received 'rank'"),
        (rise, {"masks": 0}, "rise requires masks and cells of at least 1 and 0 < p < 1; received 0, 7 and 0.5"),
        (rise, {"p": 1.0}, "rise requires masks and cells of at least 1 and 0 < p < 1; received 1000, 7 and 1.0"),
        (rise, {"score": "rank"}, "rise supports logit, probability; received 'rank'"),
    ],
)
def test_what_is_not_offered_is_refused(function: Function, knobs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence.replace('(', '[(]')}$"):
        function(probe_at(), **knobs)


@pytest.mark.parametrize("function", [occlusion, rise])
def test_the_input_methods_need_no_layer(function: Function) -> None:
    probe, _, _ = linear(6)
    assert function(probe).shape == (1, 6, 6)


def test_dead_layers_give_empty_maps() -> None:
    net = pooled_net()
    with torch.no_grad():
        net.get_parameter("conv.bias").fill_(-1e3)
    probe = Probe(net, pictures(), TARGETS)
    for function in (ss_cam, is_cam, ablation_cam):
        heatmap = function(probe)
        assert heatmap.shape == (2, 12, 12) and not heatmap.any()
