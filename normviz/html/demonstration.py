"""The measured facts of a demonstration as a table."""

from __future__ import annotations

from collections.abc import Sequence

from normviz.experiments.results import Fact
from normviz.formatting import number
from normviz.html.table import Html, table


def facts(results: Sequence[Fact]) -> Html:
    """Returns an HTML table of measured and expected values."""
    rows = [[fact.label, fact.measured, _expected(fact)] for fact in results]
    return table(("This run", "measured", "expected"), rows, "nv-facts")


def _expected(fact: Fact) -> Html | None:
    """Returns the expected value with its tolerance, if that is larger than rounding."""
    if fact.expected is None:
        return None
    loose = fact.within > 1e-3 * max(abs(fact.expected), 1e-3)
    return Html(number(fact.expected) + (f" ± {number(fact.within, 2)}" if loose else ""))
