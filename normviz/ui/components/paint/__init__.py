"""A photo on which a region can be painted with a brush or a box, by mouse, touch or keyboard.

The element is updated in place and reports the region after each stroke.
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

CELLS = 48  # cells along the longer side of the photo

_component = register("paint", "paint.html", "paint.css", "paint.js")


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of nearly square cells for a photo of this size."""
    longer = max(height, width)
    return max(1, round(CELLS * height / longer)), max(1, round(CELLS * width / longer))


def paint(pixels: NDArray[np.uint8], region: str, chosen: bool, key: str, on_paint: Callable[[str], None]) -> None:
    """Draw the photo with a region that can be painted.

    Args:
        pixels: the photo, (H, W, 3).
        region: the region to show, as run lengths (see `cells`).
        chosen: whether the page set the region, rather than strokes on this photo.
        key: identifies the element, which stays on the page while the key is the same; use a new key for another photo.
        on_paint: called with the new region after each stroke, before the script reruns.
    """
    rows, columns = grid(*pixels.shape[:2])

    def painted() -> None:
        on_paint(str(st.session_state[key].get("region")))

    data = {"photo": data_uri(pixels), "rows": rows, "columns": columns, "region": region, "chosen": chosen}
    _component(key=key, data=data, on_region_change=painted)


def runs(painted: Tensor) -> str:
    """Encode painted cells, bool (rows, columns), as run lengths; the inverse of `cells`."""
    groups = [(value, len(list(group))) for value, group in itertools.groupby(painted.flatten().tolist())]
    lengths = [0] * bool(groups and groups[0][0]) + [length for _, length in groups]
    if len(lengths) % 2:
        lengths.pop()  # a trailing run of unpainted cells is omitted
    return ".".join(np.base_repr(length, 36).lower() for length in lengths)


def cells(region: str, size: tuple[int, int]) -> Tensor:
    """Decode painted cells from run lengths in base 36, alternating between unpainted and painted.

    Args:
        region: "2.3" is two unpainted cells, three painted ones, the rest unpainted; "" is no painted cell.
        size: rows and columns.

    Returns:
        bool (rows, columns).

    Raises:
        ValueError: a malformed region, or one with more cells than `size`.
    """
    count = size[0] * size[1]
    if not re.fullmatch(r"([0-9a-z]{1,4}(\.[0-9a-z]{1,4})*)?", region):
        raise ValueError(
            f"a painted region is run lengths in base 36 separated by dots, such as 2.3; received {region[:40]!r}"
        )
    ends = list(itertools.accumulate(int(run, 36) for run in region.split(".") if run))
    if ends and ends[-1] > count:
        raise ValueError(f"the painted region has {ends[-1]} cells; this photo has {size[0]} x {size[1]}")
    flat = torch.zeros(count, dtype=torch.bool)
    for begin, end in zip(ends[::2], ends[1::2], strict=False):
        flat[begin:end] = True
    return flat.view(size)  # (rows, columns)
