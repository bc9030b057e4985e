"""Faithfulness measures: deletion and insertion curves, average drop and increase in confidence.

If a map marks the pixels that the network used, the score falls fast when they are removed (deletion), rises fast when
they are restored (insertion), and does not drop when only they remain visible (drop and increase in confidence).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.evaluation.pixels import at_pixels

STEPS = 50  # images along a curve, without the first one
CHUNK = 32  # images in one forward pass
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Curve:
    """Score of the target while pixels are removed or restored.

    Attributes:
        shares: (P,) share of pixels removed or restored, increasing from 0 to 1.
        scores: (P,) probability or logit of the target.
    """

    shares: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve by the trapezoidal rule, in units of the score."""
        return float(np.trapezoid(self.scores, self.shares))

    def at(self, share: float) -> float:
        """Interpolate the score at a share of the pixels linearly."""
        return float(np.interp(share, self.shares, self.scores))


@dataclass(frozen=True)
class ConfidenceChange:
    """Probability of the target for a photo, and for the photo masked by its map."""

    before: float
    after: float

    @property
    def drop(self) -> float:
        """Relative drop of the probability; 0 if it rises."""
        return max(0.0, self.before - self.after) / self.before if self.before > 0 else 0.0

    @property
    def increased(self) -> bool:
        """Whether the probability is higher for the masked photo."""
        return self.after > self.before


def ranks(heatmap: Tensor, seed: int = 0) -> Tensor:
    """Rank the pixels by the map, the most relevant first.

    Pixels with equal values are ordered randomly, drawn from the seed on the CPU. Maps after a ReLU contain many zeros,
    which would otherwise be removed from top to bottom.

    Args:
        heatmap: (H, W), one value per pixel.
        seed: seed of the order of equal pixels.

    Returns:
        (H, W), int64, 0 for the most relevant pixel, on the CPU.
    """
    values = heatmap.detach().cpu().flatten()  # (P,)
    shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))  # (P,)
    order = shuffled[values[shuffled].argsort(descending=True, stable=True)]  # (P,), pixels from first to last
    places = torch.empty_like(order)  # (P,)
    places[order] = torch.arange(len(order))
    return places.view(heatmap.shape)  # (H, W)


def counts(pixels: int, steps: int) -> Tensor:
    """Compute the number of changed pixels in each image of a curve: (P,), int64, evenly spaced from 0 to all."""
    if steps < 1:
        raise ValueError(f"a curve needs at least 1 step; received {steps}")
    return torch.linspace(0, pixels, min(steps, pixels) + 1, dtype=torch.float64).round().long()  # (P,)


