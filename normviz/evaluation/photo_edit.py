"""Edit and verify: a region of a picture is filled, and the network is asked again."""

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
    """The picture with a region filled; outside the region nothing changes.

    "mean" gives the region the mean color of all pixels outside it. "blur" shows the region through a Gaussian of
    a twentieth of the picture's longer side, so its rough colors stay. "inpaint" continues the surroundings: it
    solves Laplace's equation, so that each filled pixel is the mean of its neighbors (harmonic; no texture is made).

    Args:
        image: uint8 (3, H, W).
        mask: bool (H, W), true in the region; where it is true nowhere, the picture stays as it is.
        how: "mean", "blur" or "inpaint".

    Returns:
        uint8 (3, H, W), on the CPU.

    Raises:
        ValueError: other shapes or types, an unknown fill, or a region that is the whole picture.
    """
    if how not in FILLS:
        raise ValueError(f"a region can be filled by {', '.join(FILLS)}; received {how!r}")
    if image.ndim != 3 or image.dtype != torch.uint8 or image.shape[0] != 3:
        raise ValueError(f"the picture must be uint8 (3, H, W); received {image.dtype} of shape {tuple(image.shape)}")
    if mask.dtype != torch.bool or mask.shape != image.shape[1:]:
        raise ValueError(
            f"the mask must be bool {tuple(image.shape[1:])}, as large as the picture; received {mask.dtype} "
            f"of shape {tuple(mask.shape)}"
        )
    if mask.all():
        raise ValueError("the region is the whole picture, so nothing is left to judge by: leave a part of it out")
    filled: Tensor = image.detach().cpu().clone()  # (3, H, W)
    if mask.any():
        region = mask.cpu().numpy()  # (H, W)
        levels = filled.numpy().astype(np.float64)  # (3, H, W)
        values = {"mean": _mean, "blur": _blurred, "inpaint": _harmonic}[how](levels, region)  # (3, P)
        filled[:, mask.cpu()] = torch.from_numpy(np.rint(values).clip(0, 255).astype(np.uint8))
    return filled


def strongest(heatmap: Tensor, share: float) -> Tensor:
    """The pixels where a map is highest, as a region; only evidence for the class counts.

    Args:
        heatmap: (H, W), at the picture's pixels (`evaluation.pixels.at_pixels`).
        share: how many of all pixels, above 0 and at most 1; of equal ones the first are taken.

    Returns:
        bool (H, W), true in at most that share of the pixels: fewer where fewer are above 0.

    Raises:
        ValueError: another shape, a share out of range, or a map without a value above 0.
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
    """A region painted on a coarse grid of cells, at the pixels of the picture: a pixel is in where its cell is.

    Args:
        cells: bool (r, c).
        size: (H, W) pixels.

    Returns:
        bool (H, W).

    Raises:
        ValueError: another shape or type.
    """
    if cells.ndim != 2 or cells.dtype != torch.bool or cells.numel() == 0:
        raise ValueError(f"painted cells must be bool (r, c); received {cells.dtype} of shape {tuple(cells.shape)}")
    row, column = ((2 * torch.arange(n) + 1) * k // (2 * n) for n, k in zip(size, cells.shape, strict=True))
    return cells[row][:, column]  # (H, W)


def _mean(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean color outside the region, for each of its P pixels: (3, P)."""
    color = levels[:, ~region].mean(axis=1, keepdims=True)  # (3, 1)
    return np.broadcast_to(color, (3, int(region.sum())))


def _blurred(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The blurred picture in the region; beyond its border the picture goes on with the border's pixels: (3, P)."""
    sigma = BLUR * max(region.shape)
    reach = int(4 * sigma + 0.5)  # as scipy.ndimage.gaussian_filter
    blurred: NDArray[np.float64] = gaussian_blur(torch.from_numpy(levels), sigma, reach=reach).numpy()  # (3, H, W)
    return blurred[:, region]


def _harmonic(levels: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The solution of Laplace's equation in the region, the pixels around it given: (3, P).

    At the picture's own border a pixel has fewer neighbors and is the mean of those (no flow through the border).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    rows, columns = np.nonzero(region)  # (P,) each
    count = len(rows)
    number = np.zeros(region.shape, np.int64)  # of each pixel of the region among all of them
    number[region] = np.arange(count)
    neighbors = np.zeros(count)  # (P,)
    given = np.zeros((count, 3))  # (P, 3), the sum of the neighbors that are known
    pairs: list[NDArray[np.int64]] = []  # (2, Q) each: pixels of the region that are neighbors
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
