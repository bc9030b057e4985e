"""How a photo becomes the input of a network of the Hub: as its own preprocessor does it, measured instead of retold.

The families of networks crop, resize and standardize in ways of their own. So nothing of that is written again here:
the preprocessor is run, and what it does to colors and places is read off pictures whose result is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from normviz.models.classifier import Box

LEVELS = (0, 51, 255)  # of three plain pictures; the middle one, 0.2, must lie on the line through the others
PLAIN = 64  # pixels a side of a plain picture
EDGE = 1 / 100  # of the photo: a cut smaller than this is below what the measurement can tell, so there is none


class Preprocessor:
    """A photo's way into a network, through the preprocessor that is stored with it.

    Args:
        processor: an image processor of `transformers` (its PIL backend).

    Attributes:
        mean: what is subtracted from each color of pixels in [0, 1].
        std: what each color is divided by then.
        shape: (height, width) of the input for a square photo.

    Raises:
        ValueError: what it makes of a photo is no picture in three colors that can be shown again.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        black, gray, white = (self._plain(level) for level in LEVELS)  # (3,) each
        span = white - black  # (3,)
        if bool((span.abs() < 1e-6).any()) or bool((gray - (black + LEVELS[1] / 255 * span)).abs().max() > 0.01):
            raise ValueError("its preprocessor does not standardize pixels, so that no picture can be shown beside it")
        self.std: tuple[float, float, float] = _three(1 / span)
        self.mean: tuple[float, float, float] = _three(-black / span)

    def __call__(self, image: Tensor) -> Tensor:
        """The input (1, 3, h, w), float32, for a photo, uint8 (3, H, W)."""
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
        try:
            values = self._processor(picture, return_tensors="pt")["pixel_values"]  # (1, 3, h, w)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"its preprocessor cannot read a photo: {str(error).splitlines()[0]}") from error
        if not isinstance(values, Tensor) or values.ndim != 4 or values.shape[1] != 3:
            raise ValueError("its preprocessor does not make one picture in three colors (1, 3, h, w) of a photo")
        return values.float()  # (1, 3, h, w)

    def box(self, height: int, width: int) -> Box:
        """The part of a photo of (height, width) that arrives at the network: top, left, height, width in pixels.

        Two ramps, one along each side, tell from where in the photo every place of the input comes.
        """
        ramp = np.zeros((height, width, 3), np.uint8)  # (H, W, 3)
        ramp[..., 0] = np.linspace(0, 255, width).round()[None, :]  # (H, W)
        ramp[..., 1] = np.linspace(0, 255, height).round()[:, None]  # (H, W)
        seen = self(torch.from_numpy(ramp).permute(2, 0, 1))[0]  # (3, h, w)
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        places = seen * std + mean  # (3, h, w)
        left, right = _ends(places[0].mean(dim=0), width)
        top, bottom = _ends(places[1].mean(dim=1), height)
        return top, left, bottom - top, right - left

    def _plain(self, level: int) -> Tensor:
        """What becomes of a picture of one gray level, in its middle: (3,)."""
        values = self(torch.full((3, PLAIN, PLAIN), level, dtype=torch.uint8))[0]  # (3, h, w)
        self.shape = (values.shape[1], values.shape[2])
        return values[:, values.shape[1] // 2, values.shape[2] // 2]  # (3,)


def _ends(places: Tensor, length: int) -> tuple[int, int]:
    """Where the input begins and ends on a side of `length` pixels, from the places (n,) that its cells came from.

    A line through the middle half of them is followed to both ends: near the ends resampling bends it.
    """
    count = len(places)
    index = torch.arange(count, dtype=torch.float64) + 0.5  # (n,)
    middle = slice(count // 4, count - count // 4)
    x, y = index[middle], places[middle].double() * (length - 1) + 0.5  # (m,) both; pixels, as their middles
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp_min(1e-12)
    start, end = (float(y.mean() + slope * (place - x.mean())) for place in (0, count))
    begin = 0 if start < EDGE * length else round(start)
    stop = length if end > (1 - EDGE) * length else round(end)
    return begin, max(stop, begin + 1)


def _three(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
