"""A photo of a page: its pixels, where it came from, and whether it is private to a visitor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Photo:
    """An upright picture and where it came from.

    Attributes:
        name: what to call it.
        pixels: uint8 (H, W, 3), read-only.
        identity: distinguishes it from all other photos.
        sample: the name of the sample, or None for a visitor's own photo and for everything made from one.
    """

    name: str
    pixels: NDArray[np.uint8]
    identity: str
    sample: str | None

    @property
    def private(self) -> bool:
        """Whether it is a visitor's own photo; see `normviz.ui.kit.cache`."""
        return self.sample is None

    @property
    def image(self) -> Tensor:
        """The picture as uint8 (3, H, W)."""
        return as_image(self.pixels)  # (3, H, W)


def as_image(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (H, W, 3) as an image tensor (3, H, W)."""
    return torch.tensor(pixels).permute(2, 0, 1)  # (3, H, W)
