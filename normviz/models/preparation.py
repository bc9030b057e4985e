"""Preprocessing of networks from the Hub: runs the stored preprocessor and measures its scale and crop.

Network families resize, crop and standardize in different ways. Instead of reimplementing each, the preprocessor is
run, and its mean, standard deviation and crop are measured on images with a known result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from normviz.images import destandardize
from normviz.models.classifier import Box

LEVELS = (0, 51, 255)  # gray levels of three uniform images; the response must be linear
UNIFORM_SIZE = 64  # side of a uniform image in pixels
EDGE = 1 / 100  # of the photo's side: a smaller crop is below the precision of the measurement and is ignored


class Preprocessor:
    """The preprocessor that is stored with a network.

    Args:
        processor: an image processor of `transformers` (its PIL backend).

    Attributes:
        mean: mean of each color, subtracted from pixels in [0, 1].
        std: standard deviation of each color, by which the difference is divided.
        shape: (height, width) of the input for a square photo.

    Raises:
        ValueError: its output is not a standardized RGB image.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        black, gray, white = (self._uniform(level) for level in LEVELS)  # (3,) each
        span = white - black  # (3,)
        if bool((span.abs() < 1e-6).any()) or bool((gray - (black + LEVELS[1] / 255 * span)).abs().max() > 0.01):
            raise ValueError("its preprocessor does not standardize pixels linearly; choose another network")
        self.std: tuple[float, float, float] = _rgb(1 / span)
        self.mean: tuple[float, float, float] = _rgb(-black / span)

    def __call__(self, image: Tensor) -> Tensor:
        """The input (1, 3, h, w), float32, of a photo, uint8 (3, H, W)."""
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
        try:
            values = self._processor(picture, return_tensors="pt")["pixel_values"]  # (1, 3, h, w)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"its preprocessor cannot read a photo: {str(error).splitlines()[0]}") from error
        if not isinstance(values, Tensor) or values.ndim != 4 or values.shape[1] != 3:
            raise ValueError(
                "its preprocessor must return one RGB image (1, 3, h, w) per photo; choose another network"
            )
        return values.float()  # (1, 3, h, w)

    def box(self, height: int, width: int) -> Box:
        """The part of a photo of (height, width) that reaches the network: top, left, height, width in pixels.

        Measured with two ramps, one along each axis: the value of each input pixel shows its position in the photo.
        """
        ramp = np.zeros((height, width, 3), np.uint8)  # (H, W, 3)
        ramp[..., 0] = np.linspace(0, 255, width).round()[None, :]  # (H, W)
        ramp[..., 1] = np.linspace(0, 255, height).round()[:, None]  # (H, W)
        inputs = self(torch.from_numpy(ramp).permute(2, 0, 1))[0]  # (3, h, w)
        positions = destandardize(inputs, self.mean, self.std)  # (3, h, w)
        left, right = _ends(positions[0].mean(dim=0), width)
        top, bottom = _ends(positions[1].mean(dim=1), height)
        return top, left, bottom - top, right - left

    def _uniform(self, level: int) -> Tensor:
        """The value (3,) of a uniform gray image after preprocessing, at its center."""
        values = self(torch.full((3, UNIFORM_SIZE, UNIFORM_SIZE), level, dtype=torch.uint8))[0]  # (3, h, w)
        self.shape = (values.shape[1], values.shape[2])
        return values[:, values.shape[1] // 2, values.shape[2] // 2]  # (3,)


def _ends(positions: Tensor, length: int) -> tuple[int, int]:
    """Start and end of the crop on a side of `length` pixels, from the positions (n,) of its input pixels.

    A line fitted to the middle half of the positions is extended to both ends, because resampling distorts the border.
    """
    count = len(positions)
    index = torch.arange(count, dtype=torch.float64) + 0.5  # (n,)
    middle = slice(count // 4, count - count // 4)
    x, y = index[middle], positions[middle].double() * (length - 1) + 0.5  # (m,) both; pixel centers
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp_min(1e-12)
    start, end = (float(y.mean() + slope * (at - x.mean())) for at in (0, count))
    begin = 0 if start < EDGE * length else round(start)
    stop = length if end > (1 - EDGE) * length else round(end)
    return begin, max(stop, begin + 1)


def _rgb(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
