"""Localization: does a map point at the object, where it is known to the pixel where the object is?

All measures take maps at the pixels of the picture (`evaluation.pixels.at_pixels`). Only positive evidence counts: what
speaks against the class points nowhere. A map without any scores 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BestIou(NamedTuple):
    """The best intersection over union, and the threshold that gives it, as a share of the map's highest value."""

    iou: Tensor  # (...)
    threshold: Tensor  # (...), above 0 and at most 1; 0 for a map without positive evidence


def pointing(heatmap: Tensor, mask: Tensor, tolerance: float = 0.0) -> Tensor:
    """The pointing game: whether the map's highest pixel lies on the object.

    Where several pixels are highest, the share of them that lies on it: what choosing one of them blindly would hit.
    The paper allows 15 pixels on photos of about 500; on scenes of 64 the default is none.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.
        tolerance: pixels that a hit may lie off the object, at least 0.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: shapes that do not fit, a mask without a pixel, or a negative tolerance.

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
    """The energy-based pointing game: the share of the positive evidence that lies on the object.

    A map that is the same everywhere scores the object's share of the picture.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: shapes that do not fit, or a mask without a pixel.

    Source:
        Wang et al. 2020, section 4.3.
    """
    evidence, flat = _checked(heatmap, mask)  # (..., HW) each
    highest = evidence.amax(dim=-1, keepdim=True)  # (..., 1)
    evidence = evidence / torch.where(highest > 0, highest, 1)  # (..., HW), so that no sum under- or overflows
    total = evidence.sum(dim=-1)  # (...)
    return (evidence * flat).sum(dim=-1) / torch.where(total > 0, total, 1)  # (...)


def best_iou(heatmap: Tensor, mask: Tensor) -> BestIou:
    """The intersection over union of object and map at the threshold that is best for this very picture.

    The region of a threshold t > 0 is where the map is at least t. As the best threshold is looked up, this is what
    the map could reach, not what somebody without the mask would get from it.

    Args:
        heatmap: (..., H, W) maps.
        mask: bool (..., H, W), the object's pixels.

    Returns:
        Both (...): the best IoU and its threshold; of equally good ones the highest.

    Raises:
        ValueError: shapes that do not fit, or a mask without a pixel.

    Source:
        Choe et al. 2020 measure the same with one threshold for all pictures.
    """
    evidence, flat = _checked(heatmap, mask)  # (..., HW) each
    values, order = evidence.sort(dim=-1, descending=True)  # (..., HW) each
    hits = flat.expand_as(evidence).gather(-1, order).cumsum(dim=-1)  # (..., HW), pixels of the object among the first
    count = torch.arange(1, values.shape[-1] + 1, device=values.device)  # (HW,)
    iou = hits / (count + flat.sum(dim=-1, keepdim=True) - hits)  # (..., HW)
    last = torch.ones_like(values, dtype=torch.bool)  # of the pixels that have its value
    last[..., :-1] = values[..., :-1] > values[..., 1:]
    iou = torch.where(last & (values > 0), iou, 0.0)  # (..., HW)
    best, at = iou.max(dim=-1)  # (...) each; the first of equally good ones: that of the highest threshold
    highest = values[..., 0]  # (...)
    threshold = values.gather(-1, at[..., None])[..., 0] / torch.where(highest > 0, highest, 1)  # (...)
    return BestIou(best, torch.where(best > 0, threshold, 0.0))


def grid_pointing(heatmap: Tensor, cell: int | Tensor, side: int = 2) -> Tensor:
    """The grid pointing game: the share of the positive evidence in the right cell of a mosaic.

    A map that is the same everywhere scores 1 / side².

    Args:
        heatmap: (..., H, W) maps of a mosaic; H and W are multiples of `side`.
        cell: the cell of the class that is explained, counted row by row from 0; or (...) one for each map.
        side: cells along each side.

    Returns:
        (...), from 0 to 1.

    Raises:
        ValueError: a size that cannot be divided, or a cell that is not there.

    Source:
        Böhle et al. 2021 (localization metric); Rao et al. 2022 (GridPG).
    """
    height, width = heatmap.shape[-2:] if heatmap.ndim >= 2 else (0, 0)
    if side < 1 or not height or height % side or width % side:
        raise ValueError(f"a map must divide into {side} x {side} cells; received shape {tuple(heatmap.shape)}")
    cells = torch.as_tensor(cell, device=heatmap.device)  # () or (...)
    if cells.is_floating_point() or not ((cells >= 0) & (cells < side * side)).all():
        raise ValueError(f"a cell is a whole number from 0 to {side * side - 1}; received {cells.tolist()}")
    row = torch.arange(height, device=heatmap.device) // (height // side)  # (H,)
    column = torch.arange(width, device=heatmap.device) // (width // side)  # (W,)
    mask = side * row[:, None] + column == cells[..., None, None]  # (..., H, W)
    return energy_inside(heatmap, mask)  # (...)


def _checked(heatmap: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The positive evidence and the mask, both (..., HW)."""
    fits = heatmap.ndim >= 2 and mask.ndim >= 2 and heatmap.shape[-2:] == mask.shape[-2:]
    if not fits or not heatmap.is_floating_point() or mask.dtype != torch.bool:
        raise ValueError(
            f"maps must be floating point and masks bool, both (..., H, W); received {heatmap.dtype} of shape "
            f"{tuple(heatmap.shape)} and {mask.dtype} of shape {tuple(mask.shape)}"
        )
    flat = mask.flatten(-2)  # (..., HW)
    if not flat.any(dim=-1).all():
        raise ValueError("a mask must have at least one pixel; received one without: nothing of the object is visible")
    return heatmap.detach().relu().flatten(-2), flat


def _widened(mask: Tensor, reach: float) -> Tensor:
    """The pixels (..., H, W) at most `reach` pixels from the mask."""
    size = min(int(reach), max(mask.shape[-2:]))
    offsets = torch.arange(-size, size + 1, device=mask.device)  # (2 size + 1,)
    disc = (offsets[:, None] ** 2 + offsets**2 <= reach**2).float()[None, None]  # (1, 1, 2 size + 1, 2 size + 1)
    flat = mask.reshape(-1, 1, *mask.shape[-2:]).float()  # (M, 1, H, W)
    return (F.conv2d(flat, disc, padding=size) > 0.5).view_as(mask)  # (..., H, W)
