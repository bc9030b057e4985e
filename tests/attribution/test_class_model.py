"""Class model visualization: closed form, slow reference, and an unmodified network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import ClassModel, class_model
from normviz.attribution.targets import Difference
from tests.attribution.test_attribution import close
from tests.reference.attribution_gradient import blurred
from tests.support.comparison import identical
from tests.support.nets import pooled_net, relu_net


def linear_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4)).double()


def test_a_linear_network_has_its_weight_over_two_lambda() -> None:
    net = linear_net()
    weight = net.get_parameter("1.weight").detach()[2].reshape(3, 4, 4)
    found = class_model(net, 2, 4, decay=0.1, rate=1.0, steps=200)
    close(found.images[0], weight / (2 * 0.1))
    close(found.scores[0, 0], net.get_parameter("1.bias").detach()[2])  # the first image is zero


def test_each_step_of_a_linear_network_in_closed_form() -> None:
    """I_k = w / (2 lambda) (1 - (1 - 2 lambda rate)^k)."""
    net = linear_net()
    weight, bias = net.get_parameter("1.weight").detach()[1], net.get_parameter("1.bias").detach()[1]
    found = class_model(net, 1, 4, decay=0.05, rate=2.0, steps=7)
    for step in range(8):
        picture = weight / 0.1 * (1 - (1 - 0.2) ** step)
        close(found.scores[step, 0], weight @ picture + bias)
        assert float(found.norms[step, 0]) == pytest.approx(float(picture.square().sum()))


def slow_ascent(net: nn.Module, target: int, picture: Tensor, decay: float, rate: float, steps: int) -> Tensor:
    """Simonyan et al. 2013, section 2: the gradient of S_c(I) - lambda ||I||^2, value by value."""
    for _ in range(steps):
        leaf = picture.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(leaf[None])[0, target], leaf)
        numbers = [
            float(i) + rate * (float(g) - 2 * decay * float(i))
            for i, g in zip(picture.flatten(), gradient.flatten(), strict=True)
        ]
        picture = torch.tensor(numbers, dtype=torch.float64).reshape(picture.shape)
    return picture


@pytest.mark.parametrize("target", [0, 3])
def test_it_equals_the_slow_ascent(target: int) -> None:
    net = relu_net()
    found = class_model(net, target, 12, decay=0.02, rate=3.0, steps=5)
    slow = slow_ascent(copy.deepcopy(net).eval(), target, torch.zeros(3, 12, 12).double(), 0.02, 3.0, 5)
    close(found.images[0], slow)


def test_the_objective_rises() -> None:
    found = class_model(relu_net(), 1, 12, decay=0.01, rate=0.5, steps=30)
    objective = found.scores - 0.01 * found.norms
    assert objective[-1, 0] > objective[0, 0] and (objective[1:] - objective[:-1] > -1e-3).all()
    logits = relu_net().eval()(found.images)
    close(found.scores[-1], logits[:, 1].detach())


def test_several_classes_at_once_are_each_alone() -> None:
    net = relu_net()
    together = class_model(net, torch.tensor([2, 0, 4]), 12, steps=4)
    for index, target in enumerate((2, 0, 4)):
        close(together.images[index : index + 1], class_model(net, target, 12, steps=4).images)
        close(together.scores[:, index : index + 1], class_model(net, target, 12, steps=4).scores)


def test_a_function_of_the_output_can_be_raised() -> None:
    net = linear_net()
    weight = net.get_parameter("1.weight").detach()
    found = class_model(net, Difference(1, 3), 4, decay=0.1, rate=1.0, steps=200)
    close(found.images[0], (weight[1] - weight[3]).reshape(3, 4, 4) / 0.2)


def test_mean_and_deviation_are_given_back() -> None:
    net, mean, std = linear_net(), (0.2, 0.5, 0.8), (0.1, 0.2, 0.3)
    found = class_model(net, 1, 4, mean, std, decay=0.1, rate=1.0, steps=50)
    for color in range(3):
        close(found.pixels[0, color], (found.images[0, color] * std[color] + mean[color]).clamp(0, 1))
    first: list[ClassModel] = []
    class_model(net, 1, (4, 4), mean, std, steps=1, rate=1e-9, preview=first.append)
    close(first[0].pixels[0], torch.tensor(mean).double().view(3, 1, 1).expand(3, 4, 4), 1e-6)


# Options


def test_further_starts_begin_at_noise_and_the_first_at_zero() -> None:
    net = relu_net()
    found = class_model(net, torch.tensor([1, 2]), 12, steps=3, starts=3, seed=4)
    assert found.images.shape == (6, 3, 12, 12) and found.norms[0].count_nonzero() == 4
    close(found.images[:1], class_model(net, 1, 12, steps=3).images)
    close(found.images[3:4], class_model(net, 2, 12, steps=3).images)
    again = class_model(net, torch.tensor([1, 2]), 12, steps=3, starts=3, seed=4)
    close(found.images, again.images)
    other = class_model(net, torch.tensor([1, 2]), 12, steps=3, starts=3, seed=5)
    close(found.images[0], other.images[0])
    assert not torch.allclose(found.images[1], other.images[1])


def test_jitter_shows_the_picture_moved() -> None:
    """For a network that reads one pixel, ascent with shifts of one pixel spreads over nine."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(25, 1)).double()
    with torch.no_grad():
        net.get_parameter("1.weight").zero_()[0, 12] = 1.0
    still, moved = (class_model(net, 0, 5, (0.0,), (1.0,), jitter=j, steps=60, rate=1.0) for j in (0, 1))
    assert (still.images != 0).nonzero().tolist() == [[0, 0, 2, 2]]
    assert (moved.images != 0).nonzero()[:, 2:].tolist() == [[i, j] for i in (1, 2, 3) for j in (1, 2, 3)]


