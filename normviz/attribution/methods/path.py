"""Attribution along a path from a picture that says nothing to the picture itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, get_args

import torch
from torch import Tensor

from normviz.attribution.engine.averaging import averaged_map
from normviz.attribution.engine.blur import gaussian_blur
from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, register

Baseline = Literal["mean", "black", "blur"]
BLUR = 1 / 16  # standard deviation of the blur, as a share of the picture's longer side
GOLDEN = (5**0.5 - 1) / 2


@register(
    title="Integrated gradients", kind="attribution", cite="sundararajan2017axiomatic", level="input", unit="logits",
    aliases=("IG",),
    formula=r"M = (x - x') \odot \frac{1}{m} \sum_{s=1}^{m} \frac{\partial S_c}{\partial x} "
    r"\Big(x' + \frac{s - 1/2}{m}\,(x - x')\Big), \quad \sum M \to S_c(x) - S_c(x')",
)  # fmt: skip
def integrated_gradients(
    probe: Probe,
    baseline: Baseline = "mean",
    steps: Annotated[int, Range(1, 1000, "m")] = 50,
    *,
    chunk: int = 8,
    progress: Callable[[float], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """What each value of the picture adds to the class's logit on the straight way from a baseline to the picture.

    The integral is taken by the midpoint rule; its points are visited spread over the whole way.

    Args:
        probe: network, images (N, C, H, W) and class; the layer plays no part.
        baseline: where the way begins. "mean": zeros, which is the mean color of the training photos. "black": each
            color at the lowest value that it has in the picture. "blur": the picture, blurred.
        steps: points on the way at which the gradient is taken.
        chunk: points in one pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map so far after each chunk.
        note: called with a sentence that says how far the map's sum is from the change of the logit.

    Returns:
        (N, C, H, W), signed, in logits.

    Raises:
        ValueError: a chunk or steps below 1, or an unknown baseline.

    Source:
        Sundararajan et al. 2017, Eq. 1 and 3; the points of Eq. 3 are moved to the middles of their steps.
    """
    start = baseline_of(probe.images, baseline)  # (N, C, H, W)
    way = probe.images - start  # (N, C, H, W)
    order = sorted(range(steps), key=lambda step: step * GOLDEN % 1)

    def part(index: int, some: range) -> Tensor:
        shares = torch.tensor([(order[s] + 0.5) / steps for s in some]).to(way).view(-1, 1, 1, 1)  # (b, 1, 1, 1)
        return probe.gradient_at(start[index] + shares * way[index], index).sum(dim=0)  # (C, H, W)

    heatmap = averaged_map(len(way), steps, chunk, part, lambda gradients: way * gradients, progress, preview)
    if note:
        note(_completeness(probe, start, heatmap, steps))
    return heatmap


def baseline_of(images: Tensor, kind: Baseline) -> Tensor:
    """The pictures (N, C, H, W) at which the way to `images` (N, C, H, W) begins.

    Raises:
        ValueError: a baseline that is not offered.
    """
    if kind == "mean":
        return torch.zeros_like(images)  # (N, C, H, W)
    if kind == "black":
        return images.amin(dim=(2, 3), keepdim=True).expand_as(images)  # (N, C, H, W)
    if kind == "blur":
        return gaussian_blur(images, BLUR * max(images.shape[2:]))  # (N, C, H, W)
    raise ValueError(f"integrated_gradients offers the baselines {', '.join(get_args(Baseline))}; received {kind!r}")


def _completeness(probe: Probe, start: Tensor, heatmap: Tensor, steps: int) -> str:
    """How far the map's sum is from the change of the score, for the image where it is furthest."""
    sums = heatmap.sum(dim=(1, 2, 3))  # (N,)
    ends = [probe.score_at(torch.stack([probe.images[i], start[i]]), i) for i in range(len(start))]  # N of (2,)
    changes = torch.stack([end[0] - end[1] for end in ends])  # (N,)
    worst = int((sums - changes).abs().argmax())
    total, change = float(sums[worst]), float(changes[worst])
    return (
        f"Taken at {steps} points, so an approximation: the map adds up to {total:.4g}, the score changes by "
        f"{change:.4g} on the way from the baseline; {abs(total - change):.2g} is unaccounted for."
    )
