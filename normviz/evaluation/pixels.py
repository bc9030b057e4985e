"""Conversion of a raw map to one number per pixel, the common format for evaluation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.images import sum_channels


def at_pixels(heatmap: Tensor, size: tuple[int, int]) -> Tensor:
    """Convert a raw map to one value per pixel: sum over colors, then bilinear enlarging (`align_corners=False`).

    Sign, unit, dtype and device do not change; a map of the right size keeps its values.

    Args:
        heatmap: (h, w) at a layer or (C, H, W) at the input, as returned by a method for one image.
        size: (H, W) pixels.

    Returns:
        (H, W).

    Raises:
        ValueError: if the shape does not fit, a size is below 1, or values are not finite.
    """
    if heatmap.ndim not in (2, 3) or heatmap.numel() == 0 or not heatmap.is_floating_point():
        raise ValueError(
            f"a map must be floating point, (h, w) or (C, H, W), for one image; received {heatmap.dtype} "
            f"of shape {tuple(heatmap.shape)}"
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"the size must be (H, W), at least 1 pixel each; received {tuple(size)}")
    if not torch.isfinite(heatmap).all():
        raise ValueError("a map must be finite to be judged; received NaN or infinity")
    flat = sum_channels(heatmap.detach())  # (h, w)
    if tuple(flat.shape) == tuple(size):
        return flat  # (H, W)
    return F.interpolate(flat[None, None], size=tuple(size), mode="bilinear", align_corners=False)[0, 0]  # (H, W)
