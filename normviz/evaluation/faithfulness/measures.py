"""Is a map true? The network is asked again about the photo with what the map marks taken away, or put back.

A map that marks what the network used makes the score fall fast when the marked pixels go (deletion), rise fast when
they come back (insertion), and stay when they alone are left (drop and increase in confidence).
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

STEPS = 50  # pictures along a curve, beside the first one
CHUNK = 32  # pictures in one forward pass
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Curve:
    """The score of the target while pixels change.

    Attributes:
        shares: (P,) share of the pixels that were removed or put back, rising from 0 to 1.
        scores: (P,) the target's probability or logit.
    """

    shares: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoid rule, in units of the score."""
        return float(np.trapezoid(self.scores, self.shares))

    def at(self, share: float) -> float:
        """The score at a share of the pixels, between two pictures on the line that joins them."""
        return float(np.interp(share, self.shares, self.scores))


@dataclass(frozen=True)
class ConfidenceChange:
    """The target's probability for a photo, and for the photo seen through its map."""

    before: float
    after: float

    @property
    def drop(self) -> float:
        """The share of the probability that is lost, 0 where it rose."""
        return max(0.0, self.before - self.after) / self.before if self.before > 0 else 0.0

    @property
    def increased(self) -> bool:
        """Whether the probability is higher with the map's pixels alone."""
        return self.after > self.before


def ranks(heatmap: Tensor, seed: int = 0) -> Tensor:
    """The place of each pixel when they are ordered by the map, the most relevant first.

    Pixels with the same value follow each other in random order, drawn from the seed on the CPU. Maps after a ReLU
    hold many zeros; left in reading order, these would be removed from the top down.

    Args:
        heatmap: (H, W), one number for each pixel.
        seed: of the order of equal pixels.

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
    """How many pixels are changed in each picture of a curve: (P,), int64, from none to all, evenly spaced."""
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
    """The score while the photo's pixels are replaced, those that the map marks most first. Low is good.

    Args:
        probe: network, images and target.
        heatmap: the map of one image: raw, (h, w) or (C, H, W); its colors are added up, it is enlarged bilinearly.
        fill: (C, H, W), what stands where pixels are removed (see `normviz.evaluation.faithfulness.replacements`).
        index: which of the probe's images.
        steps: pictures along the curve, evenly spaced, beside the untouched one.
        probability: whether the score is the softmax probability; otherwise the target's scalar itself, a logit.
        seed: of the order of pixels with the same value.
        chunk: pictures in one forward pass; changes speed and memory only.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.

    Returns:
        The curve over the share of removed pixels.

    Raises:
        ValueError: a map or a fill that does not fit the image, or steps or chunk below 1.

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
    """The score while the photo's pixels are put back, those that the map marks most first. High is good.

    Args:
        probe: network, images and target.
        heatmap: the map of one image, as in `deletion`.
        start: (C, H, W), the picture that pixels are put into; the paper starts from the blurred photo.
        index: which of the probe's images.
        steps: pictures along the curve, beside the start.
        probability: whether the score is the probability, as in `deletion`.
        seed: of the order of pixels with the same value.
        chunk: pictures in one forward pass.
        progress: called with the finished share after each chunk; may raise to cancel.

    Returns:
        The curve over the share of pixels that were put back.

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
    """The scores on the way from one picture to another."""
    image = probe.images[index]  # (C, H, W)
    for picture in (before, after):
        if picture.shape != image.shape:
            raise ValueError(
                f"what replaces the pixels must have the image's shape {tuple(image.shape)}; "
                f"received {tuple(picture.shape)}"
            )
    before, after = before.to(image), after.to(image)
    places = ranks(at_pixels(heatmap, (image.shape[1], image.shape[2])), seed)  # (H, W)
    several = counts(places.numel(), steps)  # (P,)
    scores = in_chunks(
        lambda part: probe.ask(changed(before, after, places, part), index, probability), several, chunk, progress
    )  # (P,)
    return Curve(several.double().numpy() / places.numel(), scores)


def in_chunks(
    ask: Callable[[Tensor], Tensor], items: Tensor, chunk: int, progress: Progress | None
) -> NDArray[np.float64]:
    """The answers (P,) to items (P, ...), some at a time.

    Args:
        ask: maps items (b, ...) to scores (b,).
        items: what is asked about.
        chunk: how many at a time, at least 1.
        progress: called with the finished share after each chunk.

    Raises:
        ValueError: chunk below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1; received {chunk}")
    answers, done = [], 0
    for part in torch.split(items, chunk):
        answers.append(ask(part).double().cpu())  # (b,)
        done += len(part)
        if progress:
            progress(done / len(items))
    scores: NDArray[np.float64] = torch.cat(answers).numpy()  # (P,)
    return scores


def masked_by_map(image: Tensor, heatmap: Tensor, dark: Tensor) -> Tensor:
    """The photo lit by its map: dark + L (image - dark), L = relu(map) / max(relu(map)) at the pixels.

    With black as the dark, this is the product of photo and map in colors. Evidence against the class counts as
    none. The least value is not moved to 0: that would call some pixel irrelevant in any case. An empty map leaves
    the dark alone.

    Args:
        image: (C, H, W).
        heatmap: the map, raw, as in `deletion`.
        dark: (C, H, W), what is seen where the map is 0.

    Returns:
        (C, H, W).
    """
    light = at_pixels(heatmap, (image.shape[1], image.shape[2])).to(image).relu()  # (H, W)
    light = light / light.max().clamp(min=torch.finfo(light.dtype).tiny)  # (H, W), at most 1
    return torch.lerp(dark.to(image), image, light.expand_as(image))  # (C, H, W)


def confidence_change(probe: Probe, heatmap: Tensor, dark: Tensor, *, index: int = 0) -> ConfidenceChange:
    """The target's probability of the photo, and of the photo seen through its map.

    Over several photos the mean of `drop` is the average drop (low is good), the share of `increased` is the increase
    in confidence (high is good). A map that is bright everywhere loses nothing: read both beside the curves.

    Args:
        probe: network, images and target.
        heatmap: the map of one image, as in `deletion`.
        dark: (C, H, W), what is seen where the map is 0; black in the paper, whose image is multiplied by the map.
        index: which of the probe's images.

    Source:
        Chattopadhay et al. 2018 (1710.11063), average drop and increase in confidence.
    """
    image = probe.images[index]  # (C, H, W)
    pair = torch.stack([image, masked_by_map(image, heatmap, dark)])  # (2, C, H, W)
    before, after = probe.ask(pair, index, True).double().tolist()
    return ConfidenceChange(before, after)
