"""The pictures of a demonstration as charts, and its facts as a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import cycle

import plotly.graph_objects as go

from normviz.experiments.results import Curve, Curves, Fact, Matrix, Picture
from normviz.figures import curves, style
from normviz.figures.normalization import tensors

STYLE = """
.nv-facts { border-collapse: collapse; width: 100%; line-height: 1.4; font-size: 1rem; }
.nv-facts th, .nv-facts td { border-bottom: 1px solid var(--nv-line); padding: .35rem .5rem; text-align: right; }
.nv-facts th:first-child, .nv-facts td:first-child { text-align: left; }
.nv-facts td + td { white-space: nowrap; }
.nv-facts thead { color: var(--nv-quiet); }
"""
NAMED = {"before": style.BEFORE, "after": style.AFTER}
COLORS = {
    "measured": (style.AFTER, "#0072B2", "#009E73"),
    "compared": (style.BEFORE, "#CC79A7", "#56B4E9"),
    "expected": (curves.EXPECTED,),
}
DASHES: dict[str, curves.Dash] = {"measured": "solid", "compared": "dash", "expected": "dot"}


def limits(pictures: Sequence[Picture]) -> tuple[float, float]:
    """The ends of the color scale of all matrices among the pictures; (0, 1) where there is none."""
    matrices = [picture.values for picture in pictures if isinstance(picture, Matrix)]
    return style.limits(*matrices, signed=min(float(m.min()) for m in matrices) < 0) if matrices else (0.0, 1.0)


def chart(picture: Picture, ends: tuple[float, float]) -> go.Figure:
    """One picture as a chart.

    Args:
        picture: a matrix, curves or bars.
        ends: of the color scale of a matrix, as `limits` gives them.
    """
    if isinstance(picture, Matrix):
        padded = picture.padding
        return tensors.slice_heatmap(
            picture.values, *ends, None if padded is None else padded.astype(int), picture.axes, picture.role,
            "diverging" if ends[0] < 0 else "sequential", padding=None if padded is None else 1,
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
    """Curves with the color and the dash of what they are."""
    left = {kind: cycle(colors) for kind, colors in COLORS.items()}
    return [
        curves.Line(
            curve.name, curve.x, curve.y, NAMED.get(curve.name) or next(left[curve.kind]), DASHES[curve.kind], step=step
        )
        for curve in drawn
    ]


def in_words(picture: Picture) -> str:
    """What a picture shows, for those who cannot see it."""
    if isinstance(picture, Matrix):
        (rows, columns), (down, across) = picture.values.shape, picture.axes
        return f"{picture.title}: {rows} {down}s by {columns} {across}s"
    names = [curve.name for curve in picture.curves] if isinstance(picture, Curves) else list(picture.groups)
    return f"{picture.title}: {picture.y_title} by {picture.x_title}, {', '.join(names)}"


def table(facts: Sequence[Fact]) -> str:
    """The facts, measured beside expected, as HTML."""
    rows = [
        f"<tr><td>{escape(fact.label)}</td><td>{style.number(fact.measured)}</td><td>{_expected(fact)}</td></tr>"
        for fact in facts
    ]
    head = "<thead><tr><th>This run</th><th>measured</th><th>expected</th></tr></thead>"
    return f'<table class="nv-facts">{head}<tbody>{"".join(rows)}</tbody></table><style>{STYLE}</style>'


def _expected(fact: Fact) -> str:
    if fact.expected is None:
        return "–"
    loose = fact.within > 1e-3 * max(abs(fact.expected), 1e-3)
    return style.number(fact.expected) + (f" ± {style.number(fact.within, 2)}" if loose else "")
