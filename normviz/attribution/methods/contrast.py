"""Class activation maps of the difference between a class and similar classes."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, attribution

__all__ = ["finer_cam"]


@attribution(
    title="Finer-CAM", cite="zhang2025finer", level="layer", unit="logits",
    aliases=("contrastive Grad-CAM",),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = \frac{1}{hw} \sum_{ij} "
    r"\frac{\partial}{\partial A_{kij}} \Big(S_c - \frac{\gamma}{m} \sum_{d \in \text{top } m} S_d\Big)",
)  # fmt: skip
def finer_cam(
    probe: Probe,
    gamma: Annotated[float, Range(0.0, 2.0, r"\gamma")] = 1.0,
    similar: Annotated[int, Range(1, 10, "m")] = 1,
    *,
    other: int | None = None,
) -> Tensor:
    """Grad-CAM of the difference between the logit of a class and those of its most probable competitors.

    Args:
        probe: network, images, class and layer.
        gamma: weight of the other classes: 0 is Grad-CAM; at 1, evidence shared by all of them cancels.
        similar: number of the most probable other classes to compare with; their mean is used.
        other: index of the only class to compare with; overrides `similar`.

    Returns:
        (N, h, w), at least 0, in logits.

    Raises:
        ValueError: the target is not a class, or `other` is the explained class.

    Source:
        Zhang et al. 2025, the weights of the difference y^c - gamma y^d, with the mean over several classes d.
    """
    rivals = [probe.for_target(index).gradients for index in _rivals(probe, similar, other)]  # m of (N, K, h, w)
    gradients = probe.gradients - gamma * torch.stack(rivals).mean(dim=0)  # (N, K, h, w)
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * probe.activations).sum(dim=1).relu()  # (N, h, w)


def _rivals(probe: Probe, similar: int, other: int | None) -> list[Tensor]:
    """The classes (N,) that each image's class is compared with, in decreasing order of logit."""
    if other is not None:
        if (probe.target == other).any():
            raise ValueError(f"the other class must differ from the explained class; received {other} for both")
        return [torch.full_like(probe.target, other)]
    if probe.classes < 2:
        raise ValueError(f"a comparison requires at least two classes; this model has {probe.classes}")
    logits = probe.logits.scatter(1, probe.target[:, None], -torch.inf)  # (N, classes)
    return list(logits.topk(min(similar, probe.classes - 1), dim=1).indices.unbind(dim=1))  # each (N,)