def deletion(
    probe: Probe,
    heatmap: Tensor,
    fill: Tensor,
    *,
    index: int = 0,
    steps: int = STEPS,
    probability: bool = True,
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Curve:
    """Compute the score while pixels are replaced, the most relevant first. A low area is good.

    Args:
        probe: network, images and target.
        heatmap: raw map of one image, (h, w) or (C, H, W); colors are summed and it is enlarged bilinearly.
        fill: (C, H, W) replacement values for removed pixels (see `normviz.evaluation.faithfulness.replacements`).
        index: index of the image in the probe.
        steps: images along the curve, evenly spaced, without the original image.
        probability: whether the score is the softmax probability instead of the logit.
        seed: seed of the order of pixels with equal values.
        chunk: images in one forward pass; affects only speed and memory.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.

    Returns:
        The curve over the share of removed pixels.

    Raises:
        ValueError: if map or fill do not fit the image, or if steps or chunk are below 1.

    Source:
        Petsiuk, Das & Saenko 2018 (1806.07421), the deletion metric.
    """
    image = probe.images[index]  # (C, H, W)
    return _curve(probe, heatmap, image, fill, index, steps, probability, seed, chunk, progress)


def insertion(
    probe: Probe,
    heatmap: Tensor,
    start: Tensor,
    *,
    index: int = 0,
    steps: int = STEPS,
    probability: bool = True,
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Curve:
    """Compute the score while pixels are restored, the most relevant first. A high area is good.

    Args:
        probe: network, images and target.
        heatmap: the map of one image, as in `deletion`.
        start: (C, H, W) initial image; the paper uses the blurred photo.
        index: index of the image in the probe.
        steps: images along the curve, without the initial image.
        probability: whether the score is the probability, as in `deletion`.
        seed: seed of the order of pixels with equal values.
        chunk: images in one forward pass.
        progress: called with the finished share after each chunk; may raise to cancel.

    Returns:
        The curve over the share of restored pixels.

    Raises:
        ValueError: as in `deletion`.

    Source:
        Petsiuk, Das & Saenko 2018 (1806.07421), the insertion metric.
    """
    image = probe.images[index]  # (C, H, W)
    return _curve(probe, heatmap, start, image, index, steps, probability, seed, chunk, progress)


def changed(before: Tensor, after: Tensor, places: Tensor, count: Tensor | int) -> Tensor:
    """Pictures whose first pixels are taken from another one.

    Args:
        before: (C, H, W).
        after: (C, H, W).
        places: (H, W), each pixel's place in the order.
        count: (b,) how many pixels are taken from `after`, or one number for one picture.

    Returns:
        (b, C, H, W).
    """
    several = torch.as_tensor(count, device=places.device).reshape(-1, 1, 1)  # (b, 1, 1)
    taken = (places < several)[:, None].to(before.device)  # (b, 1, H, W)
    return torch.where(taken, after, before)  # (b, C, H, W)


def _curve(
    probe: Probe, heatmap: Tensor, before: Tensor, after: Tensor, index: int, steps: int, probability: bool,
    seed: int, chunk: int, progress: Progress | None,
) -> Curve:  # fmt: skip
    """Compute the scores while the pixels of one image are replaced by those of another."""
    image = probe.images[index]  # (C, H, W)
    for picture in (before, after):
        if picture.shape != image.shape:
            raise ValueError(
                f"the replacement image must have the shape of the image, {tuple(image.shape)}; "
                f"received {tuple(picture.shape)}"
            )
    before, after = before.to(image), after.to(image)
    places = ranks(at_pixels(heatmap, (image.shape[1], image.shape[2])), seed)  # (H, W)
    several = counts(places.numel(), steps)  # (P,)
    scores = in_chunks(
        lambda part: probe.score_at(changed(before, after, places, part), index, probability), several, chunk, progress
    )  # (P,)
    return Curve(several.double().numpy() / places.numel(), scores)


def in_chunks(
    ask: Callable[[Tensor], Tensor], items: Tensor, chunk: int, progress: Progress | None
) -> NDArray[np.float64]:
    """Evaluate items (P, ...) in chunks and return their scores (P,).

    Args:
        ask: maps items (b, ...) to scores (b,).
        items: (P, ...) items.
        chunk: items per call, at least 1.
        progress: called with the finished share after each chunk.

    Raises:
        ValueError: if chunk is below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1; received {chunk}")
    parts, done = [], 0
    for part in torch.split(items, chunk):
        parts.append(ask(part).double().cpu())  # (b,)
        done += len(part)
        if progress:
            progress(done / len(items))
    scores: NDArray[np.float64] = torch.cat(parts).numpy()  # (P,)
    return scores


def masked_by_map(image: Tensor, heatmap: Tensor, dark: Tensor) -> Tensor:
    """Mask a photo by its map: dark + L (image - dark), L = relu(map) / max(relu(map)) at the pixels.

    If `dark` is black, this is the product of photo and map. Negative evidence counts as 0. The minimum of the map is
    not shifted to 0, because that would always make some pixel irrelevant. An empty map returns `dark`.

    Args:
        image: (C, H, W).
        heatmap: raw map, as in `deletion`.
        dark: (C, H, W) image shown where the map is 0.

    Returns:
        (C, H, W).
    """
    light = at_pixels(heatmap, (image.shape[1], image.shape[2])).to(image).relu()  # (H, W)
    light = light / light.max().clamp(min=torch.finfo(light.dtype).tiny)  # (H, W), at most 1
    return torch.lerp(dark.to(image), image, light.expand_as(image))  # (C, H, W)


def confidence_change(probe: Probe, heatmap: Tensor, dark: Tensor, *, index: int = 0) -> ConfidenceChange:
    """Compute the probability of the target for the photo and for the photo masked by its map.

    Over several photos, the mean of `drop` is the average drop (low is good) and the share of `increased` is the
    increase in confidence (high is good). A uniform map has no drop, so use both together with the curves.

    Args:
        probe: network, images and target.
        heatmap: the map of one image, as in `deletion`.
        dark: (C, H, W) image shown where the map is 0; black in the paper, which multiplies image and map.
        index: index of the image in the probe.

    Source:
        Chattopadhay et al. 2018 (1710.11063), average drop and increase in confidence.
    """
    image = probe.images[index]  # (C, H, W)
    pair = torch.stack([image, masked_by_map(image, heatmap, dark)])  # (2, C, H, W)
    before, after = probe.score_at(pair, index, True).double().tolist()
    return ConfidenceChange(before, after)
