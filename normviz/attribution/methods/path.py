"""Attribution along a path from a baseline to the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, get_args

import torch
from torch import Tensor

from normviz.attribution.engine.averaging import averaged_map
from normviz.attribution.engine.blur import gaussian_blur
from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, attribution

__all__ = ["integrated_gradients"]

Baseline = Literal["mean", "black", "blur"]
BLUR = 1 / 16  # standard deviation of the blur, as a fraction of the image's longer side
GOLDEN = (5**0.5 - 1) / 2


@attribution(
    title="Integrated gradients", cite="sundararajan2017axiomatic", level="input", unit="logits",
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
    """The contribution of each input value to the change of the logit from a baseline to the image.

    The integral is computed with the midpoint rule; its points are evaluated in an order that covers the path evenly.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.
        baseline: start of the path. "mean": zeros, the mean color of the training data; "black": the minimum of each
            color in the image; "blur": the blurred image.
        steps: number of points at which the gradient is computed.
        chunk: points per pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map so far.
        note: called with a sentence that compares the sum of the map with the change of the logit.

    Returns:
        (N, C, H, W), signed, in logits.

    Raises:
        ValueError: chunk or steps below 1, or an unknown baseline.

    Source:
        Sundararajan et al. 2017, Eq. 1 and 3; the points of Eq. 3 are moved to the midpoints of the steps.
    """
    start = baseline_of(probe.images, baseline)  # (N, C, H, W)
    path = probe.images - start  # (N, C, H, W)
    order = sorted(range(steps), key=lambda step: step * GOLDEN % 1)

    def part(index: int, points: range) -> Tensor:
        shares = torch.tensor([(order[s] + 0.5) / steps for s in points]).to(path).view(-1, 1, 1, 1)  # (b, 1, 1, 1)
        return probe.gradient_at(start[index] + shares * path[index], index).sum(dim=0)  # (C, H, W)

    heatmap = averaged_map(len(path), steps, chunk, part, lambda gradients: path * gradients, progress, preview)
    if note:
        note(_completeness(probe, start, heatmap, steps))
    return heatmap


def baseline_of(images: Tensor, kind: Baseline) -> Tensor:
    """The start (N, C, H, W) of the path to `images` (N, C, H, W).

    Raises:
        ValueError: an unknown baseline.
    """
    if kind == "mean":
        return torch.zeros_like(images)  # (N, C, H, W)
    if kind == "black":
        return images.amin(dim=(2, 3), keepdim=True).expand_as(images)  # (N, C, H, W)
    if kind == "blur":
        return gaussian_blur(images, BLUR * max(images.shape[2:]))  # (N, C, H, W)
    raise ValueError(f"integrated_gradients supports the baselines {', '.join(get_args(Baseline))}; received {kind!r}")


def _completeness(probe: Probe, start: Tensor, heatmap: Tensor, steps: int) -> str:
    """A sentence that compares the map's sum with the change of the score, for the image with the largest error."""
    sums = heatmap.sum(dim=(1, 2, 3))  # (N,)
    ends = [probe.score_at(torch.stack([probe.images[i], start[i]]), i) for i in range(len(start))]  # N of (2,)
    changes = torch.stack([end[0] - end[1] for end in ends])  # (N,)
    worst = int((sums - changes).abs().argmax())
    total, change = float(sums[worst]), float(changes[worst])
    return (
        f"Approximated with {steps} points: the map sums to {total:.4g}, and the score changes by {change:.4g} from "
        f"the baseline to the image; the error is {abs(total - change):.2g}."
    )
