"""Baseline maps that do not depend on the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 0.25  # standard deviation of the center map as a share of each side


def random_map(size: tuple[int, int], seed: int, cells: tuple[int, int] | None = None) -> Tensor:
    """Draw a random map on the CPU, so that a seed gives the same map on every machine.

    Single random pixels are not a fair baseline for a coarse map, because removing scattered pixels destroys the
    texture everywhere. With `cells`, the random map is as coarse as the map it is compared with.

    Args:
        size: (H, W) pixels.
        seed: seed of the generator.
        cells: (h, w) random cells, enlarged bilinearly; None: one number per pixel.

    Returns:
        (H, W), float32, uniform in [0, 1) before enlarging.

    Raises:
        ValueError: if a size is below 1.
    """
    for rows, columns in (size, cells or size):
        _check(rows, columns)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(*(cells or size), generator=generator)  # (h, w)
    if cells is None or tuple(cells) == tuple(size):
        return drawn  # (H, W)
    return F.interpolate(drawn[None, None], size=tuple(size), mode="bilinear", align_corners=False)[0, 0]  # (H, W)


def center_map(size: tuple[int, int]) -> Tensor:
    """Compute a Gaussian at the image center, with a standard deviation of a quarter of each side.

    It is a strong baseline, because objects are usually near the center of a photo.

    Args:
        size: (H, W) pixels.

    Returns:
        (H, W), float32, above 0 and at most 1.

    Raises:
        ValueError: if a size is below 1.
    """
    _check(*size)
    rows, columns = ((torch.arange(n, dtype=torch.float32) + 0.5) / n - 0.5 for n in size)  # (H,), (W,), in sides
    distance = rows[:, None].square() + columns[None, :].square()  # (H, W)
    return (-distance / (2 * WIDTH**2)).exp()  # (H, W)


def sobel_map(image: Tensor) -> Tensor:
    """Compute the magnitude of the Sobel gradient of the mean over the colors.

    The border is replicated, and the magnitude is divided by sqrt(2), as in scikit-image.

    Args:
        image: (C, H, W), uint8 or floating point.

    Returns:
        (H, W), at least 0, in image levels per pixel, on the device of the image; float32, or float64 for float64.

    Raises:
        ValueError: if the image is not (C, H, W).
    """
    if image.ndim != 3 or image.numel() == 0:
        raise ValueError(f"an image must be (C, H, W); received shape {tuple(image.shape)}")
    gray = image.to(torch.float64 if image.dtype == torch.float64 else torch.float32).mean(dim=0)  # (H, W)
    smooth, slope = gray.new_tensor([1.0, 2.0, 1.0]) / 4, gray.new_tensor([-1.0, 0.0, 1.0])
    kernels = torch.stack([torch.outer(slope, smooth), torch.outer(smooth, slope)])[:, None]  # (2, 1, 3, 3)
    padded = F.pad(gray[None, None], (1, 1, 1, 1), mode="replicate")  # (1, 1, H + 2, W + 2)
    return F.conv2d(padded, kernels)[0].square().sum(dim=0).div(2).sqrt()  # (H, W)


def _check(rows: int, columns: int) -> None:
    if min(rows, columns) < 1:
        raise ValueError(f"the size must be (H, W), at least 1 pixel each; received ({rows}, {columns})")
