"""A region painted on a photo: validation, and filling of the region."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from normviz.evaluation.photo_edit import Fill, enlarge, fill
from normviz.ui.components.paint import cells, grid
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo


def valid(region: str, photo: Photo) -> str:
    """Check that a region from a link, encoded as run lengths, fits the photo, and return it.

    Raises:
        ValueError: the text is not a valid region of this photo.
    """
    cells(region, grid(photo.pixels.shape[0], photo.pixels.shape[1]))
    return region


def filled(photo: Photo, region: str, how: Fill) -> Photo:
    """The photo with the painted region filled; the result is private to the visitor.

    Raises:
        ValueError: the region does not fit the photo or covers all of it.
    """
    size = photo.pixels.shape[0], photo.pixels.shape[1]
    painted = cells(region, grid(*size))  # (rows, columns)

    def run() -> NDArray[np.uint8]:
        image = fill(photo.image, enlarge(painted, size), how)  # (3, H, W)
        pixels = image.permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
        pixels.flags.writeable = False
        return pixels

    key = (photo.identity, region, how)
    pixels = cache.keep("edit filled", (), lambda: jobs.compute(run), [cache.Private(key)])
    identity = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    return replace(photo, pixels=pixels, identity=identity, sample=None)
