"""Points of three features in space, before and after, with the surface they land on and a gradient as two arrows.

And what can be counted of such a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from torch import Tensor

from normviz.experiments.labs.geometry import Space
from normviz.figures import style

Points = NDArray[Any]
MESH, THREAD = "#8F98A3", "#A5ADB6"  # opaque grays for paper and night: WebGL pales lines that shine through
INCOMING, LEFT = style.OKABE_ITO[1], style.OKABE_ITO[2]
LONGEST = 3.0  # an arrow is drawn no longer than this
BARB = 0.22  # length of an arrow's head
WALL = {"title": {"text": ""}, "showbackground": False, "showspikes": False, "zeroline": False, "nticks": 5}


def apart(lines: Sequence[Points]) -> Points:
    """Lines (K, 3) of any lengths as one line (K', 3) with a gap after each."""
    gap = np.full((1, 3), np.nan)
    return np.concatenate([part for line in lines for part in (line, gap)]).astype(np.float32)


def arrow(start: Points, vector: Points) -> Points:
    """An arrow from a point (3,) as one line (K, 3): its shaft, then four barbs; a vector next to 0 gives a point."""
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
    return apart([np.stack([start, tip]), *(np.stack([barb, tip]) for barb in barbs)])


def scene(
    before: Points,
    after: Points,
    surface: Sequence[Points] = (),
    surface_name: str = "",
    joined: bool = True,
    chosen: int = 0,
    incoming: Points | None = None,
    left: Points | None = None,
) -> go.Figure:
    """Points before and after a normalization, in one space with equal axes.

    Args:
        before: (N, 3) the points.
        after: (N, 3) the normalized points.
        surface: lines (K, 3) of the surface that the results lie on.
        surface_name: what it is, in a few words.
        joined: whether a line leads from each point to its result.
        chosen: the point that the gradient belongs to.
        incoming: (3,) the gradient that arrives at its result.
        left: (3,) what is left of it for the point, drawn from the result as well, where it can be compared.

    Raises:
        ValueError: arrays of another shape, or a value that is not finite.
    """
    before, after = style.finite(before), style.finite(after)
    if before.ndim != 2 or before.shape[1] != 3 or after.shape != before.shape:
        raise ValueError(f"both clouds must have one shape (N, 3); received {before.shape} and {after.shape}")
    traces = []
    if surface:
        traces.append(_line(apart(surface), surface_name, MESH, 2))
    if joined:
        pairs = [np.stack(pair) for pair in zip(before, after, strict=True)]
        traces.append(_line(apart(pairs), "from each point to its result", THREAD, 1, legend=False))
    traces += [_dots(before, "before", style.BEFORE), _dots(after, "after", style.AFTER)]
    reach = [before, after, *surface]
    for vector, name, color in ((incoming, "gradient that arrives", INCOMING), (left, "what is left of it", LEFT)):
        if vector is not None:
            line = arrow(after[chosen], vector)
            traces.append(_line(line, name, color, 7))
            reach.append(line)
    if incoming is not None or left is not None:
        ring = np.stack([before[chosen], after[chosen]])
        traces.append(_dots(ring, "the chosen point", "rgba(0,0,0,0)", 11, line={"color": LEFT, "width": 3}))
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


def numbers(seen: Space, with_gradient: bool) -> str:
    """What can be counted of the picture, as tables in Markdown."""
    sums = [_near(float(points.sum(dim=1).abs().max())) for points in (seen.before, seen.plain)]
    lines = [
        "| all points (γ = 1, β = 0) | before | after |",
        "|---|---|---|",
        f"| distance from 0 | {_reach(seen.before)} | {_reach(seen.plain)} |",
        f"| sum of the features, at most | {sums[0]} | {sums[1]} |",
    ]
    if seen.surface:
        lines.append(f"| off the surface, at most (ε) | | {_near(seen.gap)} |")
    if with_gradient:
        g = seen.gradient
        lines += ["", "| the gradient | arrives | is left |", "|---|---|---|"]
        lines.append(f"| length | {_near(float(g.incoming.norm()))} | {_near(float(g.left.norm()))} |")
        for text, along in (
            ("part along (1, 1, 1)", g.along_ones),
            ("part along the point before", g.along_point),
            ("part along the point after", g.along_result),
        ):
            lines.append(f"| {text} | {_near(along[0])} | {_near(along[1])} |")
        if not seen.surface:
            lines.append(f"| sum over all points, per feature | | {_near(g.batch_sum)} |")
    return "\n".join(lines)


def _near(value: float) -> str:
    """A number to three digits after the point, and a true minus sign."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _reach(points: Tensor) -> str:
    """From the least to the greatest distance of the points (N, 3) from 0."""
    lengths = points.norm(dim=1)  # (N,)
    return f"{lengths.min():.3f} to {lengths.max():.3f}"


def _axes(ends: Points) -> go.Scatter3d:
    """The three axes from 0 to a little beyond `ends` (3,), each with its name at its end."""
    tips = np.diag(1.1 * np.maximum(ends, 1.0))  # (3, 3)
    points = apart([np.stack([np.zeros(3), tip]) for tip in tips])  # (9, 3)
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


def _dots(points: Points, name: str, color: str, size: float = 4.5, **marker: Any) -> go.Scatter3d:
    return go.Scatter3d(
        **_xyz(points), mode="markers", name=name, marker={"color": color, "size": size} | marker, hoverinfo="skip"
    )
