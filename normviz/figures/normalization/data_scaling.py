"""Charts of a table's columns before and after scaling; training rows are filled points, new rows are rings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import curves, style

MOST_POINTS = 1200  # points of a chart; of more rows, an evenly spaced subset is drawn
MOST_STRIPS = 8  # columns side by side
LONGEST_NAME = 28  # letters of a column's name
BINS = 30
TRAINING, NEW = "training rows", "new rows"
COLORS = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}


def strips(values: NDArray[Any], names: Sequence[str], train: NDArray[np.bool_], color: str) -> go.Figure:
    """Draws columns below each other on one axis; each row of the table is a point in each of them.

    Args:
        values: (N, K) the table; its first MOST_STRIPS columns are drawn.
        names: the K columns' names.
        train: (N,) true for a training row.
        color: color of the points.

    Raises:
        ValueError: if the shapes do not match, or a value is not finite.
    """
    values, train = _checked(values, names, train)
    values, names = values[:, :MOST_STRIPS], names[:MOST_STRIPS]
    subset = _evenly_spaced(len(values), MOST_POINTS // len(names))
    jitter = 0.5 * ((np.arange(len(subset)) * 0.618034) % 1) - 0.1  # uniform, and the same before and after
    traces = []
    for part, name in _parts(train[subset]):
        heights = np.concatenate([row + jitter[part] for row in range(len(names))])
        traces.append(_points(values[subset[part]].T.ravel(), heights, name, color, 7, "%{x:.4~g}"))
    return style.figure(
        traces,
        **_legend(train),
        hovermode="closest",
        xaxis=_axis("value", _padded_range(values)),
        yaxis={"range": [len(names) - 0.45, -0.5], "visible": False, "fixedrange": True},
        annotations=[
            {"text": _axis_name(name), "x": 0, "xref": "paper", "xanchor": "left", "y": row - 0.3, "yref": "y",
             "yanchor": "middle", "showarrow": False, "font": {"size": 16}}
            for row, name in enumerate(names)
        ],
        shapes=[
            {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": row - 0.5, "y1": row - 0.5, "yref": "y",
             "line": {"width": 1, "color": "rgba(128,136,144,0.4)"}}
            for row in range(1, len(names))
        ],
    )  # fmt: skip


def scatter(
    values: NDArray[Any], names: Sequence[str], train: NDArray[np.bool_], color: str, one_scale: bool = False
) -> go.Figure:
    """Draws two columns against each other.

    Args:
        values: (N, 2) the two columns.
        names: the names of the columns.
        train: (N,) true for a training row.
        color: color of the points.
        one_scale: whether both axes have the same range and scale, so that a circle is round.

    Raises:
        ValueError: if the shapes do not match, or a value is not finite.
    """
    values, train = _checked(values, names, train)
    if len(names) != 2:
        raise ValueError(f"a scatter plot needs two columns; received {len(names)}")
    subset = _evenly_spaced(len(values), MOST_POINTS)
    traces = [
        _points(values[subset[part], 0], values[subset[part], 1], name, color, 9, "%{x:.4~g}, %{y:.4~g}")
        for part, name in _parts(train[subset])
    ]
    ends = [_padded_range(values)] * 2 if one_scale else [_padded_range(column) for column in values.T]
    x, y = (_axis(_axis_name(name), end) for name, end in zip(names, ends, strict=True))
    if one_scale:
        x |= {"constrain": "domain"}
        y |= {"constrain": "domain", "scaleanchor": "x", "scaleratio": 1}
    return style.figure(traces, **_legend(train), hovermode="closest", xaxis=x, yaxis=y)


def histogram(values: NDArray[Any], name: str, train: NDArray[np.bool_], color: str) -> go.Figure:
    """Draws one column: bars for the training rows, a line for the new rows, each in percent of its own rows.

    Args:
        values: (N,) the column.
        name: name of the column.
        train: (N,) true for a training row.
        color: color of bars and line.

    Raises:
        ValueError: if the shapes do not match, or a value is not finite.
    """
    values, train = _checked(values[:, None], [name], train)
    low, high = _padded_range(values, 0.0)
    edges = np.linspace(low, high, BINS + 1)
    width = (high - low) / BINS
    traces: list[Any] = []
    for part, title in _parts(train):
        counts, _ = np.histogram(values[part], edges)
        shares = (100 * counts / len(part)).astype(np.float32)
        if title == TRAINING:
            marker = {"color": color, "line": {"width": 0}}
            bars = go.Bar(x0=low + width / 2, dx=width, y=shares, name=title, marker=marker, opacity=0.8)
            traces.append(bars.update(hovertemplate="%{y:.1f}%"))
        else:
            around = np.concatenate([[0], shares, [0]]).astype(np.float32)
            line = {"color": color, "width": 3, "shape": "hvh", "dash": "dot"}
            traces.append(
                go.Scatter(x0=low - width / 2, dx=width, y=around, name=title, mode="lines", line=line,
                           hovertemplate="%{y:.1f}%")
            )  # fmt: skip
    y = {"ticksuffix": "%", "automargin": True, "fixedrange": True, "rangemode": "tozero", "nticks": 5,
         "zeroline": False, "title": {"text": "share of rows"}}  # fmt: skip
    return style.figure(
        traces, **_legend(train), bargap=0, hovermode="closest", xaxis=_axis(_axis_name(name), (low, high)), yaxis=y
    )


def color_histogram(values: NDArray[Any]) -> go.Figure:
    """Draws the distribution of a photo's pixel values, one line per color channel.

    Args:
        values: (pixels, 3) red, green and blue.

    Raises:
        ValueError: if the shape is not (pixels, 3), or a value is not finite.
    """
    values, _ = _checked(values, tuple(COLORS), np.ones(len(values), dtype=bool))
    edges = np.linspace(*_padded_range(values, 0.0), 2 * BINS + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    return curves.lines(
        [
            curves.Line(name, centers, 100 * np.histogram(values[:, k], edges)[0] / len(values), color, step=True)
            for k, (name, color) in enumerate(COLORS.items())
        ],
        "value",
        "share of pixels (%)",
    )


def _checked(
    values: NDArray[Any], names: Sequence[str], train: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values, train = style.finite(values), np.asarray(train)
    if values.ndim != 2 or values.shape[1] != len(names) or train.shape != values.shape[:1]:
        raise ValueError(
            f"a table needs one name per column and one training flag per row; received values {values.shape}, "
            f"{len(names)} names and flags {train.shape}"
        )
    return values, train


def _evenly_spaced(rows: int, most: int) -> NDArray[np.int64]:
    """Returns the indices of at most `most` rows, evenly spaced."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _parts(train: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], str]]:
    """Returns the indices and the name of the training rows and of the new rows, without empty ones."""
    parts = [(np.flatnonzero(train), TRAINING), (np.flatnonzero(~train), NEW)]
    return [(part, name) for part, name in parts if len(part)]


