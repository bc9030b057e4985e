"""ROAD: faithfulness with noisy linear imputation, so that the shape of the removed region gives no information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.evaluation.faithfulness.measures import CHUNK, Progress, in_chunks, ranks
from normviz.evaluation.pixels import at_pixels

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # shares of removed pixels
NOISE = 0.01  # standard deviation of the noise on imputed pixels, in units of the network's input
NEIGHBORS = {
    (row, column): 1 / 6 if 0 in (row, column) else 1 / 12
    for row in (-1, 0, 1)
    for column in (-1, 0, 1)
    if (row, column) != (0, 0)
}  # weight by offset: 4 / 6 + 4 / 12 = 1


@dataclass(frozen=True)
class Road:
    """Score of the target with imputed pixels.

    Attributes:
        shares: (P,) shares of removed pixels.
        most: (P,) scores with the most relevant pixels removed first; low is good.
        least: (P,) scores with the least relevant pixels removed first; high is good.
    """

    shares: NDArray[np.float64]
    most: NDArray[np.float64]
    least: NDArray[np.float64]

    @property
    def gap(self) -> float:
        """Mean of least - most: how much higher the score is if the least relevant pixels are removed."""
        return float((self.least - self.most).mean())


def road(
    probe: Probe,
    heatmap: Tensor,
    *,
    index: int = 0,
    shares: Sequence[float] = SHARES,
    probability: bool = True,
    noise: float = NOISE,
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Road:
    """Compute the score while pixels are imputed, most relevant first and least relevant first.

    The paper reports the accuracy on a data set; this function returns the score of one photo.

    Args:
        probe: network, images and target.
        heatmap: raw map of one image, (h, w) or (C, H, W).
        index: index of the image in the probe.
        shares: shares of removed pixels, above 0 and below 1.
        probability: whether the score is the softmax probability instead of the logit.
        noise: standard deviation of the noise on imputed pixels, in units of the network input.
        seed: seed of the noise and of the order of pixels with equal values.
        chunk: images in one forward pass.
        progress: called with the finished share after each chunk; may raise to cancel.

    Raises:
        ValueError: if a share leaves or removes no pixel, or if the map does not fit.

    Source:
        Rong et al. 2022 (2202.00449), section on noisy linear imputation.
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"the shares of removed pixels must be above 0 and below 1; received {list(shares)}")
    image = probe.images[index]  # (C, H, W)
    places = ranks(at_pixels(heatmap, (image.shape[1], image.shape[2])), seed)  # (H, W)
    several = [round(share * places.numel()) for share in shares]
    if min(several) < 1 or max(several) >= places.numel():
        raise ValueError(f"an image of {places.numel()} pixels is too small for shares of {list(shares)}")
    holes = torch.stack(
        [places < count for count in several] + [places >= places.numel() - count for count in several]
    )  # (2 P, H, W)

    def ask(part: Tensor) -> Tensor:
        pictures = torch.stack([impute(image, hole, noise, seed) for hole in part])  # (b, C, H, W)
        return probe.score_at(pictures, index, probability)  # (b,)

    most, least = np.split(in_chunks(ask, holes, chunk, progress), 2)  # (P,), (P,)
    return Road(np.array(several) / places.numel(), most, least)


def impute(image: Tensor, hole: Tensor, noise: float = NOISE, seed: int = 0) -> Tensor:
    """Replace removed pixels by the weighted mean of their eight neighbors, plus noise.

    All removed pixels are the unknowns of one sparse symmetric system, solved in float64 with SuperLU (scipy).
    Horizontal and vertical neighbors have the weight 1/6 and diagonal ones 1/12; at the border, the weights of the
    neighbors inside are scaled to add up to 1.

    Args:
        image: (C, H, W).
        hole: bool (H, W), the removed pixels; at least one pixel must remain.
        noise: standard deviation of the noise, drawn on the CPU for every pixel and added to the removed ones.
        seed: seed of the noise.

    Returns:
        (C, H, W); the other pixels do not change.

    Raises:
        ValueError: if no pixel remains.

    Source:
        Rong et al. 2022 (2202.00449), section on noisy linear imputation.
    """
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    gone = hole.detach().cpu().numpy().astype(bool)  # (H, W)
    if gone.all():
        raise ValueError("at least one pixel must remain for imputation; received a hole that covers the whole image")
    if not gone.any():
        return image
    pixels = image.detach().double().cpu().numpy().copy()  # (C, H, W)
    height, width = gone.shape
    number = np.full(gone.shape, -1)  # (H, W), the index of each unknown
    number[gone] = np.arange(gone.sum())
    row, column = np.nonzero(gone)  # (U,), (U,)
    weight_sum, known = np.zeros(len(row)), np.zeros((len(row), len(pixels)))  # (U,), (U, C)
    lines, others, values = [], [], []
    for (down, right), weight in NEIGHBORS.items():
        r, c = row + down, column + right
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)  # (U,)
        weight_sum[inside] += weight
        at, r, c = np.nonzero(inside)[0], r[inside], c[inside]
        free = gone[r, c]
        known[at[~free]] += weight * pixels[:, r[~free], c[~free]].T  # each pixel has one neighbor at this offset
        lines.append(at[free])
        others.append(number[r[free], c[free]])
        values.append(np.full(int(free.sum()), -weight))
    unknowns = np.arange(len(row))
    entries = np.concatenate([*values, weight_sum])
    where = np.concatenate([*lines, unknowns]), np.concatenate([*others, unknowns])
    system = csc_array((entries, where), shape=(len(row), len(row)))  # (U, U)
    solver = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    found = solver.solve(known)  # (U, C)
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(image.shape, generator=generator, dtype=torch.float64).numpy()  # (C, H, W)
    pixels[:, row, column] = found.T + noise * grain[:, row, column]
    return torch.from_numpy(pixels).to(image)  # (C, H, W)
