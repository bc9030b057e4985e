"""A formula as it is often printed beside the right one: the mistake in color, the numbers of both, and a chart."""

from __future__ import annotations

import math
from html import escape

import plotly.graph_objects as go

from normviz.experiments.errata.erratum import Comparison, Outcome
from normviz.figures import curves, style
from normviz.normalization.analysis.statistics import histogram, value_range

WRONG, GOOD = "#C4518F", "#0B8A66"  # in charts and, as text, a shade darker on paper and lighter at night
SHADES = {WRONG: "light-dark(#A52E72, #F29AC7)", GOOD: "light-dark(#00724F, #4FD1A5)"}
BINS = 60
WRITTEN = 3  # places whose bars carry their numbers: on a phone those of more would overlap


STYLE = f"""
<style>
.nv-facts {{ width: 100%; max-width: 60rem; border-collapse: collapse; line-height: 1.4; }}
.nv-facts th, .nv-facts td {{ padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--nv-line); font-size: 1rem; font-weight: 400; }}
.nv-facts thead th {{ font-weight: 600; }}
.nv-facts td {{ font-weight: 600; white-space: nowrap; }}
.nv-facts .nv-large td {{ font-size: clamp(1.5rem, 1rem + 2vw, 2.4rem); line-height: 1.15; }}
.nv-facts .nv-a {{ color: {SHADES[WRONG]}; }} .nv-facts .nv-b {{ color: {SHADES[GOOD]}; }}
.nv-facts sup {{ font-size: .6em; }}
</style>
"""


def colored(formula: str) -> str:
    """The formula with its mistake, or what belongs there, in color."""
    return formula.replace(r"\wrong{", rf"\textcolor{{{WRONG}}}{{").replace(r"\good{", rf"\textcolor{{{GOOD}}}{{")


def shades(place: str) -> str:
    """The rules of CSS that show the two colors in the formulas of a place by day and by night."""

    def written(color: str) -> str:  # as a browser writes it into a style: "196, 81, 143"
        return ", ".join(str(int(color[k : k + 2], 16)) for k in (1, 3, 5))

    return "".join(f'{place} [style*="{written(c)}"] {{ color: {shade} !important; }}' for c, shade in SHADES.items())


def chart(seen: Outcome) -> go.Figure:
    """What both formulas give, as bars, as lines over steps, or as two histograms on one axis."""
    sides = [
        (name, values, color)
        for name, values, color in zip(seen.names, (seen.printed, seen.right), (WRONG, GOOD), strict=True)
        if values is not None
    ]
    if seen.labels:
        groups = [curves.Bars(name, values.numpy(), color) for name, values, color in sides]
        figure = curves.bars(seen.labels, groups, seen.axis, seen.quantity)
        if len(seen.labels) > WRITTEN:
            figure.update_traces(text=None)
        return figure
    if seen.at:
        drawn = [curves.Line(name, seen.at, values.numpy(), color, marks=True) for name, values, color in sides]
        long = min(seen.at) > 0 and max(seen.at) > 100 * min(seen.at)
        return curves.lines(drawn, seen.axis, seen.quantity, log_x=long, log_y=seen.growing)
    low, high = value_range(*(values for _, values, _ in sides))
    places = [low + (high - low) * (k + 0.5) / BINS for k in range(BINS)]
    drawn = []
    for name, values, color in sides:
        counts = histogram(values, low, high, BINS).counts.numpy()  # (BINS,)
        drawn.append(curves.Line(name, places, 100 * counts / len(values), color, step=True))
    return curves.lines(drawn, seen.quantity, "share of the values, %")


def table(seen: Outcome) -> str:
    """The numbers of both formulas as HTML, the first one and the largest difference in big digits."""

    def row(fact: Comparison, large: bool) -> str:
        printed, right = (_number(value, fact.digits) for value in (fact.printed, fact.right))
        values = f'<td class="nv-a">{printed}</td><td class="nv-b">{right}</td>'
        return f'<tr class="{"nv-large" if large else ""}"><th scope="row">{escape(fact.label)}</th>{values}</tr>'

    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *seen.names))
    first, *others = [row(fact, index == 0) for index, fact in enumerate(seen.facts)]
    difference = f'<th scope="row">largest difference of a value</th><td colspan="2">{_number(seen.residual)}</td>'
    body = "".join([first, f'<tr class="nv-large">{difference}</tr>', *others])
    return f'{STYLE}<table class="nv-facts"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _number(value: float | None, digits: int = 3) -> str:
    """A number for the table; what is only rounding is 0, and nothing is a dash."""
    if value is None:
        return "–"
    return style.number(0.0 if math.isclose(value, 0, abs_tol=1e-9) else value, digits)
