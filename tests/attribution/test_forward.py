"""Probes of other targets, layers, images and tokens, and the part of the network after a layer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, layers, probes, saliency, score_cam
from normviz.attribution.engine.grid import find_grid
from normviz.attribution.targets import Difference, Region, Similarity, embedding_of
from tests.support.nets import ACTIVATIONS, pictures, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")


class TokenNet(nn.Module):
    """A small transformer with patches of 4 pixels and a class token, from which the logits are computed."""

    def __init__(self, extra: int = 1, pooled: bool = False, classes: int = 5) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.extra = nn.Parameter(torch.randn(1, extra, 8))
        self.blocks = nn.ModuleList(TokenBlock() for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, classes)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)[0]
        tokens = self.norm(tokens)
        return self.fc(tokens.mean(dim=1) if self.pooled else tokens[:, 0])  # type: ignore[no-any-return]


class TokenBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.mix, self.up, self.down = nn.Linear(8, 24), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        q, k, v = self.mix(self.norm1(tokens)).chunk(3, dim=-1)
        tokens = tokens + (q @ k.transpose(1, 2)).softmax(dim=-1) @ v
        return (tokens + self.down(F.gelu(self.up(self.norm2(tokens)))),)


def token_net(**settings: Any) -> TokenNet:
    torch.manual_seed(0)
    return TokenNet(**settings).double()


def full(net: nn.Module, image: Tensor, layer: str, outputs: Tensor) -> Tensor:
    """The network's output for a replaced layer output, from whole forward passes."""
    net = net.eval()
    rows = []
    for output in outputs:
        handle = net.get_submodule(layer).register_forward_hook(lambda m, a, o, output=output: output[None].clone())
        rows.append(net(image)[0].detach())
        handle.remove()
    return torch.stack(rows)


# The tail


@pytest.mark.parametrize("layer", ["conv1", "bn1", "pool", "conv2", "bn2"])
@pytest.mark.parametrize("kind", [*ACTIVATIONS, "forgetful"])
def test_the_tail_is_the_whole_network_with_the_layer_replaced(kind: str, layer: str) -> None:
    net, images = relu_net(kind), pictures(2)
    probe = Probe(net, images, torch.tensor([2, 0]), layer)
    others = torch.randn(3, *probe.activations.shape[1:], dtype=torch.float64)  # (3, K, h, w)
    for index, target in ((0, 2), (1, 0)):
        expected = full(net, images[index : index + 1], layer, others)[:, target]  # (3,)
        torch.testing.assert_close(probe.score_from_layer(others, index), expected)
        same = probe.score_from_layer(probe.activations[index : index + 1], index)  # (1,)
        torch.testing.assert_close(same, probe.score[index : index + 1])


def test_a_module_that_runs_several_times_is_replaced_at_its_last_run() -> None:
    net, images = relu_net(), pictures(1)  # one ReLU module: twice on maps, once on the hidden layer
    probe = Probe(net, images, 1, "activation")
    torch.testing.assert_close(probe.score_from_layer(probe.activations), probe.score)
    changed = probe.activations * 1.01
    step = probe.score_from_layer(changed) - probe.score
    torch.testing.assert_close(step, (probe.gradients * (changed - probe.activations)).sum()[None], rtol=1e-6, atol=0)


def test_the_tail_computes_nothing_that_lies_before_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(relu_net(), pictures(1), 1, "bn2")
    probe.score_from_layer(probe.activations)
    runs: list[int] = []
    conv2d = nn.Conv2d.forward

    def counted(self: nn.Conv2d, x: Tensor) -> Tensor:
        runs.append(len(x))
        return conv2d(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    probe.score_from_layer(torch.cat([probe.activations] * 3))
    assert runs == []
    probe.score_at(probe.images)
    assert runs == [1, 1]


@pytest.mark.parametrize("layer", ["patches", "blocks.0", "blocks.1.norm1", "blocks.1"])
def test_the_tail_of_a_transformer_keeps_the_extra_tokens(layer: str) -> None:
    net, images = token_net(extra=2), pictures(1)
    probe = Probe(net, images, 3, layer)
    torch.testing.assert_close(probe.score_from_layer(probe.activations), probe.score)
    two = torch.cat([probe.activations, probe.activations + 1e-6])  # (2, K, h, w)
    moved = probe.score_from_layer(two)
    torch.testing.assert_close(moved[:1], probe.score)
    assert float(moved[1] - moved[0]) == pytest.approx(1e-6 * float(probe.gradients.sum()), rel=1e-4, abs=1e-12)


def test_of_many_images_only_the_last_tail_is_kept() -> None:
    import gc

    from normviz.attribution.engine.downstream import Downstream

    def alive() -> int:
        gc.collect()
        return sum(type(found) is Downstream for found in gc.get_objects())

    before = alive()
    probe = Probe(relu_net(), pictures(4), 1, "pool")
    for index in range(4):
        maps = probe.activations[index : index + 1]
        torch.testing.assert_close(probe.score_from_layer(maps, index), probe.score[index, None])
    assert alive() == before + 1


# Classes, layers and pictures


def test_the_gradients_of_several_classes_come_from_one_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = relu_net(), pictures(2)
    probe = Probe(net, images, 0, "pool")
    calls: list[bool] = []
    grad = torch.autograd.grad

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs.get("is_grads_batched", False))
        return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    found = [grad_cam(one) for one in probe.for_classes([4, 0, 2])]
    assert calls == [True]
    for heatmap, target in zip(found, (4, 0, 2), strict=True):
        torch.testing.assert_close(heatmap, grad_cam(Probe(net, images, target, "pool")))


