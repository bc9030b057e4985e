"""Attribution by ablation: channels of a layer are set to 0 one at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.attribution.engine.scorer import Steps
from normviz.registry import attribution

__all__ = ["ablation_cam"]


@attribution(
    title="Ablation-CAM", cite="desai2020ablation", level="layer", unit="logits × activation",
    aliases=("AblationCAM",),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = S_c - S_c(A_k \leftarrow 0)",
)  # fmt: skip
def ablation_cam(
    probe: Probe,
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Activations weighted by the decrease of the class's logit when their channel is set to 0.

    The paper divides the decrease by the logit. That rescales the map if the logit is positive, and flips its sign if
    it is negative, which would highlight evidence against the class; here there is no division. Only the part of the
    network after the layer is computed, for many channels at once; channels that are 0 everywhere get the weight 0.
    With a pooled linear head the decrease is g_k times the sum of A_k.

    Args:
        probe: network, images, class and layer.
        chunk: ablated channels per pass through the later layers; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map of the channels so far, in decreasing order of activation.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, h, w), at least 0, in logits times units of the activations.

    Raises:
        ValueError: chunk below 1.

    Source:
        Desai & Ramaswamy 2020, section 3 (the slope w_k), without its division by y^c.
    """
    activations = probe.activations  # (N, K, h, w)
    strength = activations.abs().sum(dim=(2, 3))  # (N, K)
    steps = Steps(chunk, strength.count_nonzero(dim=1).tolist(), progress)
    weights = torch.zeros_like(strength)  # (N, K)

    def heatmap() -> Tensor:
        return (weights[:, :, None, None] * activations).sum(dim=1).relu()  # (N, h, w)

    for index, maps in enumerate(activations):
        order = strength[index].argsort(descending=True, stable=True)  # (K,)
        order = order[: int(strength[index].count_nonzero())]  # (K',)
        score = probe.score_from_layer(maps[None], index)  # (1,)
        for channels in torch.split(order, chunk) if len(order) else ():
            without = maps.repeat(len(channels), 1, 1, 1)  # (b, K, h, w)
            without[torch.arange(len(channels), device=maps.device), channels] = 0
            weights[index, channels] = score - probe.score_from_layer(without, index)  # (b,)
            steps.advance()
            if preview:
                preview(heatmap())
    if note:
        count = int(strength.count_nonzero())
        note(f"{count} of {strength.numel()} channels ablated one at a time; the others are 0 everywhere.")
    return heatmap()
