"""Charts for the pictures of a demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import plotly.graph_objects as go

from normviz.experiments.results import Curve, Curves, Matrix, Picture
from normviz.figures import curves, style
from normviz.figures.normalization import tensors

NAMED = {"before": style.BEFORE, "after": style.AFTER}
COLORS = {
    "measured": (style.AFTER, "#0072B2", "#009E73"),
    "compared": (style.BEFORE, "#CC79A7", "#56B4E9"),
    "expected": (curves.EXPECTED,),
}
DASHES: dict[str, curves.Dash] = {"measured": "solid", "compared": "dash", "expected": "dot"}


def limits(pictures: Sequence[Picture]) -> tuple[float, float]:
    """Returns the limits of a common color scale for all matrices among the pictures; (0, 1) if there are none."""
    matrices = [picture.values for picture in pictures if isinstance(picture, Matrix)]
    return style.limits(*matrices, signed=min(float(m.min()) for m in matrices) < 0) if matrices else (0.0, 1.0)


def chart(picture: Picture, color_limits: tuple[float, float]) -> go.Figure:
    """Draws one picture.

    Args:
        picture: a matrix, curves or bars.
        color_limits: limits of the color scale of a matrix, from `limits`.
    """
    if isinstance(picture, Matrix):
        padded = picture.padding
        return tensors.slice_heatmap(
            picture.values, *color_limits, None if padded is None else padded.astype(int), picture.axes, picture.role,
            "diverging" if color_limits[0] < 0 else "sequential", padding=None if padded is None else 1,
        )  # fmt: skip
    if isinstance(picture, Curves):
        lines = _lines(picture.curves, picture.step)
        top = max(float(curve.y.max()) for curve in picture.curves)
        y_range = (0.0, 1.06 * top) if picture.zero and top > 0 else None
        return curves.lines(lines, picture.x_title, picture.y_title, picture.log_x, picture.log_y, y_range=y_range)
    groups = [curves.Bars(name, heights, NAMED.get(name, style.AFTER)) for name, heights in picture.groups.items()]
    return curves.bars(
        picture.places, groups, picture.x_title, picture.y_title,
        None if picture.expected is None else picture.expected.tolist(), picture.log_y, line_name=picture.line,
    )  # fmt: skip


def _lines(drawn: Sequence[Curve], step: bool) -> list[curves.Line]:
    """Returns curves with the color and the dash of their kind."""
    colors_of = {kind: cycle(colors) for kind, colors in COLORS.items()}
    return [
        curves.Line(
            curve.name,
            curve.x,
            curve.y,
            NAMED.get(curve.name) or next(colors_of[curve.kind]),
            DASHES[curve.kind],
            step=step,
        )
        for curve in drawn
    ]


def describe(picture: Picture) -> str:
    """Returns a text alternative of a picture."""
    if isinstance(picture, Matrix):
        (rows, columns), (down, across) = picture.values.shape, picture.axes
        return f"{picture.title}: {rows} {down}s by {columns} {across}s"
    names = [curve.name for curve in picture.curves] if isinstance(picture, Curves) else list(picture.groups)
    return f"{picture.title}: {picture.y_title} by {picture.x_title}, {', '.join(names)}"
