"""Rows of a table as points and bars, training rows filled and new rows hollow; and its columns in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import curves, style

MOST_POINTS = 1200  # points of a chart; of more rows an even choice is drawn
MOST_STRIPS = 8  # columns side by side
LONGEST_NAME = 28  # letters of a column's name
BINS = 30
TRAINING, NEW = "training rows", "new rows"
COLORS = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}
HEADS = ("column", "", "smallest", "mean", "std", "largest", "share of distance")
TABLE_STYLE = """
<style>
.nv-scaled { border-collapse: collapse; line-height: 1.4; font-variant-numeric: tabular-nums; }
.nv-scaled th, .nv-scaled td { padding: .2rem 1.1rem .2rem 0; text-align: right; font-weight: 400; }
.nv-scaled th, .nv-scaled td { white-space: nowrap; }
.nv-scaled thead th { font-weight: 600; border-bottom: 1px solid var(--nv-line); }
.nv-scaled tbody tr:nth-child(2n) > *, .nv-scaled [rowspan] { border-bottom: 1px solid var(--nv-line); }
.nv-scaled th[rowspan], .nv-scaled th:first-child { text-align: left; vertical-align: top; }
.nv-scaled sup { font-size: .7em; }
.nv-wide { overflow-x: auto; max-width: 100%; }
</style>
"""


def strips(values: NDArray[Any], names: Sequence[str], train: NDArray[np.bool_], color: str) -> go.Figure:
    """Columns one below the other, all on one axis: each row of the table is a point in each of them.

    Args:
        values: (N, K) the table; its first MOST_STRIPS columns are drawn.
        names: the K columns' names.
        train: (N,) true for a training row.
        color: of the points.

    Raises:
        ValueError: shapes that do not fit together, or a value that is not finite.
    """
    values, train = _checked(values, names, train)
    values, names = values[:, :MOST_STRIPS], names[:MOST_STRIPS]
    chosen = _even(len(values), MOST_POINTS // len(names))
    jitter = 0.5 * ((np.arange(len(chosen)) * 0.618034) % 1) - 0.1  # even, and the same before and after
    traces = []
    for part, name in _parts(train[chosen]):
        places = np.concatenate([row + jitter[part] for row in range(len(names))])
        traces.append(_points(values[chosen[part]].T.ravel(), places, name, color, 7, "%{x:.4~g}"))
    return style.figure(
        traces,
        **_legend(train),
        hovermode="closest",
        xaxis=_axis("value", _padded(values)),
        yaxis={"range": [len(names) - 0.45, -0.5], "visible": False, "fixedrange": True},
        annotations=[
            {"text": _short(name), "x": 0, "xref": "paper", "xanchor": "left", "y": row - 0.3, "yref": "y",
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
    """Two columns against each other.

    Args:
        values: (N, 2) the two columns.
        names: their names.
        train: (N,) true for a training row.
        color: of the points.
        one_scale: whether both axes have one range and one scale, so that a circle is round.

    Raises:
        ValueError: shapes that do not fit together, or a value that is not finite.
    """
    values, train = _checked(values, names, train)
    if len(names) != 2:
        raise ValueError(f"a scatter plot needs two columns; received {len(names)}")
    chosen = _even(len(values), MOST_POINTS)
    traces = [
        _points(values[chosen[part], 0], values[chosen[part], 1], name, color, 9, "%{x:.4~g}, %{y:.4~g}")
        for part, name in _parts(train[chosen])
    ]
    ends = [_padded(values)] * 2 if one_scale else [_padded(column) for column in values.T]
    x, y = (_axis(_short(name), end) for name, end in zip(names, ends, strict=True))
    if one_scale:
        x |= {"constrain": "domain"}
        y |= {"constrain": "domain", "scaleanchor": "x", "scaleratio": 1}
    return style.figure(traces, **_legend(train), hovermode="closest", xaxis=x, yaxis=y)


def histogram(values: NDArray[Any], name: str, train: NDArray[np.bool_], color: str) -> go.Figure:
    """One column: bars for the training rows, a line for the new ones, each as a share of its own rows.

    Args:
        values: (N,) the column.
        name: its name.
        train: (N,) true for a training row.
        color: of bars and line.

    Raises:
        ValueError: shapes that do not fit together, or a value that is not finite.
    """
    values, train = _checked(values[:, None], [name], train)
    low, high = _padded(values, 0.0)
    edges = np.linspace(low, high, BINS + 1)
    width = (high - low) / BINS
    traces: list[Any] = []
    for part, title in _parts(train):
        counts, _ = np.histogram(values[part], edges)
        shares = (100 * counts / len(part)).astype(np.float32)
        if title == TRAINING:
            marker = {"color": color, "line": {"width": 0}}
            bars = go.Bar(x0=low + width / 2, dx=width, y=shares, name=title, marker=marker, opacity=0.8)
            traces.append(bars.update(hovertemplate="%{y:.1f} %"))
        else:
            around = np.concatenate([[0], shares, [0]]).astype(np.float32)
            line = {"color": color, "width": 3, "shape": "hvh", "dash": "dot"}
            traces.append(
                go.Scatter(x0=low - width / 2, dx=width, y=around, name=title, mode="lines", line=line,
                           hovertemplate="%{y:.1f} %")
            )  # fmt: skip
    y = {"ticksuffix": " %", "automargin": True, "fixedrange": True, "rangemode": "tozero", "nticks": 5,
         "zeroline": False, "title": {"text": "share of the rows"}}  # fmt: skip
    return style.figure(
        traces, **_legend(train), bargap=0, hovermode="closest", xaxis=_axis(_short(name), (low, high)), yaxis=y
    )


def color_histogram(values: NDArray[Any]) -> go.Figure:
    """The values of a photo's pixels, one line for each color.

    Args:
        values: (pixels, 3) red, green and blue.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    values, _ = _checked(values, tuple(COLORS), np.ones(len(values), dtype=bool))
    edges = np.linspace(*_padded(values, 0.0), 2 * BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    return curves.lines(
        [
            curves.Line(name, middles, 100 * np.histogram(values[:, k], edges)[0] / len(values), color, step=True)
            for k, (name, color) in enumerate(COLORS.items())
        ],
        "value",
        "share of the pixels, %",
    )


def statistics(names: Sequence[str], before: NDArray[Any], after: NDArray[Any]) -> str:
    """The columns in numbers, before and after, as an HTML table.

    The last number is the column's share of the mean squared distance between two rows: its variance over that of all.

    Args:
        names: the K columns' names.
        before: (N, K) the table.
        after: (N, K) the scaled table.
    """
    lines = []
    sides = [(side, values, values.var(0)) for side, values in (("before", before), ("after", after))]
    for k, name in enumerate(names):
        for side, values, variances in sides:
            column = values[:, k]
            size = 1e-6 * np.abs(column).max()  # what is smaller is rounding
            numbers = [
                float(n) if abs(n) > size else 0.0 for n in (column.min(), column.mean(), column.std(), column.max())
            ]
            share = 100 * float(variances[k]) / (float(variances.sum()) or 1.0)
            head = f'<th rowspan="2" scope="rowgroup">{escape(name)}</th>' if side == "before" else ""
            cells = "".join(f"<td>{cell}</td>" for cell in (side, *map(style.number, numbers), f"{share:.1f} %"))
            lines.append(f"<tr>{head}{cells}</tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    table = f'<table class="nv-scaled"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'{TABLE_STYLE}<div class="nv-wide">{table}</div>'


def _checked(
    values: NDArray[Any], names: Sequence[str], train: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values, train = style.finite(values), np.asarray(train)
    if values.ndim != 2 or values.shape[1] != len(names) or train.shape != values.shape[:1]:
        raise ValueError(
            f"a table needs a name for each column and a mark for each row; received values {values.shape}, "
            f"{len(names)} names and marks {train.shape}"
        )
    return values, train


def _even(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly spaced."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _parts(train: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], str]]:
    """Where the training rows are, and where the new ones, with their names; none where there are none."""
    parts = [(np.flatnonzero(train), TRAINING), (np.flatnonzero(~train), NEW)]
    return [(part, name) for part, name in parts if len(part)]


def _points(x: NDArray[Any], y: NDArray[Any], name: str, color: str, size: float, hover: str) -> go.Scatter:
    """Filled points for training rows, rings for new ones."""
    ring = name == NEW
    marker = {"color": color, "size": size, "opacity": 1.0 if ring else 0.65}
    marker |= {"symbol": "circle-open", "line": {"width": 2}} if ring else {"line": {"width": 0}}
    return go.Scatter(
        x=x.astype(np.float32), y=y.astype(np.float32), name=name, mode="markers", marker=marker, hovertemplate=hover
    )


def _padded(values: NDArray[Any], beyond: float = 0.05) -> tuple[float, float]:
    """From the least to the greatest value, and a little beyond."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = max(0.5, 0.1 * abs(low))
        return low - pad, high + pad
    pad = beyond * (high - low)
    return low - pad, high + pad


def _axis(title: str, ends: tuple[float, float]) -> dict[str, Any]:
    return {
        "title": {"text": title}, "range": list(ends), "automargin": True, "zeroline": True, "ticks": "outside",
        "ticklen": 6, "nticks": 6, "exponentformat": "power",
    }  # fmt: skip


def _short(name: str) -> str:
    """A name that fits at an axis, with nothing in it that the chart would take for markup."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return escape(short)


def _legend(train: NDArray[np.bool_]) -> dict[str, Any]:
    """The names of the two kinds of rows above the chart, where there are two."""
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "itemclick": False,
              "itemdoubleclick": False}  # fmt: skip
    return {"showlegend": not bool(train.all()), "legend": legend, "margin": {"l": 8, "r": 12, "t": 12, "b": 8}}
