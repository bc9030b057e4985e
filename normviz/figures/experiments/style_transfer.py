"""The statistics of a content's channels against those of a style: before, and after they were exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import style

DIAGONAL = "#8A8F98"  # a gray that stands out on light and on dark


class Cloud(NamedTuple):
    """One statistic of every channel, (C,), of something that has a name and a color."""

    name: str
    values: NDArray[Any]
    color: str
    symbol: str = "circle"


def against_style(of_style: NDArray[Any], clouds: Sequence[Cloud], what: str) -> go.Figure:
    """A dot for each channel: its statistic in the style to the right, its statistic elsewhere upwards.

    Args:
        of_style: (C,) the statistic of each channel in the style.
        clouds: at least one cloud of the same statistic elsewhere.
        what: the statistic's name, as "mean".

    Raises:
        ValueError: no clouds, another number of channels, or a value that is not finite.
    """
    if not clouds or any(cloud.values.shape != of_style.shape for cloud in clouds):
        shapes = ", ".join(str(cloud.values.shape) for cloud in clouds) or "none"
        raise ValueError(f"each cloud needs a value for each channel, {of_style.shape}; received {shapes}")
    everything = style.finite(np.concatenate([of_style, *(cloud.values for cloud in clouds)]))
    low, high = float(everything.min()), float(everything.max())
    room = 0.06 * (high - low or 1.0)
    ends = [low - room, high + room]
    line = go.Scatter(
        x=ends, y=ends, mode="lines", line={"color": DIAGONAL, "dash": "dot", "width": 2}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    dots = [
        go.Scatter(
            x=of_style.astype(np.float32),
            y=cloud.values.astype(np.float32),
            name=cloud.name,
            mode="markers",
            marker={"color": cloud.color, "size": 9, "opacity": 0.85, "symbol": cloud.symbol},
            customdata=np.arange(len(of_style)),
            hovertemplate=f"channel %{{customdata}}<br>{what} in the style %{{x:.3~g}}<br>here %{{y:.3~g}}"
            "<extra></extra>",
        )
        for cloud in clouds
    ]
    ticks = style.ticks(low, high, 4)
    axis = {"range": ends, "tickvals": ticks, "ticktext": [style.number(tick) for tick in ticks], "zeroline": False}
    return style.figure(
        [line, *dots],
        xaxis={**axis, "title": {"text": f"{what} in the style"}},
        yaxis={**axis, "title": {"text": f"{what} here", "standoff": 4}, "automargin": True},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 8, "r": 12, "t": 8, "b": 52},
        hovermode="closest",
        dragmode=False,
    )
