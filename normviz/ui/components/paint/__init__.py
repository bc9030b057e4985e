"""A photo on which a region is painted: with a brush or a box, by mouse, finger or keyboard.

The element stays on the page while the numbers round it change; it reports when the pointer is released.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.figures.maps import data_uri

CELLS = 48  # along the longer side of the photo

_HTML = """
<div class="nv-paint">
  <canvas class="stage" tabindex="0" role="application" width="0" height="0"></canvas>
  <p class="told" role="status"></p>
  <fieldset class="tools">
    <legend>Tool</legend>
    <label><input type="radio" name="tool" value="brush" checked> Brush</label>
    <label><input type="radio" name="tool" value="box"> Box</label>
    <label><input type="radio" name="tool" value="erase"> Eraser</label>
    <label class="size">Size <input class="width" type="range" min="1" max="12" value="4"></label>
    <span><button class="undo" type="button">Undo</button> <button class="clear" type="button">Clear</button></span>
  </fieldset>
</div>
"""
_CSS = """
.nv-paint { font: 1rem/1.4 var(--st-font); color: var(--st-text-color); }
.stage { display: block; width: 100%; border-radius: 6px; cursor: crosshair; touch-action: none; }
.stage:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.told { margin: .4rem 0; min-height: 1.4em; }
.tools { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; border: 0; margin: 0; padding: 0; }
legend { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
label { display: inline-flex; gap: .35rem; align-items: center; min-height: 2rem; cursor: pointer; }
input { accent-color: var(--st-primary-color); }
.width { width: 6rem; }
button { font: inherit; color: inherit; background: var(--st-secondary-background-color); min-height: 2rem;
  border: 1px solid var(--st-border-color); border-radius: 6px; padding: .2rem .7rem; cursor: pointer; }
button:disabled { opacity: .5; cursor: default; }
button:focus-visible, input:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""
_component = st.components.v2.component(
    "normviz_paint", html=_HTML, css=_CSS, js=(Path(__file__).parent / "paint.js").read_text("utf-8")
)


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells, nearly square, for a photo of this size."""
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