def _points(x: NDArray[Any], y: NDArray[Any], name: str, color: str, size: float, hover: str) -> go.Scatter:
    """Draws filled points for training rows, rings for new rows."""
    ring = name == NEW
    marker = {"color": color, "size": size, "opacity": 1.0 if ring else 0.65}
    marker |= {"symbol": "circle-open", "line": {"width": 2}} if ring else {"line": {"width": 0}}
    return go.Scatter(
        x=x.astype(np.float32), y=y.astype(np.float32), name=name, mode="markers", marker=marker, hovertemplate=hover
    )


def _padded_range(values: NDArray[Any], margin: float = 0.05) -> tuple[float, float]:
    """Returns the range of the values, widened by a share of its length on both sides."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = max(0.5, 0.1 * abs(low))
        return low - pad, high + pad
    pad = margin * (high - low)
    return low - pad, high + pad


def _axis(title: str, ends: tuple[float, float]) -> dict[str, Any]:
    return {
        "title": {"text": title}, "range": list(ends), "automargin": True, "zeroline": True, "ticks": "outside",
        "ticklen": 6, "nticks": 6, "exponentformat": "power",
    }  # fmt: skip


def _axis_name(name: str) -> str:
    """Returns a name shortened to fit at an axis, with markup escaped."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return escape(short)


def _legend(train: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns the layout of a legend above the chart, shown if there are new rows."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "itemclick": False,
              "itemdoubleclick": False}  # fmt: skip
    return {"showlegend": not bool(train.all()), "legend": legend, "margin": {"l": 8, "r": 12, "t": 12, "b": 8}}
