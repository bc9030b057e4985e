"""Editing of photos: filling a region, and selecting a region from a map or from painted cells."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution.engine.blur import gaussian_blur

Fill = Literal["mean", "blur", "inpaint"]
FILLS: tuple[Fill, ...] = get_args(Fill)
BLUR = 0.05  # standard deviation of the blur, as a share of the longer side
_NEIGHBORS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def fill(image: Tensor, mask: Tensor, how: Fill) -> Tensor:
    """Fill a region of an image; pixels outside the region do not change.

    "mean" uses the mean color of all pixels outside the region. "blur" uses the image blurred by a Gaussian with a
    standard deviation of 5% of the longer side, which keeps coarse colors. "inpaint" solves Laplace's equation, so that
    each filled pixel is the mean of its neighbors; it creates no texture.

    Args:
        image: uint8 (3, H, W).
        mask: bool (H, W), true in the region; an empty mask leaves the image unchanged.
        how: "mean", "blur" or "inpaint".

    Returns:
        uint8 (3, H, W), on the CPU.

    Raises:
        ValueError: if shapes or types do not fit, `how` is unknown, or the region is the whole image.
    """
    if how not in FILLS:
        raise ValueError(f"the fill must be one of {', '.join(FILLS)}; received {how!r}")
    if image.ndim != 3 or image.dtype != torch.uint8 or image.shape[0] != 3:
        raise ValueError(f"the image must be uint8 (3, H, W); received {image.dtype} of shape {tuple(image.shape)}")
    if mask.dtype != torch.bool or mask.shape != image.shape[1:]:
        raise ValueError(
            f"the mask must be bool {tuple(image.shape[1:])}, the size of the image; received {mask.dtype} "
            f"of shape {tuple(mask.shape)}"
        )
    if mask.all():
        raise ValueError("the region covers the whole image, so no other pixels remain: select a smaller region")
    filled: Tensor = image.detach().cpu().clone()  # (3, H, W)
    if mask.any():
        region = mask.cpu().numpy()  # (H, W)
        levels = filled.numpy().astype(np.float64)  # (3, H, W)
        values = {"mean": _mean, "blur": _blurred, "inpaint": _harmonic}[how](levels, region)  # (3, P)
        filled[:, mask.cpu()] = torch.from_numpy(np.rint(values).clip(0, 255).astype(np.uint8))
    return filled


def strongest(heatmap: Tensor, share: float) -> Tensor:
    """Select the pixels where a map is highest; only positive values count.

    Args:
        heatmap: (H, W), one value per pixel (see `evaluation.pixels.at_pixels`).
        share: share of the pixels to select, above 0 and at most 1; among equal values, the first are taken.

    Returns:
        bool (H, W), true in at most that share of the pixels; fewer if fewer are above 0.

    Raises:
        ValueError: if the shape does not fit, the share is out of range, or no value is above 0.
    """
    if heatmap.ndim != 2:
        raise ValueError(f"a map must be (H, W); received shape {tuple(heatmap.shape)}")
    if not 0 < share <= 1:
        raise ValueError(f"the share must be above 0 and at most 1; received {share}")
    if not (heatmap > 0).any():
        raise ValueError("the map shows no evidence for the class, so it has no strongest part: paint a region instead")
    count = max(1, round(share * heatmap.numel()))
    values, order = heatmap.detach().flatten().cpu().sort(descending=True, stable=True)  # (HW,) each
    region = torch.zeros(heatmap.numel(), dtype=torch.bool)
    region[order[:count][values[:count] > 0]] = True
    return region.view_as(heatmap)  # (H, W)


def enlarge(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a region painted on a coarse grid to the pixels of the image, with nearest neighbors.

    Args:
        cells: bool (r, c).
        size: (H, W) pixels.

    Returns:
        bool (H, W).

    Raises:
        ValueError: if shape or type does not fit.
    """
    if cells.ndim != 2 or cells.dtype != torch.bool or cells.numel() == 0:
        raise ValueError(f"painted cells must be bool (r, c); received {cells.dtype} of shape {tuple(cells.shape)}")
    row, column = ((2 * torch.arange(n) + 1) * k // (2 * n) for n, k in zip(size, cells.shape, strict=True))
    return cells[row][:, column]  # (H, W)


def _mean(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the mean color outside the region for its P pixels: (3, P)."""
    color = levels[:, ~region].mean(axis=1, keepdims=True)  # (3, 1)
    return np.broadcast_to(color, (3, int(region.sum())))


def _blurred(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the blurred image in the region, with replicated borders: (3, P)."""
    sigma = BLUR * max(region.shape)
    reach = int(4 * sigma + 0.5)  # as scipy.ndimage.gaussian_filter
    blurred: NDArray[np.float64] = gaussian_blur(torch.from_numpy(levels), sigma, reach=reach).numpy()  # (3, H, W)
    return blurred[:, region]


def _harmonic(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Solve Laplace's equation in the region with the surrounding pixels as boundary values: (3, P).

    Pixels at the image border have fewer neighbors and are the mean of those (zero flux through the border).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    rows, columns = np.nonzero(region)  # (P,) each
    count = len(rows)
    number = np.zeros(region.shape, np.int64)  # index of each pixel of the region
    number[region] = np.arange(count)
    neighbors = np.zeros(count)  # (P,)
    given = np.zeros((count, 3))  # (P, 3), sum of the known neighbors
    pairs: list[NDArray[np.int64]] = []  # (2, Q) each: neighboring pixels of the region
    for down, right in _NEIGHBORS:
        row, column = rows + down, columns + right
        there = np.nonzero((row >= 0) & (row < region.shape[0]) & (column >= 0) & (column < region.shape[1]))[0]
        row, column = row[there], column[there]
        neighbors[there] += 1
        inside = region[row, column]
        given[there[~inside]] += levels[:, row[~inside], column[~inside]].T
        pairs.append(np.stack([there[inside], number[row[inside], column[inside]]]))
    diagonal = np.arange(count)
    i, j = np.concatenate([*pairs, np.stack([diagonal, diagonal])], axis=1)  # (Q + P,) each
    weight = np.where(i == j, neighbors[i], -1.0)
    matrix = coo_array((weight, (i, j)), shape=(count, count)).tocsc()  # (P, P)
    solved: NDArray[np.float64] = spsolve(matrix, given, permc_spec="MMD_AT_PLUS_A")  # (P, 3)
    return solved.reshape(count, 3).T
