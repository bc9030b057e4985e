"""Copies of networks: probes never modify the original."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, score_cam
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.registry import get
from tests.attribution.test_probe import NAMES, READS_ANY_HEAD
from tests.support.nets import ReluNet, pictures, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


# The model is never touched


def state(model: nn.Module) -> list[object]:
    """The state of a model that hooks, backward passes and modes could change."""
    found: list[object] = [sorted(model.state_dict())]
    for name, module in model.named_modules():
        found += [name, type(module), id(module), module.training, sorted(vars(module))]
        found += [len(hooks) for key, hooks in sorted(vars(module).items()) if key.endswith("_hooks")]
    for name, parameter in model.named_parameters():
        found += [name, id(parameter), parameter.requires_grad, parameter.grad, parameter._version]
        found.append(parameter.detach().sum().item())
    for name, buffer in model.named_buffers():
        found += [name, id(buffer), buffer._version, buffer.double().sum().item()]
    return found


@pytest.mark.parametrize("kind", ["module", "in-place module", "functional"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_untouched_after_success(kind: str, training: bool) -> None:
    net = relu_net(kind).train(training)
    seen: list[str] = []
    net.conv1.register_forward_hook(lambda *_: seen.append("forward"))
    net.conv2.register_full_backward_hook(lambda *_: seen.append("backward"))
    net.fc.weight.requires_grad_(False)
    before = state(net)
    probe = Probe(net, pictures(), 1, "bn2")
    for name in READS_ANY_HEAD:
        get(name).function(probe)
    assert state(net) == before
    assert seen == []  # the caller's hooks are the caller's


def test_the_model_is_untouched_after_an_exception() -> None:
    class Failing(ReluNet):
        fail = False

        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x)
            if type(self).fail:
                raise RuntimeError("out of luck")
            return x

    torch.manual_seed(0)
    net = Failing(nn.ReLU(inplace=True)).double()
    before = state(net)
    probe = Probe(net, pictures(), 1, "bn2")
    expected = grad_cam(Probe(net, pictures(), 1, "bn2"))
    Failing.fail = True
    for name in NAMES:
        with pytest.raises(ValueError, match="out of luck"):
            get(name).function(probe)
    assert state(net) == before
    Failing.fail = False
    torch.testing.assert_close(grad_cam(probe), expected, rtol=1e-12, atol=0)

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        score_cam(probe, progress=stop)
    assert state(net) == before


@pytest.mark.parametrize("kind", ["in-place module", "functional"])
def test_eight_threads_on_one_model_give_the_maps_of_one(kind: str) -> None:
    net, images = relu_net(kind).eval(), pictures(1)
    jobs = [(name, target, layer) for name in READS_ANY_HEAD for target in (0, 3) for layer in ("pool", "bn2")]
    jobs = jobs * 3

    def work(job: tuple[str, int, str]) -> Tensor:
        name, target, layer = job
        torch.set_num_threads(1)
        heatmap: Tensor = get(name).function(Probe(net, images, target, layer))
        return heatmap

    before = state(net)
    serial = [work(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(work, jobs))
    for job, ours, theirs in zip(jobs, parallel, serial, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10, msg=str(job))
    assert state(net) == before


def test_eight_threads_on_one_probe() -> None:
    net, images = relu_net(), pictures()
    shared = Probe(net, images, layer="pool")
    with ThreadPoolExecutor(8) as pool:
        maps = list(pool.map(lambda c: grad_cam(shared.for_target(c % 5)), range(40)))
    for c, heatmap in enumerate(maps):
        torch.testing.assert_close(heatmap, grad_cam(Probe(net, images, c % 5, "pool")), rtol=1e-10, atol=1e-12)


# Private copies


def test_a_copy_shares_the_weights_and_is_lent_to_one_at_a_time() -> None:
    net = relu_net()
    with borrow_copy(net) as first, borrow_copy(net) as second:
        assert first is not second and not first.training
        for ours, theirs in zip(first.parameters(), net.parameters(), strict=True):
            assert ours is not theirs and ours.data_ptr() == theirs.data_ptr() and not ours.requires_grad
    with borrow_copy(net) as third:
        assert third is first or third is second


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net, "conv2", nn.Conv2d(8, 8, 1).double()),
        lambda net: setattr(net, "activation", torch.tanh),
        lambda net: setattr(net.pool, "kernel_size", 3),
        lambda net: setattr(net.conv2, "weight", nn.Parameter(torch.ones(8, 8, 3, 3, dtype=torch.float64))),
        lambda net: setattr(net.bn2, "running_mean", torch.ones(8, dtype=torch.float64)),
        lambda net: setattr(net.bn2, "eps", 0.5),
        lambda net: net.conv2.weight.data.mul_(2),
        lambda net: setattr(net.conv2.weight, "data", torch.ones(8, 8, 3, 3, dtype=torch.float64)),
        lambda net: net.bn1.running_var.fill_(9.0),
        lambda net: net.bn2.register_parameter("bias", None),
    ],
)
def test_a_changed_model_is_read_as_it_is_now(change: Callable[[ReluNet], object]) -> None:
    net, images = relu_net("functional"), pictures()
    old = Probe(net, images, 1, "bn2").logits
    change(net)
    ours = Probe(net, images, 1, "bn2").logits
    assert not torch.allclose(ours, old)
    with torch.no_grad():
        expected = copy.deepcopy(net).eval()(images)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_a_model_in_another_precision_is_read_in_it() -> None:
    net = relu_net()
    grad_cam(Probe(net, pictures(), 1, "pool"))
    assert grad_cam(Probe(net.float(), pictures(dtype=torch.float32), 1, "pool")).dtype == torch.float32


def test_a_model_is_not_kept_alive() -> None:
    net = relu_net("in-place module")
    grad_cam(Probe(net, pictures(), 1, "pool"))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