def test_several_layers_cost_one_pass_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.attribution.test_probe import counted_runs

    net, images = relu_net(), pictures(2)
    names = ["bn2", "conv1", "pool"]
    runs = counted_runs(monkeypatch)
    found = probes(net, images, 1, names)
    maps = [grad_cam(one) for one in found]
    assert runs == [2]
    assert [one.layer for one in found] == names
    for heatmap, name in zip(maps, names, strict=True):
        torch.testing.assert_close(heatmap, grad_cam(Probe(net, images, 1, name)))
    with pytest.raises(ValueError, match="at least one layer"):
        probes(net, images, 1, [])


def test_other_pictures_are_asked_for_the_class_of_one_image() -> None:
    net, images = relu_net(), pictures(2)
    probe = Probe(net, images, torch.tensor([2, 0]), "pool")
    others = pictures(3, seed=9)
    logits = net.eval()(others).detach()
    torch.testing.assert_close(probe.score_at(others, 1), logits[:, 0])
    torch.testing.assert_close(probe.score_at(others, 0, probability=True), logits.softmax(dim=1)[:, 2])
    torch.testing.assert_close(probe.gradient_at(others, 1), Probe(net, others, 0).input_gradient)
    activations, gradients = probe.layer_at(others, 0)
    torch.testing.assert_close(activations, Probe(net, others, 2, "pool").activations)
    torch.testing.assert_close(gradients, Probe(net, others, 2, "pool").gradients)


# Targets


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.conv(x).relu()))


def test_a_difference_of_classes() -> None:
    net, images = relu_net(), pictures(2)
    probe = Probe(net, images, Difference(1, 3), "bn2")
    both = [Probe(net, images, index, "bn2").gradients for index in (1, 3)]
    torch.testing.assert_close(probe.gradients, both[0] - both[1])
    torch.testing.assert_close(probe.score, probe.logits[:, 1] - probe.logits[:, 3])
    assert str(Difference(1, 3)) == "class 1 and not class 3"
    with pytest.raises(ValueError, match="there is no class 9"):
        _ = Probe(net, images, Difference(1, 9), "bn2").score
    with pytest.raises(ValueError, match="the target is class 1 and not class 3, not a class"):
        _ = probe.target


def test_a_class_in_a_segmentation() -> None:
    torch.manual_seed(0)
    net, images = Segmenter().double(), pictures(2)
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[3:6, 2:9] = True
    probe = Probe(net, images, Region(2, mask), "conv")
    expected = net(images).logits[:, 2, 3:6, 2:9].sum(dim=(1, 2)).detach()
    torch.testing.assert_close(probe.score, expected)
    # a convolution of one pixel after it: the gradient is the weight where the mask is, and nothing elsewhere
    weight = net.head.weight[2, :, 0, 0].detach()
    inside = (probe.activations > 0) * mask * weight[:, None, None]  # (N, K, h, w)
    torch.testing.assert_close(probe.gradients, inside)
    largest = Probe(net, images, Region(2), "conv")
    logits = net(images).logits.detach()
    torch.testing.assert_close(largest.score, (logits[:, 2] * (logits.argmax(dim=1) == 2)).sum(dim=(1, 2)))
    assert saliency(probe).shape == (2, 12, 12)
    with pytest.raises(ValueError, match="the mask must have the size of the output"):
        _ = Probe(net, images, Region(2, mask[:5]), "conv").score
    with pytest.raises(ValueError, match="must return logits"):
        Probe(net, images, 0)


