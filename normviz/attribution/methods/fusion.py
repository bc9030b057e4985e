"""Class activation maps of several layers in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.probe import Probe, layers, probes
from normviz.attribution.methods.gradient import layer_cam
from normviz.registry import Range, register

KEPT = 2  # of the deepest layers, whose maps are not lifted: the paper's stages 4 and 5 of 5


@register(
    title="LayerCAM, fused", kind="attribution", cite="jiang2021layercam", level="layer",
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
    """LayerCAM at several layers, laid over each other: the deep ones say what, the shallow ones where its edges are.

    Each map is divided by its own maximum, or the layers could not be compared; those of shallow layers are lifted by
    a tanh. All are enlarged to the largest (bilinear), and in each cell the highest counts.

    Args:
        probe: network, images, class and layer.
        gamma: how far the maps of shallow layers are lifted: all but the two deepest.
        layers: names of the layers, the shallowest first; without them, the last layer of each resolution up to the
            probe's.

    Returns:
        (N, h, w) at the largest layer's size, from 0 to 1.

    Raises:
        ValueError: no layers, or one that the model does not have.

    Source:
        Jiang et al. 2021, the fusion of the maps of different layers.
    """
    names = list(layers) if layers is not None else last_of_each_size(probe)
    if not names:
        raise ValueError("fusion needs at least one layer; received none")
    maps = []
    for depth, one in enumerate(probes(probe.model, probe.images, probe.objective, names)):
        heatmap = layer_cam(one)  # (N, h, w)
        highest = heatmap.amax(dim=(1, 2), keepdim=True)  # (N, 1, 1)
        share = heatmap / torch.where(highest > 0, highest, 1)  # (N, h, w)
        maps.append(torch.tanh(gamma * share) if depth < len(names) - KEPT else share)
    size = max((heatmap.shape[1:] for heatmap in maps), key=lambda shape: shape[0] * shape[1])
    enlarged = [F.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)[:, 0] for m in maps]
    return torch.stack(enlarged).amax(dim=0)  # (N, h, w)


def last_of_each_size(probe: Probe) -> list[str]:
    """The last layer of each resolution, the shallowest first, up to the probe's own, which is the last of its size."""
    found = layers(probe.model, probe.images)
    names = [name for name, _ in found]
    last: dict[tuple[int, ...], str] = {}
    for name, (_, height, width) in found[: names.index(probe.layer) + 1]:
        if height * width > 1:
            last.pop((height, width), None)
            last[height, width] = name
    return list(last.values())
