"""Decomposition of a score with global average pooling: each channel contributes its weight times its mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.attribution.targets import Difference


@dataclass(frozen=True)
class Pooling:
    """A score decomposed over the channels of a layer.

    Attributes:
        mean: (K,), the mean of each channel, which global average pooling computes.
        weight: (K,), derivative of the score with respect to each mean: the sum of the channel's gradient. With a
            pooled linear head it is the linear layer's weight; Grad-CAM's weight is this divided by the number of
            cells.
        score: the explained score (for a class: its logit).
        pooled: whether the network pools this layer and applies one linear layer to it, which makes the sum exact.
        bias: the linear layer's bias of the class (for two classes, the difference); 0 if not `pooled`.
    """

    mean: Tensor
    weight: Tensor
    score: float
    pooled: bool
    bias: float = 0.0

    @property
    def contribution(self) -> Tensor:
        """The contribution of each channel (K,), weight times mean, in the unit of the score."""
        return self.weight * self.mean  # (K,)

    @property
    def total(self) -> float:
        """Sum of the contributions, which equals the sum of Grad-CAM's map before its ReLU."""
        return float(self.contribution.sum())

    @property
    def rest(self) -> float:
        """The score minus the total: the bias if `pooled`, otherwise the effect of the later layers."""
        return self.score - self.total

    @property
    def order(self) -> Tensor:
        """The channels in decreasing order of contribution: (K,), int64."""
        return self.contribution.argsort(descending=True, stable=True)  # (K,)

    def describe(self) -> str:
        """A sentence that compares the sum of the contributions with the score."""
        if self.pooled:
            return (
                f"The contributions sum to {self.total:.4g}; adding the bias {self.bias:.4g} gives the score, "
                f"{self.score:.4g}, exactly."
            )
        return (
            f"The contributions sum to {self.total:.4g}, the sum of Grad-CAM's map before its ReLU. The score is "
            f"{self.score:.4g}: this layer is not pooled and followed by a single linear layer, so the biases and "
            f"nonlinearities of the later layers account for the difference, {self.rest:.4g}."
        )


def pooling(probe: Probe, index: int = 0) -> Pooling:
    """Decompose a score over the channels of the probe's layer.

    Args:
        probe: network, images, class (or any other target) and layer.
        index: index of the image in the batch.

    Returns:
        The mean, weight and contribution of each channel. In a network of convolutions, global average pooling and one
        linear layer, the contributions plus the bias equal the logit of the class.

    Source:
        Zhou et al. 2016, Eq. 1; Selvaraju et al. 2017, Eq. 1 and section 3.1 (the weights of CAM).
    """
    activations, gradients = probe.activations[index], probe.gradients[index]  # (K, h, w) each
    mean, weight = activations.mean(dim=(1, 2)), gradients.sum(dim=(1, 2))  # (K,) each
    row, bias = _linear(probe, index)
    pooled = row is not None and torch.allclose(row, weight, rtol=1e-3, atol=1e-3 * float(row.abs().max()))
    return Pooling(mean, weight, float(probe.score[index]), pooled, bias if pooled else 0.0)


def _linear(probe: Probe, index: int) -> tuple[Tensor | None, float]:
    """Weights (K,) and bias of the last linear layer for the class or difference; None without such a head."""
    objective = probe.objective
    try:
        head = probe.head
        if isinstance(objective, Difference):
            row = head.weight[objective.a] - head.weight[objective.b]  # (K,)
            return row, float(head.bias[objective.a] - head.bias[objective.b])
        target = probe.target[index]
        return head.weight[target], float(head.bias[target])  # (K,)
    except ValueError:  # no such head, or the target is not a class
        return None, 0.0
