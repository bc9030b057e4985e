"""Probabilities before and after a change, in bars and in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from normviz.figures.style import AFTER, BEFORE

STYLE = f"""<style>
.nv-changes {{ width: 100%; max-width: 60rem; border-collapse: collapse; font-variant-numeric: tabular-nums; }}
.nv-changes caption {{ text-align: left; padding-bottom: .3rem; color: var(--nv-quiet); }}
.nv-changes b {{ display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin: 0 .35em 0 .8em; }}
.nv-changes th {{ text-align: left; font-weight: 400; padding: .2rem 1rem .2rem 0; width: 30%; }}
.nv-changes tr.nv-asked th {{ font-weight: 650; }}
.nv-changes td:last-child {{ white-space: nowrap; text-align: right; padding-left: .8rem; width: 1%; }}
.nv-changes i {{ display: block; height: .5rem; min-width: 2px; border-radius: 2px; margin: 2px 0; }}
.nv-changes .nv-was {{ background: {BEFORE}; }}
.nv-changes .nv-is {{ background: {AFTER}; }}
</style>"""


def percent(share: float) -> str:
    """A probability in percent, never rounded to certainty."""
    if share > 0.99:
        return "more than 99 %"
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def short_percent(share: float) -> str:
    """A probability in percent for a narrow place, as HTML."""
    return percent(share).replace("less than", "&lt;").replace("more than", "&gt;")


def in_words(name: str, before: float, after: float) -> str:
    """What became of a class's probability: "cat falls from 94 % to 31 %"."""
    was, now = percent(before), percent(after)
    if was == now:
        return f"{name} stays at {now}"
    return f"{name} {'falls' if after < before else 'rises'} from {was} to {now}"


def table(names: Sequence[str], before: Sequence[float], after: Sequence[float], asked: str) -> str:
    """Classes with two bars each, as HTML.

    Args:
        names: the classes, in the order to show.
        before: their probabilities before the change, from 0 to 1.
        after: those after it.
        asked: the class that is asked about, in bold.
    """
    rows = "".join(
        f'<tr{" class=nv-asked" if name == asked else ""}><th scope="row">{escape(name)}</th>'
        f'<td><i class="nv-was" style="width:{100 * was:.1f}%"></i><i class="nv-is" style="width:{100 * now:.1f}%"></i>'
        f"</td><td>{short_percent(was)} → {short_percent(now)}</td></tr>"
        for name, was, now in zip(names, before, after, strict=True)
    )
    legend = f'Probabilities <b style="background:{BEFORE}"></b>before <b style="background:{AFTER}"></b>after'
    return f'{STYLE}<table class="nv-changes"><caption>{legend}</caption>{rows}</table>'