def test_similarity_to_another_picture() -> None:
    net, images = relu_net(), pictures(1)
    other = embedding_of(net.eval()(pictures(1, seed=5)))[0].detach()
    probe = Probe(net, images, Similarity(other), "bn2")
    expected = F.cosine_similarity(net(images).detach(), other[None])
    torch.testing.assert_close(probe.score, expected)
    assert grad_cam(probe).shape == (1, 6, 6)
    itself = Probe(net, images, Similarity(net(images)[0].detach()), "bn2")
    torch.testing.assert_close(itself.score, torch.ones(1, dtype=torch.float64))
    assert itself.gradients.abs().max() < 1e-12  # the cosine is at its maximum
    with pytest.raises(ValueError, match="must have 5 numbers"):
        _ = Probe(net, images, Similarity(torch.ones(3)), "bn2").score


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (lambda output: output, "must return one number per image"),
        (lambda output: output[:, 0] / 0, "score is not finite"),
        (lambda output: 3.0, "must return one number per image"),
    ],
)
def test_a_target_gives_one_finite_number_for_each_image(target: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _ = Probe(relu_net(), pictures(2), target, "bn2").score


def test_a_function_of_the_output_is_a_target() -> None:
    net, images = relu_net(), pictures(2)
    probe = Probe(net, images, lambda output: output.square().sum(dim=1), "bn2")
    per_class = torch.stack([Probe(net, images, c, "bn2").gradients for c in range(5)])  # (5, N, K, h, w)
    expected = (2 * probe.logits.T[:, :, None, None, None] * per_class).sum(dim=0)
    torch.testing.assert_close(probe.gradients, expected)
    with pytest.raises(ValueError, match="not a class"):
        score_cam(probe, "paper")


class SecondInput(nn.Module):
    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) + prompt


def test_a_second_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"requires inputs besides images .*'prompt'.*fixes the other inputs"):
        Probe(SecondInput(), pictures(1, dtype=torch.float32))


# Tokens


@pytest.mark.parametrize("extra", [1, 2, 5])
def test_tokens_are_folded_to_the_grid_of_their_patches(extra: int) -> None:
    net, images = token_net(extra=extra), pictures(2, size=16)
    found = dict(layers(net, images))
    assert found["blocks.0"] == (8, 4, 4)
    probe = Probe(net, images, 1, "blocks.0")
    with torch.no_grad():
        tokens = net.patches(images).flatten(2).transpose(1, 2)
        tokens = net.blocks[0](torch.cat([net.extra.expand(2, -1, -1), tokens], dim=1))[0]
    torch.testing.assert_close(probe.activations[1, :, 2, 3], tokens[1, extra + 2 * 4 + 3])


def test_the_default_layer_of_a_transformer_still_reaches_the_class_token() -> None:
    images = pictures(1, size=16)
    assert Probe(token_net(), images).layer == "blocks.1.norm1"
    assert Probe(token_net(), images).gradients.any()
    assert not Probe(token_net(), images, layer="norm").gradients.any()  # only the class token is read after it
    assert Probe(token_net(extra=0, pooled=True), images).layer == "norm"


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Identity(), (1, 7, 4, 4), ("maps", (7, 4, 4), 0)),
        (nn.Identity(), (1, 4, 4, 7), ("channels last", (7, 4, 4), 0)),
        (nn.Linear(4, 4), (1, 4, 4, 4), ("channels last", (4, 4, 4), 0)),
        (nn.Identity(), (1, 17, 6), ("tokens", (6, 4, 4), 1)),
        (nn.Identity(), (1, 16, 6), ("tokens", (6, 4, 4), 0)),
        (nn.Identity(), (1, 21, 6), ("tokens", (6, 4, 4), 5)),
        (nn.Identity(), (1, 16, 1), None),  # pooled channels, not tokens
        (nn.Identity(), (2, 16, 6), None),  # windows, not images
        (nn.Identity(), (1, 3, 6), None),
        (nn.Identity(), (1, 6), None),
    ],
)
def test_how_an_output_is_read(module: nn.Module, shape: tuple[int, ...], expected: Any) -> None:
    grid = find_grid(module, torch.zeros(shape), torch.zeros(1, 3, 16, 16))
    assert (grid and (grid.kind, grid.shape, grid.extra)) == expected
    if grid:
        tensor = torch.randn(shape)
        folded = grid.fold(tensor)
        assert folded.shape == (1, *grid.shape)
        torch.testing.assert_close(grid.unfold(folded, tensor), tensor)


def test_a_layer_norm_of_maps_says_so() -> None:
    norm = nn.LayerNorm(4)
    norm.__dict__["data_format"] = "channels_first"
    grid = find_grid(norm, torch.zeros(1, 4, 4, 4), torch.zeros(1, 3, 16, 16))
    assert grid and grid.kind == "maps"


def test_a_copy_does_not_believe_to_have_the_hooks_that_it_has_not() -> None:
    from normviz.attribution.engine.model_copy import borrow_copy

    net = relu_net()
    net.__dict__["_output_capturing_hooks_installed"] = True
    with borrow_copy(net) as first:
        assert not hasattr(first, "_output_capturing_hooks_installed")
    with borrow_copy(net) as second:
        assert second is first


def test_tokens_of_a_picture_that_is_no_square() -> None:
    grid = find_grid(nn.Identity(), torch.zeros(1, 25, 6), torch.zeros(1, 3, 16, 24))
    assert grid and (grid.shape, grid.extra) == ((6, 4, 6), 1)
