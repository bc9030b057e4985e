"""The probe: what it accepts and refuses, what it keeps, and that the model it was given is never touched."""

from __future__ import annotations

import copy
import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, cam, grad_cam, guided_backprop, layers, saliency, score_cam
from normviz.attribution.private import private_copy
from normviz.models.bottleneck import BottleneckNet, settle
from normviz.models.residual import ResidualNet
from normviz.registry import get, methods
from tests.nets import ReluNet, WrappedNet, pictures, pooled_net, relu_net

NAMES = [method.name for method in methods("attribution")]
READS_ANY_HEAD = [name for name in NAMES if name != "cam"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors, many threads of our own: torch's threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# What a probe computes


def test_logits_activations_and_gradients_are_those_of_the_plain_model() -> None:
    net, images, targets = relu_net(), pictures(), torch.tensor([3, 1])
    probe = Probe(net, images, targets, "bn2")
    net.eval()
    torch.testing.assert_close(probe.logits, net(images).detach(), rtol=0, atol=1e-12)
    x = net.pool(F.relu(net.bn1(net.conv1(images))))
    a = net.bn2(net.conv2(x)).detach().requires_grad_()
    logits = net.fc(F.relu(net.hidden(F.adaptive_avg_pool2d(F.relu(a + x.detach()), 4).flatten(1))))
    (g,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), a)
    torch.testing.assert_close(probe.activations, a.detach(), rtol=0, atol=1e-12)  # before the in-place addition
    torch.testing.assert_close(probe.gradients, g, rtol=0, atol=1e-12)


def test_gradients_by_finite_differences() -> None:
    net, images = relu_net().eval(), pictures(1)
    probe = Probe(net, images, 2)
    step = torch.zeros_like(images)
    step[0, 1, 4, 5] = 1e-6
    with torch.no_grad():
        slope = (net(images + step) - net(images - step))[0, 2] / 2e-6
    assert probe.input_gradient[0, 1, 4, 5].item() == pytest.approx(slope.item(), rel=1e-6)


def test_without_a_target_each_image_explains_its_top_class() -> None:
    net, images = relu_net(), pictures(4)
    probe = Probe(net, images, layer="pool")
    assert probe.target.tolist() == net.eval()(images).argmax(dim=1).tolist()
    assert len(set(probe.target.tolist())) > 1
    torch.testing.assert_close(grad_cam(probe), grad_cam(Probe(net, images, probe.target, "pool")))


