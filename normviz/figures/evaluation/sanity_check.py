"""Sanity check: similarity of a map to the original while the network's layers are randomized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from normviz.evaluation.sanity_check import Stage
from normviz.figures import curves
from normviz.figures.curves import Line
from normviz.formatting import fixed

Measure = Literal["rank", "magnitude rank", "SSIM"]
MEASURES: dict[Measure, str] = {
    "rank": "rank correlation",
    "magnitude rank": "rank correlation of magnitudes",
    "SSIM": "SSIM",
}


def value(stage: Stage, measure: Measure) -> float:
    """Returns one of the similarities of a stage."""
    return {"rank": stage.rank, "magnitude rank": stage.absolute_rank, "SSIM": stage.ssim}[measure]


def similarity(results: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> go.Figure:
    """Draws the similarity of each method's map to the original map, stage by stage.

    Args:
        results: the stages by the title of the method.
        measure: one of MEASURES.
        independent: whether one group of layers is randomized at a time.
    """
    drawn = [
        Line(name, np.arange(len(stages)), [value(stage, measure) for stage in stages], marks=True)
        for name, stages in results.items()
    ]
    lowest = min(min(value(stage, measure) for stage in stages) for stages in results.values())
    axis = "randomized group of layers" if independent else "number of randomized groups of layers"
    last = max(map(len, results.values())) - 1
    ends = (min(-0.1, lowest - 0.05), 1.05)
    return curves.lines(drawn, f"{axis}, from the output", MEASURES[measure], x_range=(-0.1, last + 0.1), y_range=ends)


def describe(results: Mapping[str, Sequence[Stage]], measure: Measure, independent: bool) -> str:
    """Describes the similarity of the maps after the first and after the last stage."""
    first = next(iter(results.values()))

    def values(index: int) -> str:
        return ", ".join(f"{name} {fixed(value(stages[index], measure), 2)}" for name, stages in results.items())

    last = f"only {first[-1].layers} random" if independent else "all weights random"
    text = f"{MEASURES[measure][0].upper()}{MEASURES[measure][1:]} with the map of the trained network: "
    return f"{text}with {first[1].layers} random {values(1)}; with {last} {values(-1)}."
