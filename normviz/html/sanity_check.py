"""Sanity check: a row of maps for each method while the network's layers are randomized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from normviz import colors
from normviz.evaluation.sanity_check import Stage
from normviz.figures import style
from normviz.figures.evaluation.sanity_check import Measure, value
from normviz.formatting import fixed
from normviz.html.picture import figure, grid
from normviz.html.table import Html
from normviz.images import sum_channels

SHOWN = 6  # maps in a row
SIDE = 64  # largest side of a map in pixels


def shown_stages(count: int) -> list[int]:
    """Returns the indices of the stages that are drawn: the first, the last, and some between them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, SHOWN))})


def map_rows(results: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> Html:
    """Returns a row of maps for each method, as HTML; each map has its own color scale, from 0 or centered on 0.

    Args:
        results: the stages by the title of the method.
        measure: the similarity below each map.
        independent: whether one group of layers is randomized at a time.
    """
    rows = []
    for name, stages in results.items():
        figures = []
        for index in shown_stages(len(stages)):
            stage = stages[index]
            randomized = f"{stage.layers} random" if independent or index == 1 else f"… to {stage.layers}"
            text = randomized if stage.layers else "trained"
            caption = Html(f"{escape(text)}<br>{fixed(value(stage, measure), 2)}")
            figures.append(figure(_picture(stage), caption, f"{name}, {text}", pixelated=True))
        heading = f'<h3 style="font-size:1.125rem;margin:.6rem 0 .2rem;padding:0">{escape(name)}</h3>'
        rows.append(heading + grid(figures, "7.5rem", ".6rem"))
    return Html("".join(rows))


def _picture(stage: Stage) -> NDArray[np.uint8]:
    """Returns a colored map with one pixel per cell, reduced to at most SIDE pixels a side."""
    values = sum_channels(stage.heatmap)  # (h, w)
    values = torch.nan_to_num(values.float(), 0.0, 0.0, 0.0)
    if max(values.shape) > SIDE:
        values = F.adaptive_avg_pool2d(values[None, None], SIDE)[0, 0]  # (SIDE, SIDE)
    heat = values.numpy()
    signed = bool((heat < 0).any())
    return colors.colorize(heat, "blue-white-orange" if signed else "inferno", *style.limits(heat, signed=signed))