def counted_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each pass that probes make from now on."""
    from normviz.attribution import forward, probe
    from normviz.attribution.network import read_output

    runs: list[int] = []

    def counted(net: nn.Module, images: Tensor) -> object:
        runs.append(len(images))
        return read_output(net, images)

    monkeypatch.setattr(forward, "read_output", counted)
    monkeypatch.setattr(probe, "read_output", counted)
    return runs


def test_everything_is_computed_once_and_a_class_costs_no_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch)
    net, images = relu_net(), pictures()
    probe = Probe(net, images, 0, "pool")
    assert runs == []
    for name in ("grad_cam", "grad_cam_pp", "layer_cam", "grad_cam"):
        get(name).function(probe)
    others = [grad_cam(probe.for_target(c)) for c in range(5)]
    assert runs == [2]
    for _ in range(3):
        saliency(probe)
    assert runs == [2, 2]
    guided_backprop(probe)
    guided_backprop(probe)
    assert runs == [2, 2, 2]
    for c, heatmap in enumerate(others):
        torch.testing.assert_close(heatmap, grad_cam(Probe(net, images, c, "pool")), rtol=0, atol=1e-12)
    assert probe.for_target(torch.tensor([0, 4])).target.tolist() == [0, 4]
    assert probe.for_target(None).target.tolist() == probe.logits.argmax(dim=1).tolist()


def test_saliency_alone_costs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch)
    saliency(Probe(relu_net(), pictures()))
    assert runs == [2]


def test_later_changes_of_the_images_do_not_reach_a_probe() -> None:
    images = pictures()
    probe, expected = Probe(relu_net(), images, 1), saliency(Probe(relu_net(), images.clone(), 1))
    images.zero_()
    torch.testing.assert_close(saliency(probe), expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", READS_ANY_HEAD)
def test_the_callers_context_does_not_matter(name: str, context: Callable[[], Any]) -> None:
    expected = get(name).function(Probe(relu_net(), pictures(), layer="pool"))
    with context():
        net, images = relu_net(), pictures()  # even weights made in inference mode
        inside = get(name).function(Probe(net, images, layer="pool"))
        probe = Probe(relu_net(), pictures(), layer="pool")
    torch.testing.assert_close(inside.clone(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(get(name).function(probe), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", READS_ANY_HEAD)
def test_frozen_or_not_training_or_not(name: str) -> None:
    maps = []
    for frozen in (False, True):
        for training in (False, True):
            net = relu_net().train(training).requires_grad_(not frozen)
            maps.append(get(name).function(Probe(net, pictures(), 1, "bn2")))
    for heatmap in maps[1:]:
        assert torch.equal(heatmap, maps[0])


@pytest.mark.parametrize("as_dict", [True, False])
def test_logits_may_come_in_an_object_or_a_dictionary(as_dict: bool) -> None:
    plain, wrapped = relu_net(), WrappedNet(relu_net(), as_dict)
    ours = grad_cam(Probe(wrapped, pictures(), 1, "net.pool"))
    torch.testing.assert_close(ours, grad_cam(Probe(plain, pictures(), 1, "pool")))


def test_half_precision_networks_work() -> None:
    net, images = relu_net(dtype=torch.bfloat16), pictures(dtype=torch.bfloat16)
    heatmap = grad_cam(Probe(net, images, 1, "pool"))
    assert heatmap.dtype == torch.bfloat16 and heatmap.any()


# Layers


def test_layers_stand_in_the_order_in_which_they_finish() -> None:
    found = layers(relu_net(), pictures())
    assert found == [
        ("conv1", (8, 12, 12)), ("bn1", (8, 12, 12)), ("pool", (8, 6, 6)), ("conv2", (8, 6, 6)), ("bn2", (8, 6, 6)),
        ("activation", (8, 6, 6)),
    ]  # fmt: skip


def test_the_default_layer_is_the_outermost_of_the_last_feature_maps() -> None:
    net = ResidualNet(11, "batch", (4, 4, 4, 4))
    assert Probe(net, pictures(1, 64, torch.float32)).layer == "stage4"
    small = BottleneckNet(10, 2, (1, 1, 1, 1))
    assert Probe(small, pictures(1, 64, torch.float32)).layer == "layer4"
    assert Probe(small, pictures(1, 32, torch.float32)).layer == "layer4.0.bn1"  # then one cell


def test_a_layer_may_be_given_as_a_module() -> None:
    net = relu_net()
    by_module = Probe(net, pictures(), 1, net.bn2)
    assert by_module.layer == "bn2"
    assert torch.equal(grad_cam(by_module), grad_cam(Probe(net, pictures(), 1, "bn2")))


def test_a_shared_relu_is_read_at_its_last_run_on_feature_maps() -> None:
    """In `relu_net` it runs a third time, on the hidden linear layer."""
    net = relu_net("in-place module").eval()
    probe = Probe(net, pictures(), 1, "activation")
    x = net.pool(F.relu(net.bn1(net.conv1(pictures()))))
    torch.testing.assert_close(probe.activations, F.relu(net.bn2(net.conv2(x)) + x).detach(), rtol=0, atol=1e-12)


def test_a_relu_that_runs_twice_on_feature_maps_is_read_at_the_second() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.relu = nn.ReLU(inplace=True)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.relu(self.conv2(self.relu(self.conv1(x)))).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    net = Shared().double()
    probe = Probe(net, pictures(), 1, "relu")
    expected = F.relu(net.conv2(F.relu(net.conv1(pictures())))).detach()
    torch.testing.assert_close(probe.activations, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(cam(probe).mean(dim=(1, 2)) + net.fc.bias[1], probe.logits[:, 1])


# The head


def test_head_is_the_linear_layer_or_a_one_by_one_convolution() -> None:
    net = pooled_net()
    assert Probe(net, pictures()).head.name == "fc"
    torch.manual_seed(0)
    convolutional = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1, bias=False), nn.Flatten()
    )
    assert Probe(convolutional.double(), pictures()).head.name == "3"


def test_other_heads_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"8 channels of layer 'bn2' to 5 classes .its last one is \(5, 16\)."):
        cam(Probe(relu_net(), pictures(), layer="bn2"))
    torch.manual_seed(0)
    pooled_by_max = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).double()
    with pytest.raises(ValueError, match="'4' applied to the pooled channels of layer '1' does not give the logits"):
        cam(Probe(pooled_by_max, pictures()))
    with pytest.raises(ValueError, match="'fc' applied to the pooled channels of layer 'conv' does not give"):
        cam(Probe(pooled_net(), pictures(), layer="conv"))


# What is refused


class Broken(nn.Module):
    """Returns what it is told to."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(3, 8, 8), r"shape \(N, C, H, W\).*received a float32 tensor of shape \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), "every size at least 1"),
        (torch.zeros(1, 3, 0, 8), "every size at least 1"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floating point.*torch.uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "must be finite"),
        (torch.full((1, 3, 8, 8), torch.inf), "must be finite"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float32), "torch.float64 on cpu.*received torch.float32"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.float64), r"cannot read images of shape \(1, 4, 8, 8\)"),
    ],
)
def test_images_that_cannot_be_read_are_refused(images: Tensor, sentence: str) -> None:
    if images.dtype == torch.float32 and "float64" not in sentence:
        images = images.double()
        sentence = sentence.replace("float32", "float64")
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), images)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda x: x, r"logits of shape \(1, classes\).*returned a float32 tensor of shape \(1, 3, 8, 8\)"),
        (lambda x: (x,), "returned a tuple"),
        (lambda x: {"out": x}, "returned a dict"),
        (lambda x: x.sum(dim=(2, 3)) * torch.nan, r"logits are not finite \(image 0, class 0: nan\)"),
        (lambda x: x.sum(dim=(2, 3)).argmax(dim=1, keepdim=True), "returned a int64 tensor"),
    ],
)
def test_models_that_do_not_return_logits_are_refused(make: Callable[[Tensor], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(Broken(make), torch.ones(1, 3, 8, 8))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a torch.nn.Module; received function"):
        Probe(F.relu, pictures())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (5, "no class 5: this model's classes are 0 to 4"),
        (-1, "no class -1"),
        (torch.tensor([0, 9]), "no class 9"),
        (torch.tensor([0]), r"whole numbers of shape \(2,\).*received a int64 tensor of shape \(1,\)"),
        (torch.tensor([0.0, 1.0]), "whole numbers"),
        (True, "received True"),
        ("cat", "received 'cat'"),
    ],
)
def test_unknown_classes_are_refused(target: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures(), target)
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures()).for_target(target)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("conv9", "no layer 'conv9'; choose one of conv1, bn1, pool, conv2, bn2, activation"),
        ("", "no layer ''"),
        ("fc", r"layer 'fc' has no feature maps.*float64 tensor of shape \(1, 5\); choose one of conv1"),
        (nn.ReLU(), "ReLU given as a module is no part of this model"),
    ],
)
def test_unknown_layers_are_refused_with_the_choices(layer: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(relu_net(), pictures(), layer=layer)


def test_among_many_layers_the_closest_are_offered() -> None:
    net = BottleneckNet(10, 2, (1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"the closest of its \d+ layers with feature maps: .*layer3\.0\.conv2"):
        Probe(net, pictures(1, 64, torch.float32), layer="layer3.0.conv")


def test_layers_that_do_not_run_or_do_not_matter_are_told() -> None:
    class Extra(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.idle, self.aside = pooled_net(), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.net(x)  # type: ignore[no-any-return]

    net = Extra()
    with pytest.raises(ValueError, match="layer 'idle' does not run"):
        Probe(net, pictures(), layer="idle")
    with pytest.raises(ValueError, match="no gradient flows from the logits to layer 'aside'"):
        grad_cam(Probe(net, pictures(), layer="aside"))


def test_a_network_without_feature_maps_has_saliency_only() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    probe = Probe(net, pictures())
    assert probe.logits.shape == (2, 3) and saliency(probe).any()
    with pytest.raises(ValueError, match="no layer of this model has feature maps"):
        grad_cam(probe)


def test_weights_in_hooks_are_refused_by_name() -> None:
    net = relu_net()
    with pytest.warns(FutureWarning, match="weight_norm"):
        torch.nn.utils.weight_norm(net.conv2)
    with pytest.raises(ValueError, match=r"'conv2' \(Conv2d\) computes its weight in a hook \(WeightNorm\)"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.spectral_norm(net.hidden)
    with pytest.raises(ValueError, match=r"'hidden' .*SpectralNorm"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.prune.l1_unstructured(net.conv1, "weight", 0.5)  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match=r"'conv1' .*L1Unstructured"):
        Probe(net, pictures())
    net = relu_net()
    torch.nn.utils.parametrizations.weight_norm(net.conv2)
    torch.nn.utils.parametrizations.spectral_norm(net.hidden)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert grad_cam(Probe(net, pictures(), 1, "pool")).any()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_scripted_lazy_and_uncopyable_models_are_refused_by_name() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(ValueError, match=r"module '0' .* is scripted"):
        Probe(nn.Sequential(scripted, nn.Flatten(), nn.Linear(400, 2)), torch.zeros(1, 3, 12, 12))
    with pytest.raises(ValueError, match=r"'0' .*lazy and has no weights"):
        Probe(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()), torch.zeros(1, 3, 12, 12))
    net = relu_net()
    net.bn1.__dict__["lock"] = threading.Lock()
    with pytest.raises(ValueError, match=r"module 'bn1' .* holds a lock in 'lock'"):
        Probe(net, pictures())
    net = relu_net()
    net.hidden.last = net.hidden(torch.zeros(1, 128, dtype=torch.float64))  # a stored activation is no obstacle
    assert grad_cam(Probe(net, pictures(), 1, "pool")).any()


# The model is never touched


def state(model: nn.Module) -> list[object]:
    """Everything about a model that hooks, backward passes and modes could change."""
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
    assert torch.equal(grad_cam(probe), expected)

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
        assert torch.equal(ours, theirs), job
    assert state(net) == before


def test_eight_threads_on_one_probe() -> None:
    net, images = relu_net(), pictures()
    shared = Probe(net, images, layer="pool")
    with ThreadPoolExecutor(8) as pool:
        maps = list(pool.map(lambda c: grad_cam(shared.for_target(c % 5)), range(40)))
    for c, heatmap in enumerate(maps):
        assert torch.equal(heatmap, grad_cam(Probe(net, images, c % 5, "pool")))


# Private copies


def test_a_copy_shares_the_weights_and_is_lent_to_one_at_a_time() -> None:
    net = relu_net()
    with private_copy(net) as first, private_copy(net) as second:
        assert first is not second and not first.training
        for ours, theirs in zip(first.parameters(), net.parameters(), strict=True):
            assert ours is not theirs and ours.data_ptr() == theirs.data_ptr() and not ours.requires_grad
    with private_copy(net) as third:
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


# On a graphics card


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_maps_on_cuda_are_those_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    net = settle(BottleneckNet(10, 8, (1, 1, 1, 1)), torch.randn(8, 3, 64, 64)).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    ours = get(name).function(Probe(copy.deepcopy(net).cuda(), images.cuda(), 3, "layer4"))
    assert ours.is_cuda
    torch.testing.assert_close(ours.cpu(), get(name).function(Probe(net, images, 3, "layer4")), rtol=1e-6, atol=1e-9)
