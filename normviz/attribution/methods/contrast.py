"""Class activation maps of a class against others: not what speaks for it, but what tells it from them."""

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
    """Grad-CAM of the difference between a class and the ones that it is most easily taken for.

    Args:
        probe: network, images, class and layer.
        gamma: how much the other classes count: 0 is Grad-CAM; at 1 what speaks for all of them alike disappears.
        similar: with how many of the most probable other classes it is compared; their mean counts.
        other: compare with this class alone.

    Returns:
        (N, h, w), at least 0, in logits.

    Raises:
        ValueError: the target is no class, or the other class is the one that is explained.

    Source:
        Zhang et al. 2025, the weights of the difference y^c - gamma y^d; several classes count by their mean.
    """
    rivals = [probe.for_target(index).gradients for index in _rivals(probe, similar, other)]  # m of (N, K, h, w)
    gradients = probe.gradients - gamma * torch.stack(rivals).mean(dim=0)  # (N, K, h, w)
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * probe.activations).sum(dim=1).relu()  # (N, h, w)


def _rivals(probe: Probe, similar: int, other: int | None) -> list[Tensor]:
    """The classes (N,) that each image's class is compared with, the most probable first."""
    if other is not None:
        if (probe.target == other).any():
            raise ValueError(f"the other class must differ from the class that is explained; received {other} for both")
        return [torch.full_like(probe.target, other)]
    if probe.classes < 2:
        raise ValueError(f"a comparison needs at least two classes; this model has {probe.classes}")
    logits = probe.logits.scatter(1, probe.target[:, None], -torch.inf)  # (N, classes)
    return list(logits.topk(min(similar, probe.classes - 1), dim=1).indices.unbind(dim=1))  # each (N,)
