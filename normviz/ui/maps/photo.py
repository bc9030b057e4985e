"""A photo: its pixels, its name, and whether it is private to a visitor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Photo:
    """An upright photo and its origin.

    Attributes:
        name: display name.
        pixels: uint8 (H, W, 3), read-only.
        identity: unique among all photos.
        sample: the name of the sample, or None for a visitor's photo and for edited photos.
    """

    name: str
    pixels: NDArray[np.uint8]
    identity: str
    sample: str | None

    @property
    def private(self) -> bool:
        """Whether it is not a sample, so that results stay in the visitor's session; see `normviz.ui.kit.cache`."""
        return self.sample is None

    @property
    def image(self) -> Tensor:
        """The photo as uint8 (3, H, W)."""
        return as_image(self.pixels)  # (3, H, W)


def as_image(pixels: NDArray[np.uint8]) -> Tensor:
    """Convert pixels (H, W, 3) to an image tensor (3, H, W)."""
    return torch.tensor(pixels).permute(2, 0, 1)  # (3, H, W)
