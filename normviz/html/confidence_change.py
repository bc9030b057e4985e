"""Class probabilities before and after a change: as a table with bars, and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from normviz.figures.style import AFTER, BEFORE
from normviz.formatting import percent
from normviz.html.table import Html, Row, table


def describe(name: str, before: float, after: float) -> str:
    """Describes how the probability of a class changed, as "cat falls from 94% to 31%"."""
    was, now = percent(before), percent(after)
    if was == now:
        return f"{name} stays at {now}"
    return f"{name} {'falls' if after < before else 'rises'} from {was} to {now}"


def probabilities(names: Sequence[str], before: Sequence[float], after: Sequence[float], target: str) -> Html:
    """Returns an HTML table of classes with two bars each.

    Args:
        names: the classes, in the order to show.
        before: their probabilities before the change, from 0 to 1.
        after: their probabilities after it.
        target: the class that the map is for, in bold.
    """
    rows = []
    for name, was, now in zip(names, before, after, strict=True):
        bars = Html(
            f'<i style="width:{100 * was:.1f}%;background:{BEFORE}"></i>'
            f'<i style="width:{100 * now:.1f}%;background:{AFTER}"></i>'
        )
        text = f"{percent(was, short=True)} → {percent(now, short=True)}"
        rows.append(Row([name, bars, text], "nv-target" if name == target else ""))
    legend = f'Probabilities <b style="background:{BEFORE}"></b>before <b style="background:{AFTER}"></b>after'
    return table([], rows, "nv-changes", Html(legend))
