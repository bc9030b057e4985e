"""Fusion of the class activation maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.probe import Probe, layers, probes
from normviz.attribution.methods.gradient import layer_cam
from normviz.registry import Range, attribution

__all__ = ["layer_cam_fusion"]

UNSCALED = 2  # number of deepest layers without tanh scaling: stages 4 and 5 of 5 in the paper


@attribution(
    title="LayerCAM, fused", cite="jiang2021layercam", level="layer",
    unit="share of the layer's maximum", aliases=("LayerCAM fusion", "fused LayerCAM"),
    formula=r"M = \max_l\, \mathrm{up}\left(F^l\right), \quad F^l = \begin{cases} \tanh\left(\gamma\,M^l / \max M^l"
    r"\right) & \text{shallow} \\ M^l / \max M^l & \text{the two deepest} \end{cases}",
)  # fmt: skip
def layer_cam_fusion(
    probe: Probe,
    gamma: Annotated[float, Range(0.5, 5.0, r"\gamma")] = 2.0,
    *,
    layers: Sequence[str] | None = None,
) -> Tensor:
    """The maximum of the LayerCAM maps of several layers: deep layers localize the object, shallow ones its details.

    Each map is divided by its maximum, because the ranges of the layers differ, and the maps of shallow layers are
    scaled by a tanh. All maps are enlarged to the largest (bilinear), and the maximum is taken in each cell.

    Args:
        probe: network, images, class and layer.
        gamma: scale inside the tanh for shallow layers: all but the two deepest.
        layers: names of the layers from shallow to deep; default: the last layer of each resolution up to the probe's
            layer.

    Returns:
        (N, h, w) at the highest resolution of the layers, from 0 to 1.

    Raises:
        ValueError: no layers, or one that does not exist.

    Source:
        Jiang et al. 2021, the fusion of the maps of different layers.
    """
    names = list(layers) if layers is not None else last_of_each_size(probe)
    if not names:
        raise ValueError("fusion requires at least one layer; received none")
    maps = []
    for depth, layer_probe in enumerate(probes(probe.model, probe.images, probe.objective, names)):
        heatmap = layer_cam(layer_probe)  # (N, h, w)
        maximum = heatmap.amax(dim=(1, 2), keepdim=True)  # (N, 1, 1)
        share = heatmap / torch.where(maximum > 0, maximum, 1)  # (N, h, w)
        maps.append(torch.tanh(gamma * share) if depth < len(names) - UNSCALED else share)
    size = max((heatmap.shape[1:] for heatmap in maps), key=lambda shape: shape[0] * shape[1])
    enlarged = [F.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)[:, 0] for m in maps]
    return torch.stack(enlarged).amax(dim=0)  # (N, h, w)


def last_of_each_size(probe: Probe) -> list[str]:
    """The last layer of each resolution from shallow to deep, up to the probe's layer."""
    found = layers(probe.model, probe.images)
    names = [name for name, _ in found]
    last: dict[tuple[int, ...], str] = {}
    for name, (_, height, width) in found[: names.index(probe.layer) + 1]:
        if height * width > 1:
            last.pop((height, width), None)
            last[height, width] = name
    return list(last.values())
