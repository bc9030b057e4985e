"""Histograms before and after a normalization on one axis, for all values and for each group."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import link, style


def before_after(
    counts_before: NDArray[Any],
    counts_after: NDArray[Any],
    low: float,
    high: float,
    group_before: NDArray[Any] | None = None,
    group_after: NDArray[Any] | None = None,
    ids: NDArray[Any] | None = None,
    unit: str = "value",
) -> go.Figure:
    """Draws two overlaid histograms on one axis, in percent of all values.

    Args:
        counts_before: (B,) counts in B equal bins from low to high.
        counts_after: (B,) counts in the same bins.
        low: lower end of the axis.
        high: upper end of the axis.
        group_before: (G, B) counts of each group before.
        group_after: (G, B) counts of each group after.
        ids: (G,) indices of these groups; by default 0 to G − 1.
        unit: title of the axis.

    Raises:
        ValueError: if the shapes of the counts differ, or the axis is empty.
    """
    counts_before, counts_after = np.asarray(counts_before), np.asarray(counts_after)
    if counts_before.ndim != 1 or counts_before.shape != counts_after.shape:
        raise ValueError(
            f"both histograms need the same bins; received {counts_before.shape} before and {counts_after.shape} after"
        )
    if not high > low:
        raise ValueError(f"the axis must end above its start; received {low:g} to {high:g}")
    bins = len(counts_before)
    width = (high - low) / bins
    traces = [
        go.Bar(
            x0=low + width / 2,
            dx=width,
            y=(100 * counts / max(counts.sum(), 1)).astype(np.float32),
            name=name,
            marker={"color": color, "line": {"width": 0}},
            opacity=0.8,
            hoverinfo="skip",
        )
        for counts, name, color in ((counts_before, "before", style.BEFORE), (counts_after, "after", style.AFTER))
    ]
    spec: dict[str, Any] = {"kind": "bars", "low": low, "high": high, "bins": bins}
    if group_before is not None and group_after is not None:
        group_before, group_after = np.asarray(group_before), np.asarray(group_after)
        if group_before.shape != group_after.shape or group_before.shape[1:] != (bins,):
            raise ValueError(
                f"the histograms of the groups must have {bins} bins; received {group_before.shape} before "
                f"and {group_after.shape} after"
            )
        # One scale per group for both sides, in 8 bits: the heights before and after stay comparable.
        largest = np.maximum(np.maximum(group_before, group_after).max(axis=1, keepdims=True), 1)  # (G, 1)
        spec["ids"] = link.encode(link.smallest_unsigned(np.arange(len(group_before)) if ids is None else ids))
        spec["before"], spec["after"] = (
            link.encode(np.rint(255 * counts / largest).astype(np.uint8)) for counts in (group_before, group_after)
        )
    return style.figure(
        traces,
        spec,
        barmode="overlay",
        bargap=0,
        showlegend=True,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "itemclick": False,
                "itemdoubleclick": False},
        margin={"l": 8, "r": 8, "t": 54, "b": 8},
        xaxis={"range": [low, high], "title": {"text": unit}, "automargin": True, "zeroline": False, "nticks": 8,
               "showgrid": False, "ticks": "outside", "ticklen": 8},
        yaxis={"ticksuffix": "%", "automargin": True, "fixedrange": True, "rangemode": "tozero", "nticks": 5,
               "zeroline": False, "title": {"text": "share of values"}},
        uirevision=f"{low:g} {high:g} {bins}",
    )  # fmt: skip
