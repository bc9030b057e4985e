"""A raw map as one number for each pixel of the photo, the common ground on which maps are judged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.images import sum_channels


def at_pixels(heatmap: Tensor, size: tuple[int, int]) -> Tensor:
    """A raw map at the pixels of the photo: colors added up, enlarged bilinearly (`align_corners=False`).

    Signs, units, precision and device stay; a map that has the size already keeps its numbers.

    Args:
        heatmap: (h, w) of a layer, or (C, H, W) at the input; as a method returns it for one image.
        size: (H, W) pixels.

    Returns:
        (H, W).

    Raises:
        ValueError: another shape, a size below 1, or values that are not finite.
    """
    if heatmap.ndim not in (2, 3) or heatmap.numel() == 0 or not heatmap.is_floating_point():
        raise ValueError(
            f"a map must be floating point (h, w) or (C, H, W), that of one image; received {heatmap.dtype} "
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