def test_blur_comes_at_each_fourth_step() -> None:
    net = linear_net()
    weight = net.get_parameter("1.weight").detach()[1].reshape(3, 4, 4)
    found = class_model(net, 1, 4, decay=0.0, rate=1.0, steps=5, blur=0.7)
    expected = torch.stack([blurred(4 * channel, 0.7) for channel in weight]) + weight
    close(found.images[0], expected)


# What it promises


def test_progress_previews_and_a_stop() -> None:
    shares: list[float] = []
    seen: list[ClassModel] = []
    found = class_model(relu_net(), 1, 12, steps=4, progress=shares.append, preview=seen.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert identical(seen[-1].pixels, found.pixels) and identical(seen[-1].scores, found.scores[:-1])
    for step, one in enumerate(seen, start=1):
        close(one.images, class_model(relu_net(), 1, 12, steps=step).images)

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_model(relu_net(), 1, 12, progress=stop)


@pytest.mark.parametrize("failing", [False, True])
def test_the_network_is_only_read(failing: bool) -> None:
    net = relu_net()
    before = copy.deepcopy(net.state_dict())

    def stop(share: float) -> None:
        if failing:
            raise KeyError

    try:
        class_model(net, 1, 12, steps=2, progress=stop)
    except KeyError:
        assert failing
    assert net.training and all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for name, tensor in net.state_dict().items():
        assert identical(tensor, before[name])


def test_gradients_may_be_switched_off_around_it() -> None:
    with torch.no_grad():
        outside = class_model(pooled_net(), 1, 12, steps=2).images
    with torch.inference_mode():
        inference = class_model(pooled_net(), 1, 12, steps=2).images
    assert identical(outside, inference) and outside.any() and not inference.is_inference()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1; received 0"),
        ({"starts": 0}, "starts must be at least 1; received 0"),
        ({"jitter": -1}, "jitter must be at least 0; received -1"),
        ({"blur": -0.5}, "blur must be at least 0; received -0.5"),
        ({"rate": 0.0}, "the rate above 0"),
        ({"decay": -1.0}, "lambda must be at least 0"),
        ({"decay": 0.5, "rate": 2.0}, "2 lambda times the rate below 2"),
    ],
)
def test_settings_with_which_nothing_is_found_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        class_model(pooled_net(), 1, 12, **settings)


def test_a_class_that_is_not_there_and_an_ascent_without_end_are_told() -> None:
    with pytest.raises(ValueError, match="there is no class 9: this model's classes are 0 to 3"):
        class_model(pooled_net(), 9, 12)

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(dim=(1, 2, 3))[:, None] + x.flatten(1)[:, :1]

    with pytest.raises(ValueError, match=r"diverges: choose a rate below 50|not finite"):
        class_model(Square(), 0, 4, rate=50.0, steps=400)
