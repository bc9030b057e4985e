"""Measured properties of a point cloud before and after a normalization, and of the gradient at one point."""

from __future__ import annotations

from torch import Tensor

from normviz.experiments.labs.geometry import Space
from normviz.formatting import fixed
from normviz.html.table import Content, Html, table


def measurements(space: Space, with_gradient: bool) -> Html:
    """Returns HTML tables of the distances and sums, and of the gradient before and after the normalization's backward.

    Args:
        space: the points, their normalized values and the gradient.
        with_gradient: whether to add the table of the gradient.
    """
    before, after = (float(points.sum(dim=1).abs().max()) for points in (space.before, space.plain))
    rows: list[list[Content]] = [
        ["distance from 0", _range(space.before), _range(space.plain)],
        ["largest absolute sum of the features", fixed(before), fixed(after)],
    ]
    if space.surface:
        rows.append(["largest distance from the surface (due to ε)", "", fixed(space.gap)])
    points = table(("all points (γ = 1, β = 0)", "before", "after"), rows)
    if not with_gradient:
        return points
    gradient = space.gradient
    rows = [["length", fixed(float(gradient.incoming.norm())), fixed(float(gradient.left.norm()))]]
    for text, parts in (
        ("component along (1, 1, 1)", gradient.along_ones),
        ("component along the point before", gradient.along_point),
        ("component along the point after", gradient.along_result),
    ):
        rows.append([text, fixed(parts[0]), fixed(parts[1])])
    if not space.surface:
        rows.append(["sum over all points, per feature", "", fixed(gradient.batch_sum)])
    return Html(points + table(("gradient", "incoming", "remaining"), rows))


def _range(points: Tensor) -> str:
    """Returns the smallest and the largest distance of the points (N, 3) from 0."""
    lengths = points.norm(dim=1)  # (N,)
    return f"{fixed(float(lengths.min()))} to {fixed(float(lengths.max()))}"
