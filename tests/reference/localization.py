"""Slow reference of the localization measures as loops over pixels, from the papers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def pointing(heatmap: Map, mask: Mask, tolerance: float = 0.0) -> float:
    """Zhang et al. 2018: the maximum hits if an object pixel is within the tolerance; ties count by their share."""
    height, width = heatmap.shape
    highest = max(heatmap[i, j] for i in range(height) for j in range(width))
    if highest <= 0:
        return 0.0
    tops = [(i, j) for i in range(height) for j in range(width) if heatmap[i, j] == highest]
    there = [(i, j) for i in range(height) for j in range(width) if mask[i, j]]
    hits = sum(any(math.hypot(i - a, j - b) <= tolerance for a, b in there) for i, j in tops)
    return hits / len(tops)


def energy_inside(heatmap: Map, mask: Mask) -> float:
    """Wang et al. 2020: sum of the map inside over sum inside and outside, of its positive part."""
    inside = outside = 0.0
    for (i, j), value in np.ndenumerate(heatmap):
        if mask[i, j]:
            inside += max(value, 0.0)
        else:
            outside += max(value, 0.0)
    return inside / (inside + outside) if inside + outside > 0 else 0.0


def best_iou(heatmap: Map, mask: Mask) -> tuple[float, float]:
    """Try every positive value as a threshold, the highest first."""
    best, threshold = 0.0, 0.0
    for t in sorted({float(v) for v in heatmap.flatten() if v > 0}, reverse=True):
        region = {(i, j) for (i, j), v in np.ndenumerate(heatmap) if v >= t}
        there = {(i, j) for (i, j), inside in np.ndenumerate(mask) if inside}
        iou = len(region & there) / len(region | there)
        if iou > best:
            best, threshold = iou, t / float(heatmap.max())
    return best, threshold


def grid_pointing(heatmap: Map, cell: int, side: int) -> float:
    """Böhle et al. 2021: positive attribution in the cell over that in all cells."""
    h, w = heatmap.shape[0] // side, heatmap.shape[1] // side
    sums = [
        np.clip(heatmap[a * h : (a + 1) * h, b * w : (b + 1) * w], 0, None).sum()
        for a in range(side)
        for b in range(side)
    ]
    return float(sums[cell] / sum(sums)) if sum(sums) > 0 else 0.0
