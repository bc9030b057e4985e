"""A waterfall chart of the contributions that add up to a class score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import plotly.graph_objects as go

from normviz.figures import style
from normviz.formatting import signed

AGAINST = style.OKABE_ITO[4]  # blue, as on the map
BIAS, SUM = style.BEFORE, "#8A8F98"


def waterfall(entries: Sequence[tuple[str, float]], total: tuple[str, float]) -> go.Figure:
    """Draws amounts and their total: each bar starts where the previous one ends; the last bar is the total.

    Args:
        entries: names and amounts, from top to bottom; negative amounts go to the left.
        total: name and amount of the sum, drawn from 0.

    Raises:
        ValueError: if there are no entries, or the total differs from their sum by more than 0.1% of the largest
            amount.
    """
    if not entries:
        raise ValueError("a waterfall chart needs at least one entry; received none")
    amounts = [amount for _, amount in entries]
    size = max(abs(amount) for amount in (*amounts, total[1])) or 1.0
    if abs(sum(amounts) - total[1]) > 1e-3 * size:
        raise ValueError(f"the entries add up to {sum(amounts):.6g}, not to {total[1]:.6g}: add an entry for the rest")
    starts = [0.0, *accumulate(amounts)][:-1]
    names = [*(name for name, _ in entries), total[0]]
    bars, bases = [*amounts, total[1]], [*starts, 0.0]
    colors = [style.AFTER if amount >= 0 else AGAINST for amount in amounts]
    ends = [base + bar for base, bar in zip(bases, bars, strict=True)]
    low, high = min(0.0, *bases, *ends), max(0.0, *bases, *ends)
    room = 0.28 * (high - low or 1.0)
    rows = list(range(len(names)))
    trace = go.Bar(
        orientation="h",
        x=bars,
        base=bases,
        y=rows,
        text=[signed(bar) for bar in bars],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [*colors, SUM]},
        hoverinfo="skip",
    )
    return style.figure(
        [trace],
        bargap=0.35,
        margin={"l": 8, "r": 12, "t": 4, "b": 4},
        xaxis={"range": [low - (room if low < 0 else 0), high + room], "showgrid": False, "zeroline": True,
               "zerolinecolor": SUM, "showticklabels": False, "ticks": "", "fixedrange": True},
        yaxis={"range": [len(names) - 0.5, -0.5], "tickvals": rows, "ticktext": names, "automargin": True,
               "fixedrange": True, "showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 8},
        hovermode=False,
        dragmode=False,
    )  # fmt: skip
