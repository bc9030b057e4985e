"""Charts that compare the results of a misprinted formula with those of the correct one."""

from __future__ import annotations

import plotly.graph_objects as go

from normviz.experiments.errata.erratum import Outcome
from normviz.figures import curves
from normviz.normalization.analysis.statistics import histogram, value_range

WRONG, GOOD = "#C4518F", "#0B8A66"  # misprinted and correct
BINS = 60
MOST_LABELED = 3  # groups of bars with numbers above them; those of more would overlap on a phone


def chart(outcome: Outcome) -> go.Figure:
    """Draws the results of both formulas: as bars, as lines over steps, or as two histograms on one axis."""
    sides = [
        (name, values, color)
        for name, values, color in zip(outcome.names, (outcome.printed, outcome.right), (WRONG, GOOD), strict=True)
        if values is not None
    ]
    if outcome.labels:
        groups = [curves.Bars(name, values.numpy(), color) for name, values, color in sides]
        figure = curves.bars(outcome.labels, groups, outcome.axis, outcome.quantity)
        if len(outcome.labels) > MOST_LABELED:
            figure.update_traces(text=None)
        return figure
    if outcome.at:
        drawn = [curves.Line(name, outcome.at, values.numpy(), color, marks=True) for name, values, color in sides]
        log_x = min(outcome.at) > 0 and max(outcome.at) > 100 * min(outcome.at)
        return curves.lines(drawn, outcome.axis, outcome.quantity, log_x=log_x, log_y=outcome.growing)
    low, high = value_range(*(values for _, values, _ in sides))
    centers = [low + (high - low) * (k + 0.5) / BINS for k in range(BINS)]
    drawn = []
    for name, values, color in sides:
        counts = histogram(values, low, high, BINS).counts.numpy()  # (BINS,)
        drawn.append(curves.Line(name, centers, 100 * counts / len(values), color, step=True))
    return curves.lines(drawn, outcome.quantity, "share of values (%)")
