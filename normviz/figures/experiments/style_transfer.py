"""Channel statistics of a content image against those of a style image, before and after the transfer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import style
from normviz.formatting import number

DIAGONAL = "#8A8F98"  # gray that is visible on light and dark pages


class Cloud(NamedTuple):
    """One statistic of all channels of a tensor: name, values (C,), color and marker symbol."""

    name: str
    values: NDArray[Any]
    color: str
    symbol: str = "circle"


def against_style(of_style: NDArray[Any], clouds: Sequence[Cloud], statistic: str) -> go.Figure:
    """Draws one dot per channel: its statistic in the style on the x axis, its statistic in each cloud on the y axis.

    Args:
        of_style: (C,) the statistic of each channel of the style.
        clouds: the same statistic of other tensors; at least one.
        statistic: its name, as "mean".

    Raises:
        ValueError: if there are no clouds, the numbers of channels differ, or a value is not finite.
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
            hovertemplate=f"channel %{{customdata}}<br>{statistic} in the style %{{x:.3~g}}<br>here %{{y:.3~g}}"
            "<extra></extra>",
        )
        for cloud in clouds
    ]
    ticks = style.ticks(low, high, 4)
    axis = {"range": ends, "tickvals": ticks, "ticktext": [number(tick) for tick in ticks], "zeroline": False}
    return style.figure(
        [line, *dots],
        xaxis={**axis, "title": {"text": f"{statistic} in the style"}},
        yaxis={**axis, "title": {"text": f"{statistic} here", "standoff": 4}, "automargin": True},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 8, "r": 12, "t": 8, "b": 52},
        hovermode="closest",
        dragmode=False,
    )
