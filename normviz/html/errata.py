"""Errata: formulas with the mistake in color, and a table of the results of both formulas."""

from __future__ import annotations

import math

from normviz.experiments.errata.erratum import Comparison, Outcome
from normviz.figures.experiments.errata import GOOD, WRONG
from normviz.formatting import number
from normviz.html.table import Cell, Html, Row, table

# As text, the colors of the charts are darker on a light page and lighter on a dark one.
TEXT_COLORS = {WRONG: "light-dark(#A52E72, #F29AC7)", GOOD: "light-dark(#00724F, #4FD1A5)"}


def colored(formula: str) -> str:
    r"""Returns the LaTeX of a formula with its parts \wrong{...} and \good{...} in color."""
    return formula.replace(r"\wrong{", rf"\textcolor{{{WRONG}}}{{").replace(r"\good{", rf"\textcolor{{{GOOD}}}{{")


def formula_css(selector: str) -> str:
    """Returns the CSS that adapts both colors of the formulas inside a selector to a light or dark page."""

    def rgb(color: str) -> str:  # as a browser writes it into a style attribute: "196, 81, 143"
        return ", ".join(str(int(color[k : k + 2], 16)) for k in (1, 3, 5))

    return "".join(
        f'{selector} [style*="{rgb(color)}"] {{ color: {text_color} !important; }}'
        for color, text_color in TEXT_COLORS.items()
    )


def results(outcome: Outcome) -> Html:
    """Returns an HTML table of the results of both formulas; the first one and the largest difference are large."""

    def row(fact: Comparison, kind: str = "") -> Row:
        printed, right = (_number(value, fact.digits) for value in (fact.printed, fact.right))
        cells = [Cell(printed, style=f"color:{TEXT_COLORS[WRONG]}"), Cell(right, style=f"color:{TEXT_COLORS[GOOD]}")]
        return Row([fact.label, *cells], kind)

    first, *others = outcome.facts
    difference = Row(["largest difference between values", Cell(_number(outcome.residual), columns=2)], "nv-large")
    rows = [row(first, "nv-large"), difference, *map(row, others)]
    return table(["", *outcome.names], rows, "nv-errata")


def _number(value: float | None, digits: int = 3) -> Html | None:
    """Formats a number; rounding errors become 0."""
    if value is None:
        return None
    return Html(number(0.0 if math.isclose(value, 0, abs_tol=1e-9) else value, digits))
