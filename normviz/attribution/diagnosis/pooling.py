"""Global average pooling as a computation: feature map, its mean, its weight, its contribution to the score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.attribution.targets import Difference


@dataclass(frozen=True)
class Pooling:
    """A score as a sum over the channels of a layer.

    Attributes:
        mean: (K,) the mean of each channel, what global average pooling keeps of it.
        weight: (K,) how much the score grows with each mean: the sum of the channel's gradient. On a pooled head that
            is the linear layer's weight; Grad-CAM's weight is this divided by the number of cells.
        score: the score that is explained (a class: its logit).
        pooled: whether the network pools this layer and ends in one linear layer, so that the sum is exact.
        bias: that linear layer's bias for the class (of two classes the difference); 0 elsewhere.
    """

    mean: Tensor
    weight: Tensor
    score: float
    pooled: bool
    bias: float = 0.0

    @property
    def contribution(self) -> Tensor:
        """What each channel adds: (K,), weight times mean, in the score's unit."""
        return self.weight * self.mean  # (K,)

    @property
    def total(self) -> float:
        """The sum of the contributions, which is the sum of Grad-CAM's map before its ReLU."""
        return float(self.contribution.sum())

    @property
    def rest(self) -> float:
        """The score less the total: on a pooled head the bias, elsewhere what the layers behind add."""
        return self.score - self.total

    @property
    def order(self) -> Tensor:
        """The channels from the largest contribution to the smallest: (K,), int64."""
        return self.contribution.argsort(descending=True, stable=True)  # (K,)

    def describe(self) -> str:
        """What the contributions add up to."""
        if self.pooled:
            return (
                f"The contributions add up to {self.total:.4g}; with the bias {self.bias:.4g} that is the score, "
                f"{self.score:.4g}, exactly."
            )
        return (
            f"The contributions add up to {self.total:.4g}, the sum of Grad-CAM's map before its ReLU. The score is "
            f"{self.score:.4g}: this layer is not pooled right before one linear layer, so the biases and the bends of "
            f"the layers behind it make the difference, {self.rest:.4g}."
        )


def pooling(probe: Probe, index: int = 0) -> Pooling:
    """Take a score apart into the channels of the probe's layer.

    Args:
        probe: network, images, class (or any other target) and layer.
        index: which image of the batch.

    Returns:
        The mean, weight and contribution of each channel. On a network of convolutions, global average pooling and
        one linear layer, the contributions plus the bias are the class's logit.

    Source:
        Zhou et al. 2016, Eq. 1; Selvaraju et al. 2017, Eq. 1 and section 3.1 (the weights of CAM).
    """
    activations, gradients = probe.activations[index], probe.gradients[index]  # (K, h, w) each
    mean, weight = activations.mean(dim=(1, 2)), gradients.sum(dim=(1, 2))  # (K,) each
    row, bias = _linear(probe, index)
    pooled = row is not None and torch.allclose(row, weight, rtol=1e-3, atol=1e-3 * float(row.abs().max()))
    return Pooling(mean, weight, float(probe.score[index]), pooled, bias if pooled else 0.0)


def _linear(probe: Probe, index: int) -> tuple[Tensor | None, float]:
    """The last linear layer's weights (K,) and bias for the class or the difference; None without such a head."""
    asked = probe.objective
    try:
        head = probe.head
        if isinstance(asked, Difference):
            row = head.weight[asked.a] - head.weight[asked.b]  # (K,)
            return row, float(head.bias[asked.a] - head.bias[asked.b])
        target = probe.target[index]
        return head.weight[target], float(head.bias[target])  # (K,)
    except ValueError:  # no such head, or a target that is no class
        return None, 0.0
