"""A photo on which a region is painted: with a brush or a box, by mouse, finger or keyboard.

The element stays on the page while the numbers round it change; it reports when the pointer is released.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.figures.maps import data_uri
from normviz.ui.components import register

CELLS = 48  # along the longer side of the photo

_component = register("paint", "paint.html", "paint.css", "paint.js")


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of nearly square cells for a photo of this size."""
    longer = max(height, width)
    return max(1, round(CELLS * height / longer)), max(1, round(CELLS * width / longer))


def paint(pixels: NDArray[np.uint8], region: str, chosen: bool, key: str, on_paint: Callable[[str], None]) -> None:
    """Draw the photo with a region that can be painted on.

    Args:
        pixels: the photo, (H, W, 3).
        region: the region to show, as run lengths (see `cells`).
        chosen: whether the region comes from elsewhere, and not from the strokes on this photo.
        key: names the element; the same key keeps it on the page. Another photo needs another key.
        on_paint: called with the new region after each stroke, before the script runs again.
    """
    rows, columns = grid(*pixels.shape[:2])

    def painted() -> None:
        on_paint(str(st.session_state[key].get("region")))

    data = {"photo": data_uri(pixels), "rows": rows, "columns": columns, "region": region, "chosen": chosen}
    _component(key=key, data=data, on_region_change=painted)


def runs(painted: Tensor) -> str:
    """Painted cells, bool (rows, columns), as run lengths: the inverse of `cells`."""
    groups = [(value, len(list(group))) for value, group in itertools.groupby(painted.flatten().tolist())]
    lengths = [0] * bool(groups and groups[0][0]) + [length for _, length in groups]
    if len(lengths) % 2:
        lengths.pop()  # what is left out at the end is not said
    return ".".join(np.base_repr(length, 36).lower() for length in lengths)


def cells(region: str, size: tuple[int, int]) -> Tensor:
    """The painted cells of a region as run lengths: of cells left out and of cells in, by turns, in base 36.

    Args:
        region: "2.3" is two cells left out, three in, the rest left out; empty for nothing.
        size: rows and columns.

    Returns:
        bool (rows, columns).

    Raises:
        ValueError: a text that is no such region, or one of more cells.
    """
    count = size[0] * size[1]
    if not re.fullmatch(r"([0-9a-z]{1,4}(\.[0-9a-z]{1,4})*)?", region):
        raise ValueError(f"a painted region is run lengths with points, as 2.3; received {region[:40]!r}")
    ends = list(itertools.accumulate(int(run, 36) for run in region.split(".") if run))
    if ends and ends[-1] > count:
        raise ValueError(f"the painted region has {ends[-1]} cells; this photo has {size[0]} x {size[1]}")
    flat = torch.zeros(count, dtype=torch.bool)
    for begin, end in zip(ends[::2], ends[1::2], strict=False):
        flat[begin:end] = True
    return flat.view(size)  # (rows, columns)
