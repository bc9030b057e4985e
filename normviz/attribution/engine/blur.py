"""A Gaussian blur."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 3  # standard deviations at which the Gaussian ends


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Pictures (N, C, H, W) blurred by a Gaussian, their edges repeated.

    Args:
        images: (N, C, H, W).
        sigma: its standard deviation in pixels, above 0.

    Returns:
        (N, C, H, W).
    """
    reach = math.ceil(REACH * sigma)
    distance = torch.arange(-reach, reach + 1).to(images)  # (2 reach + 1,)
    kernel = torch.exp(-(distance**2) / (2 * sigma**2))  # (2 reach + 1,)
    kernel = kernel / kernel.sum()  # (2 reach + 1,)
    count, channels, height, width = images.shape
    wide = F.pad(images, (reach, reach, reach, reach), mode="replicate")  # (N, C, H + 2 reach, W + 2 reach)
    planes = wide.flatten(0, 1)[:, None]  # (N C, 1, H + 2 reach, W + 2 reach)
    smooth = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))  # (N C, 1, H, W)
    return smooth.reshape(count, channels, height, width)  # (N, C, H, W)
