"""A scene with a map over it, the outline of the object, and the maximum of the map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from normviz.colors import overlay

LONGEST = 256  # largest side of a tile in pixels


def tile(image: Tensor, heatmap: Tensor, mask: Tensor, opacity: float = 0.6) -> NDArray[np.uint8]:
    """Draws the scene with the map over it, the object outlined in white, and a cross at the maximum of the map.

    Args:
        image: uint8 (3, H, W).
        heatmap: (H, W), at the resolution of the image.
        mask: bool (H, W), true for pixels of the object.
        opacity: opacity of the map, from 0 to 1.

    Returns:
        uint8 (h, w, 3), enlarged.
    """
    drawn = overlay(image, heatmap, opacity)
    scale = max(1, LONGEST // max(drawn.size))
    picture = drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for line in outline(mask.numpy()):
        ends = [coordinate * scale for coordinate in line]
        draw.line(ends, fill="black", width=4)
    for line in outline(mask.numpy()):
        draw.line([coordinate * scale for coordinate in line], fill="white", width=2)
    if (heatmap != 0).any():
        row, column = divmod(int(heatmap.argmax()), heatmap.shape[1])
        x, y = (column + 0.5) * scale, (row + 0.5) * scale
        for color, width in (("black", 6), ("white", 3)):
            draw.line([x - 10, y, x + 10, y], fill=color, width=width)
            draw.line([x, y - 10, x, y + 10], fill=color, width=width)
    return np.asarray(picture)


def outline(mask: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Returns the pixel edges (x0, y0, x1, y1) along the boundary of a region."""
    padded = np.pad(mask, 1)
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    lines = [(x, y, x + 1, y) for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    return lines + [(x, y, x, y + 1) for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
