"""A map while a network's weights become random: how much of it stays, and the maps themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

import numpy as np
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from normviz import colors
from normviz.evaluation.sanity_check import Stage
from normviz.figures import curves, maps, style
from normviz.figures.curves import Line
from normviz.images import sum_channels

Measure = Literal["rank", "magnitude rank", "SSIM"]
MEASURES: dict[Measure, str] = {
    "rank": "rank correlation",
    "magnitude rank": "rank correlation of magnitudes",
    "SSIM": "SSIM",
}
SHOWN = 6  # maps in a row
SIDE = 64  # pixels of a map in the strip, at most


def value(stage: Stage, measure: Measure) -> float:
    """One of the similarities of a stage."""
    return {"rank": stage.rank, "magnitude rank": stage.absolute_rank, "SSIM": stage.ssim}[measure]


def similarity(found: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> go.Figure:
    """How much of each method's map is left, stage by stage.

    Args:
        found: the stages by the method's title.
        measure: one of MEASURES.
        independent: whether one group of layers is random at a time.
    """
    drawn = [
        Line(name, np.arange(len(stages)), [value(stage, measure) for stage in stages], marks=True)
        for name, stages in found.items()
    ]
    lowest = min(min(value(stage, measure) for stage in stages) for stages in found.values())
    place = "the random layers" if independent else "random groups of layers"
    last = max(map(len, found.values())) - 1
    ends = (min(-0.1, lowest - 0.05), 1.05)
    return curves.lines(drawn, f"{place}, from the top", MEASURES[measure], x_range=(-0.1, last + 0.1), y_range=ends)


def in_words(found: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> str:
    """How alike the maps still are after the first and after the last stage."""
    stages = next(iter(found.values()))

    def values(number: int) -> str:
        return ", ".join(f"{name} {value(several[number], measure):.2f}" for name, several in found.items())

    last = f"only {stages[-1].layers} random" if independent else "all weights random"
    said = f"The {MEASURES[measure]} with the trained network's map: with {stages[1].layers} random {values(1)}"
    return f"{said}; with {last} {values(-1)}.".replace("-0.", "−0.")


def chosen(count: int) -> list[int]:
    """Which of so many stages are drawn: the first, the last, and some between them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, SHOWN))})


def strip(found: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> str:
    """A row of maps for each method, as HTML; each map in its own colors, from 0 or centered on 0."""
    rows = []
    for name, stages in found.items():
        figures = []
        for number in chosen(len(stages)):
            stage = stages[number]
            random = f"{stage.layers} random" if independent or number == 1 else f"… to {stage.layers}"
            text = random if stage.layers else "trained"
            figures.append(
                f'<figure><img src="{maps.data_uri(_picture(stage))}" alt="{escape(f"{name}, {text}")}">'
                f"<figcaption>{escape(text)}<br>{style.number(round(value(stage, measure), 2))}</figcaption></figure>"
            )
        rows.append(f"<h3>{escape(name)}</h3><div>{''.join(figures)}</div>")
    return (
        "<style>.nv-sanity{color:var(--nv-ink)}.nv-sanity h3{font-size:1.125rem;margin:.6rem 0 .2rem;padding:0}"
        ".nv-sanity div{display:grid;grid-template-columns:repeat(auto-fill,minmax(7.5rem,1fr));gap:.6rem}"
        ".nv-sanity figure{margin:0}.nv-sanity img{display:block;width:100%;border-radius:4px;"
        "image-rendering:pixelated}.nv-sanity figcaption{line-height:1.35;overflow-wrap:anywhere}</style>"
        f'<div class="nv-sanity">{"".join(rows)}</div>'
    )


def _picture(stage: Stage) -> NDArray[np.uint8]:
    """A map in colors, a pixel for each cell, reduced to SIDE pixels a side where it has more cells."""
    values = sum_channels(stage.heatmap)  # (h, w)
    values = torch.nan_to_num(values.float(), 0.0, 0.0, 0.0)
    if max(values.shape) > SIDE:
        values = F.adaptive_avg_pool2d(values[None, None], SIDE)[0, 0]  # (SIDE, SIDE)
    heat = values.numpy()
    signed = bool((heat < 0).any())
    return colors.colorize(heat, "blue-white-orange" if signed else "inferno", *style.limits(heat, signed=signed))
