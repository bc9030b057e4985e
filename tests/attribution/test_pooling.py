"""The decomposition with global average pooling against the network's own forward pass."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from normviz import colors
from normviz.attribution import Probe, cam, grad_cam
from normviz.attribution.diagnosis.pooling import pooling
from normviz.attribution.targets import Difference
from normviz.html.pooling import Channel, Line, contributions
from tests.support.comparison import identical
from tests.support.nets import pictures, pooled_net, relu_net


@pytest.mark.parametrize("index", [0, 1])
def test_on_a_pooled_head_the_contributions_and_the_bias_are_the_logit(index: int) -> None:
    net, images = pooled_net(), pictures()
    seen = pooling(Probe(net, images, torch.tensor([2, 0])), index)
    target = (2, 0)[index]
    features = net.relu(net.conv(images[index : index + 1])).detach()[0]  # (K, h, w)
    assert torch.allclose(seen.mean, features.flatten(1).mean(dim=1), rtol=0, atol=1e-12)
    assert torch.allclose(seen.weight, net.fc.weight[target].detach(), rtol=0, atol=1e-12)
    assert seen.pooled
    assert seen.rest == pytest.approx(float(net.fc.bias.detach()[target]), abs=1e-12)
    assert seen.bias == pytest.approx(seen.rest, abs=1e-12)
    assert seen.total + seen.bias == pytest.approx(float(net(images).detach()[index, target]), abs=1e-12)
    assert "exactly" in seen.describe()


def test_the_contributions_add_up_to_cam_and_to_grad_cam_before_its_relu() -> None:
    probe = Probe(pooled_net(), pictures(1), 2)
    seen = pooling(probe)
    assert seen.total == pytest.approx(float(cam(probe).mean()), abs=1e-12)
    deep = Probe(relu_net(), pictures(1), 3, "conv2")
    weights = deep.gradients.mean(dim=(2, 3), keepdim=True)  # (1, K, 1, 1)
    whole = (weights * deep.activations).sum()
    assert pooling(deep).total == pytest.approx(float(whole), abs=1e-12)
    torch.testing.assert_close((weights * deep.activations).sum(dim=1).relu(), grad_cam(deep), rtol=1e-12, atol=1e-14)


def test_elsewhere_it_says_what_it_adds_up_to() -> None:
    probe = Probe(relu_net(), pictures(1), 3, "bn2")
    seen = pooling(probe)
    assert not seen.pooled
    assert seen.rest == pytest.approx(float(probe.logits[0, 3]) - seen.total, abs=1e-12)
    assert "Grad-CAM's map before its ReLU" in seen.describe() and "exactly" not in seen.describe()


def test_two_classes_are_the_difference_of_their_sums() -> None:
    net, images = pooled_net(), pictures(1)
    both = pooling(Probe(net, images, Difference(2, 0)))
    one, other = (pooling(Probe(net, images, target)) for target in (2, 0))
    assert torch.allclose(both.contribution, one.contribution - other.contribution, rtol=0, atol=1e-12)
    assert both.rest == pytest.approx(one.rest - other.rest, abs=1e-12)
    assert both.pooled


def test_a_target_that_bends_is_not_called_exact() -> None:
    def square(output: Tensor) -> Tensor:
        return output[:, 1].square()

    assert not pooling(Probe(pooled_net(), pictures(1), square)).pooled


def test_the_order_is_that_of_the_contributions() -> None:
    seen = pooling(Probe(pooled_net(), pictures(1), 2))
    sizes = seen.contribution[seen.order].tolist()
    assert sizes == sorted(sizes, reverse=True) and sorted(seen.order.tolist()) == list(range(6))


# The table


def test_the_table_shows_each_number_and_one_scale_of_colors() -> None:
    maps = [np.full((2, 2), 1.0), np.array([[0.0, 2.0], [0.0, 0.0]])]
    rows = [Channel(7, maps[0], 1.0, 0.5, 0.5), Channel(3, maps[1], 0.5, -0.25, -0.125)]
    html = contributions(rows, [Line("the 4 other channels", 0.25), Line("the <logit>", 0.625, strong=True)], "logits")
    text = re.sub(r"<[^>]+>", " ", html)
    for shown in ("7", "× 0.5", "= +0.5", "× −0.25", "= −0.125", "+0.25", "+0.625", "contribution (logits)"):
        assert shown in text
    assert "the &lt;logit&gt;" in html and 'alt="map of channel 7"' in html
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]
    expected = [colors.colorize(values, "inferno", 0.0, 2.0) for values in maps]
    assert all(identical(shown, wanted) for shown, wanted in zip(pictures, expected, strict=True))
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", html)]
    assert widths == [50.0, 12.5]


def test_the_table_refuses_nothing_and_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="at least one channel; received none"):
        contributions([], [])
    with pytest.raises(ValueError, match="finite"):
        contributions([Channel(0, np.zeros((1, 1)), float("nan"), 1.0, 1.0)], [])
