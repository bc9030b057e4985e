"""Reliability of all methods on one shared network: threads, failures, cancellation, difficult models."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe
from normviz.models.residual import ResidualNet
from normviz.registry import Attribution, Value, methods
from tests.attribution.test_model_copy import state
from tests.support.nets import WrappedNet, pictures, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = methods("attribution")
SLOW = [method for method in METHODS if method.slow]
FEW = {"samples": 2, "steps": 2, "masks": 8, "window": 0.5, "stride": 0.5}
CALLS = 50  # of each of eight threads


def settings(method: Attribution) -> dict[str, Value]:
    """The method's options with the smallest workload."""
    return method.settings({name: value for name, value in FEW.items() if name in [k.name for k in method.knobs]})


def network() -> ResidualNet:
    """A small network that supports every method: ReLUs, and a linear layer on pooled maps."""
    torch.manual_seed(0)
    net = ResidualNet(4, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    nn.init.normal_(net.fc.weight)
    return net.eval().requires_grad_(False)


def run(method: Attribution, model: nn.Module, images: Tensor, target: int = 1, layer: str | None = None) -> Tensor:
    heatmap: Tensor = method.function(Probe(model, images, target, layer), **settings(method))
    return heatmap


def test_eight_threads_on_one_network_give_the_maps_of_one() -> None:
    net, images = network(), [pictures(1, 32, seed=seed) for seed in range(3)]
    jobs = [(method, target, images[i]) for i in range(3) for target in range(4) for method in METHODS]
    assert len(jobs) >= CALLS
    before = state(net)
    serial = [run(method, net, picture, target) for method, target, picture in jobs]

    def work(thread: int) -> list[tuple[int, Tensor]]:
        torch.set_num_threads(1)
        numbers = [(thread * 37 + 11 * call) % len(jobs) for call in range(CALLS)]
        return [(number, run(jobs[number][0], net, jobs[number][2], jobs[number][1])) for number in numbers]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            for number, heatmap in found:
                torch.testing.assert_close(heatmap, serial[number], rtol=1e-4, atol=1e-6, msg=jobs[number][0].name)
    assert state(net) == before


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_as_before_after_success(method: Attribution, training: bool) -> None:
    net = network().train(training)
    before = state(net)
    assert torch.isfinite(run(method, net, pictures(2, 32))).all()
    assert state(net) == before


@pytest.mark.parametrize("method", SLOW, ids=lambda method: method.name)
def test_slow_methods_can_be_stopped(method: Attribution) -> None:
    net, images = network(), pictures(1, 32)
    before, probe = state(net), Probe(net, images, 1)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        method.function(probe, **settings(method), chunk=1, progress=stop)
    assert len(shares) == 1 and 0 < shares[0] < 1
    assert state(net) == before
    torch.testing.assert_close(method.function(probe, **settings(method)), run(method, net, images))


@pytest.mark.parametrize("method", SLOW, ids=lambda method: method.name)
def test_slow_methods_tell_how_far_they_are_and_what_they_have(method: Attribution) -> None:
    net, images = network(), pictures(2, 32)
    shares: list[float] = []
    previews: list[Tensor] = []
    heatmap = method.function(
        Probe(net, images, 1), **settings(method), chunk=2, progress=shares.append, preview=previews.append
    )
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 1
    assert all(preview.shape == heatmap.shape and torch.isfinite(preview).all() for preview in previews)
    torch.testing.assert_close(previews[-1], heatmap)
    whole = method.function(Probe(net, images, 1), **settings(method), chunk=1000)
    torch.testing.assert_close(whole, heatmap)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_batch_is_its_images_one_by_one(method: Attribution) -> None:
    net, images = network(), pictures(3, 32)
    together = run(method, net, images)
    for index in range(3):
        torch.testing.assert_close(together[index : index + 1], run(method, net, images[index : index + 1]))


class Failing(ResidualNet):
    """Fails on request."""

    fails = False

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        if type(self).fails:
            raise RuntimeError("out of luck")
        return x


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_model_is_as_before_after_a_failure(method: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Failing(4, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).double()
    before, probe = state(net), Probe(net, pictures(1, 32), 1)
    monkeypatch.setattr(Failing, "fails", True)
    with pytest.raises(ValueError, match="out of luck"):
        method.function(probe, **settings(method))
    assert state(net) == before


def tensors() -> int:
    """The number of live tensors."""
    gc.collect()
    return sum(issubclass(type(found), Tensor) for found in gc.get_objects())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_nothing_is_kept_after_a_call(method: Attribution) -> None:
    net, images = network(), pictures(1, 32)
    run(method, net, images)
    before = tensors()
    for target in range(4):
        run(method, net, images, target)
    assert tensors() <= before


# Models that trip tools: one clear sentence each


class Flat(nn.Module):
    """A network without feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_network_without_feature_maps(method: Attribution) -> None:
    net = Flat().double()
    if method.reads_layer:
        with pytest.raises(ValueError, match="no layer of this model has feature maps"):
            run(method, net, pictures(1))
    else:
        assert run(method, net, pictures(1)).any()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_nan_weights_are_named(method: Attribution) -> None:
    net = network()
    net.fc.weight.data[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite .*its weights contain NaN"):
        run(method, net, pictures(1, 32))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_dictionary_with_logits_will_do(method: Attribution) -> None:
    net = network()
    torch.testing.assert_close(run(method, WrappedNet(net, True), pictures(1, 32)), run(method, net, pictures(1, 32)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_dictionary_without_logits_is_refused(method: Attribution) -> None:
    class Boxes(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"boxes": x}

    with pytest.raises(ValueError, match=r"must return logits .* it returned a dict"):
        run(method, Boxes(), pictures(1))


def test_a_function_of_the_output_needs_no_class() -> None:
    """Methods that require a class raise a ValueError; all others explain any score."""
    net = relu_net()
    refused = []
    for method in METHODS:
        probe = Probe(net, pictures(1), lambda output: output.logsumexp(dim=1), "bn2")
        try:
            assert torch.isfinite(method.function(probe, **settings(method))).all()
        except ValueError as error:
            refused.append(method.name)
            assert str(error).strip()
    assert "grad_cam" not in refused and "integrated_gradients" not in refused
