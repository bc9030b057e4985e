"""Localization measures: how well a map agrees with the mask of the object.

All measures take maps with one value per pixel (`evaluation.pixels.at_pixels`). Only positive evidence counts. A map
without positive evidence scores 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BestIou(NamedTuple):
    """Best intersection over union, and its threshold as a share of the maximum of the map."""

    iou: Tensor  # (...)
    threshold: Tensor  # (...), above 0 and at most 1; 0 without positive evidence


def pointing(heatmap: Tensor, mask: Tensor, tolerance: float = 0.0) -> Tensor:
    """Compute the pointing game: whether the maximum of the map lies on the object.

    If several pixels are maximal, the result is the share of them on the object. The paper allows a tolerance of 15
    pixels for photos of about 500 pixels; the default here is 0, for scenes of 64 pixels.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.
        tolerance: allowed distance from the object in pixels, at least 0.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: if shapes do not fit, a mask is empty, or the tolerance is negative.

    Source:
        Zhang et al. 2018, section 4.1.
    """
    evidence, flat = _checked(heatmap, mask)  # (..., HW) each
    if not 0 <= tolerance < float("inf"):
        raise ValueError(f"the tolerance must be at least 0 pixels; received {tolerance}")
    if tolerance:
        flat = _widened(mask, tolerance).flatten(-2)  # (..., HW)
    highest = evidence.amax(dim=-1, keepdim=True)  # (..., 1)
    at = (evidence == highest) & (highest > 0)  # (..., HW)
    return (at & flat).sum(dim=-1) / at.sum(dim=-1).clamp(min=1)  # (...)


def energy_inside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """Compute the energy-based pointing game: the share of the positive evidence on the object.

    A uniform map scores the share of the image that the object covers.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: if shapes do not fit or a mask is empty.

    Source:
        Wang et al. 2020, section 4.3.
    """
    evidence, flat = _checked(heatmap, mask)  # (..., HW) each
    highest = evidence.amax(dim=-1, keepdim=True)  # (..., 1)
    evidence = evidence / torch.where(highest > 0, highest, 1)  # (..., HW), avoids under- and overflow
    total = evidence.sum(dim=-1)  # (...)
    return (evidence * flat).sum(dim=-1) / torch.where(total > 0, total, 1)  # (...)


def best_iou(heatmap: Tensor, mask: Tensor) -> BestIou:
    """Compute the intersection over union of object and map at the best threshold for each image.

    The region of a threshold t > 0 is where the map is at least t. Choosing the best threshold requires the mask, so
    the result is an upper bound for any fixed threshold.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.

    Returns:
        Both (...): the best IoU and its threshold, the highest one if several are equally good.

    Raises:
        ValueError: if shapes do not fit or a mask is empty.

    Source:
        Choe et al. 2020, who use one threshold for all images.
    """
    evidence, flat = _checked(heatmap, mask)  # (..., HW) each
    values, order = evidence.sort(dim=-1, descending=True)  # (..., HW) each
    hits = flat.expand_as(evidence).gather(-1, order).cumsum(dim=-1)  # (..., HW), object pixels among the first ones
    count = torch.arange(1, values.shape[-1] + 1, device=values.device)  # (HW,)
    iou = hits / (count + flat.sum(dim=-1, keepdim=True) - hits)  # (..., HW)
    last = torch.ones_like(values, dtype=torch.bool)  # last of the pixels with equal values
    last[..., :-1] = values[..., :-1] > values[..., 1:]
    iou = torch.where(last & (values > 0), iou, 0.0)  # (..., HW)
    best, at = iou.max(dim=-1)  # (...) each; the first maximum has the highest threshold
    highest = values[..., 0]  # (...)
    threshold = values.gather(-1, at[..., None])[..., 0] / torch.where(highest > 0, highest, 1)  # (...)
    return BestIou(best, torch.where(best > 0, threshold, 0.0))


def grid_pointing(heatmap: Tensor, cell: int | Tensor, side: int = 2) -> Tensor:
    """Compute the grid pointing game: the share of the positive evidence in the correct cell of a mosaic.

    A uniform map scores 1 / side².

    Args:
        heatmap: (..., H, W) maps of a mosaic; H and W are multiples of `side`.
        cell: index of the cell of the explained class, row by row from 0; or (...) one index per map.
        side: number of cells per side.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: if the size is not divisible or the cell does not exist.

    Source:
        Böhle et al. 2021 (localization metric); Rao et al. 2022 (GridPG).
    """
    height, width = heatmap.shape[-2:] if heatmap.ndim >= 2 else (0, 0)
    if side < 1 or not height or height % side or width % side:
        raise ValueError(f"a map must be divisible into {side} x {side} cells; received shape {tuple(heatmap.shape)}")
    cells = torch.as_tensor(cell, device=heatmap.device)  # () or (...)
    if cells.is_floating_point() or not ((cells >= 0) & (cells < side * side)).all():
        raise ValueError(f"a cell must be an integer from 0 to {side * side - 1}; received {cells.tolist()}")
    row = torch.arange(height, device=heatmap.device) // (height // side)  # (H,)
    column = torch.arange(width, device=heatmap.device) // (width // side)  # (W,)
    mask = side * row[:, None] + column == cells[..., None, None]  # (..., H, W)
    return energy_inside(heatmap, mask)  # (...)


def _checked(heatmap: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Check the input and return the positive evidence and the mask, both (..., HW)."""
    fits = heatmap.ndim >= 2 and mask.ndim >= 2 and heatmap.shape[-2:] == mask.shape[-2:]
    if not fits or not heatmap.is_floating_point() or mask.dtype != torch.bool:
        raise ValueError(
            f"maps must be floating point and masks bool, both (..., H, W); received {heatmap.dtype} of shape "
            f"{tuple(heatmap.shape)} and {mask.dtype} of shape {tuple(mask.shape)}"
        )
    flat = mask.flatten(-2)  # (..., HW)
    if not flat.any(dim=-1).all():
        raise ValueError("a mask must have at least one pixel; received an empty mask, so no object is visible")
    return heatmap.detach().relu().flatten(-2), flat


def _widened(mask: Tensor, reach: float) -> Tensor:
    """Dilate the mask by `reach` pixels: (..., H, W)."""
    size = min(int(reach), max(mask.shape[-2:]))
    offsets = torch.arange(-size, size + 1, device=mask.device)  # (2 size + 1,)
    disc = (offsets[:, None] ** 2 + offsets**2 <= reach**2).float()[None, None]  # (1, 1, 2 size + 1, 2 size + 1)
    flat = mask.reshape(-1, 1, *mask.shape[-2:]).float()  # (M, 1, H, W)
    return (F.conv2d(flat, disc, padding=size) > 0.5).view_as(mask)  # (..., H, W)
