"""Points with three features before and after a normalization, their surface, and a gradient as two arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from normviz.figures import style

Points = NDArray[Any]
MESH, THREAD = "#8F98A3", "#A5ADB6"  # opaque: WebGL draws transparent lines too pale
INCOMING, REMAINING = style.OKABE_ITO[1], style.OKABE_ITO[2]
LONGEST = 3.0  # length to which a longer arrow is shortened
BARB = 0.22  # length of an arrow's head
WALL = {"title": {"text": ""}, "showbackground": False, "showspikes": False, "zeroline": False, "nticks": 5}


def with_gaps(lines: Sequence[Points]) -> Points:
    """Joins lines (K, 3) of any lengths into one line (K', 3) with a gap (NaN) after each."""
    gap = np.full((1, 3), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)]).astype(np.float32)


def arrow(start: Points, vector: Points) -> Points:
    """Returns an arrow from a point (3,) as one line (K, 3): a shaft and four barbs; a zero vector gives a point."""
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        return np.asarray(start, dtype=np.float32)[None]
    ahead = vector / length
    tip = start + vector * min(1.0, LONGEST / length)
    side = np.cross(ahead, np.eye(3)[np.abs(ahead).argmin()])
    side /= np.linalg.norm(side)
    other = np.cross(ahead, side)
    head = min(BARB, 0.4 * min(length, LONGEST))
    barbs = [tip - head * (ahead + 0.5 * edge) for edge in (side, -side, other, -other)]
    return with_gaps([np.stack([start, tip]), *(np.stack([barb, tip]) for barb in barbs)])


def scene(
    before: Points,
    after: Points,
    surface: Sequence[Points] = (),
    surface_name: str = "",
    joined: bool = True,
    selected: int = 0,
    incoming: Points | None = None,
    remaining: Points | None = None,
) -> go.Figure:
    """Draws points before and after a normalization in one space with equal axes.

    Args:
        before: (N, 3) the points.
        after: (N, 3) the normalized points.
        surface: lines (K, 3) of the surface on which the normalized points lie.
        surface_name: its name in the legend.
        joined: whether to draw a line from each point to its normalized point.
        selected: index of the point with the gradient.
        incoming: (3,) the gradient with respect to the normalized point.
        remaining: (3,) the gradient with respect to the point itself, drawn from the normalized point for comparison.

    Raises:
        ValueError: if the shapes differ from (N, 3), or a value is not finite.
    """
    before, after = style.finite(before), style.finite(after)
    if before.ndim != 2 or before.shape[1] != 3 or after.shape != before.shape:
        raise ValueError(f"before and after must have the same shape (N, 3); received {before.shape} and {after.shape}")
    traces = []
    if surface:
        traces.append(_line(with_gaps(surface), surface_name, MESH, 2))
    if joined:
        pairs = [np.stack(pair) for pair in zip(before, after, strict=True)]
        traces.append(_line(with_gaps(pairs), "from each point to its normalized point", THREAD, 1, legend=False))
    traces += [_points(before, "before", style.BEFORE), _points(after, "after", style.AFTER)]
    reach = [before, after, *surface]
    for vector, name, color in (
        (incoming, "incoming gradient", INCOMING),
        (remaining, "remaining gradient", REMAINING),
    ):
        if vector is not None:
            line = arrow(after[selected], vector)
            traces.append(_line(line, name, color, 7))
            reach.append(line)
    if incoming is not None or remaining is not None:
        ring = np.stack([before[selected], after[selected]])
        traces.append(_points(ring, "selected point", "rgba(0,0,0,0)", 11, line={"color": REMAINING, "width": 3}))
    traces.insert(0, _axes(np.nanmax(np.concatenate(reach), axis=0)))
    return style.figure(
        traces,
        hovermode=False,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": False,
                "itemdoubleclick": False, "itemsizing": "constant"},
        margin={"l": 0, "r": 0, "t": 60, "b": 0},
        scene={
            "xaxis": WALL, "yaxis": WALL, "zaxis": WALL,
            "aspectmode": "data", "dragmode": "turntable", "uirevision": "keep",
            "camera": {"eye": {"x": 1.6, "y": -0.5, "z": 1.0}, "center": {"x": 0, "y": 0, "z": -0.08}},
        },
    )  # fmt: skip


def _axes(ends: Points) -> go.Scatter3d:
    """Draws the three axes from 0 to slightly beyond `ends` (3,), each with its name at its end."""
    tips = np.diag(1.1 * np.maximum(ends, 1.0))  # (3, 3)
    points = with_gaps([np.stack([np.zeros(3), tip]) for tip in tips])  # (9, 3)
    return go.Scatter3d(
        **_xyz(points), mode="lines+text", text=["", "x₁", "", "", "x₂", "", "", "x₃", ""], textfont={"size": 20},
        textposition="top center", line={"color": MESH, "width": 4}, hoverinfo="skip", showlegend=False, name="axes",
    )  # fmt: skip


def _xyz(points: Points) -> dict[str, Points]:
    return dict(zip("xyz", np.ascontiguousarray(points.T, dtype=np.float32), strict=True))


def _line(points: Points, name: str, color: str, width: float, legend: bool = True) -> go.Scatter3d:
    return go.Scatter3d(
        **_xyz(points), mode="lines", name=name, line={"color": color, "width": width}, hoverinfo="skip",
        showlegend=legend,
    )  # fmt: skip


def _points(points: Points, name: str, color: str, size: float = 4.5, **marker: Any) -> go.Scatter3d:
    return go.Scatter3d(
        **_xyz(points), mode="markers", name=name, marker={"color": color, "size": size} | marker, hoverinfo="skip"
    )
