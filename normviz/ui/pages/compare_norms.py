"""The cards of the normalizations: their measurements and pictures, their order, and their downloads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from normviz.figures.style import AFTER, BEFORE
from normviz.formatting import number
from normviz.normalization.analysis.comparison import LIMIT, Compared, SharedScale, compare
from normviz.prints import contact_sheet
from normviz.prints.contact_sheet import Card
from normviz.registry import Normalization
from normviz.ui.inputs.source import Source
from normviz.ui.kit import cache, jobs
from normviz.ui.kit.knobs import short

STYLE = f"""<style>
.nv-legend b {{ display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin: 0 .35em 0 1em; }}
.nv-multiple {{ display: grid; grid-template-columns: minmax(0, 1fr); gap: .5rem; color: var(--nv-ink); }}
.nv-multiple h3 {{ margin: 0; padding: 0; font-size: 1.125rem; line-height: 1.3; font-weight: 650; }}
.nv-multiple h3 a {{ color: inherit; }}
.nv-multiple .nv-shares {{ margin: 0; color: var(--nv-quiet); line-height: 1.35; min-height: 2.7em; }}
.nv-multiple .nv-top {{ display: grid; grid-template-columns: 5rem minmax(0, 1fr); gap: .4rem; align-items: center; }}
.nv-multiple img {{ display: block; width: 100%; }}
.nv-multiple .nv-bars {{ height: 5.5rem; }}
.nv-multiple .nv-values {{ aspect-ratio: 2.4; image-rendering: pixelated; border-radius: 3px; }}
.nv-multiple .nv-axis {{ display: flex; justify-content: space-between; color: var(--nv-quiet); margin-top: -.4rem; }}
.nv-multiple dl {{ display: grid; grid-template-columns: auto 1fr; gap: .1rem .4rem; margin: 0; padding: 0; }}
.nv-multiple dt, .nv-multiple dd {{ line-height: 1.35; }}
.nv-multiple dt {{ color: var(--nv-quiet); white-space: nowrap; }}
.nv-multiple dd {{ margin: 0; padding: 0; text-align: right; font-weight: 600; white-space: nowrap; }}
[data-testid="stMultiSelect"] [data-baseweb="tag"] span, [data-testid="stProgress"] p {{ font-size: 1rem; }}
.nv-waiting {{ min-height: 26rem; opacity: .6; }}
</style>
<p class="nv-legend">All values<b style="background:{BEFORE}"></b>before<b style="background:{AFTER}"></b>after</p>"""
SORTS: dict[str, Callable[[Compared], float | None] | None] = {
    "list order": None,
    "name": None,
    "time": lambda result: result.seconds,
    "memory": lambda result: result.memory,
    "statistics": lambda result: result.statistics,
    "learned parameters": lambda result: result.parameters,
    "change of the input": lambda result: result.distance,
}
EXPORTED = (
    "name", "title", "settings", "shares", "statistics", "parameters", "seconds", "memory", "output", "distance",
    "mean", "std",
)  # fmt: skip


@dataclass(frozen=True)
class NormCard:
    """One method: its measurements and its card, or the reason why it does not support the input."""

    method: Normalization
    result: Compared | None = None
    card: Card | None = None
    refused: str = ""


def norm_card(method: Normalization, chosen: Source, scale: SharedScale) -> NormCard:
    """The measurements and the card of one method, cached."""

    def run() -> NormCard:
        return jobs.compute(lambda: _make(method, chosen, scale))

    return cache.keep(f"compare {method.name}", (), run, [chosen])


def _make(method: Normalization, chosen: Source, scale: SharedScale) -> NormCard:
    try:
        result = compare(method, chosen.x, scale, chosen.running, chosen.mask)
        pictures = (
            contact_sheet.cube(result.groups),
            contact_sheet.bars(scale.counts, result.counts),
            contact_sheet.values(result.sheet, LIMIT),
        )
    except ValueError as error:
        return NormCard(method, refused=str(error))
    return NormCard(method, result, Card(result.title, result.shares, _facts(result), *pictures))


def _facts(result: Compared) -> tuple[tuple[str, str], ...]:
    """The measurements on a card."""
    return (
        ("Statistics", "–" if result.statistics is None else f"{result.statistics:,}"),
        ("Learned", f"{result.parameters:,}"),
        ("Time", _duration(result.seconds)),
        ("Memory", _amount(result.memory)),
        ("Change", number(result.distance, markup=False)),
    )


def _duration(seconds: float) -> str:
    """A time in µs, ms or s."""
    if seconds < 0.995e-3:
        return f"{1e6 * seconds:.0f} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _amount(size: int) -> str:
    """A number of bytes in B, KB or MB."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 2**10:.3g} KB" if size < 1000 * 2**10 else f"{size / 2**20:.3g} MB"


def placeholder(place: DeltaGenerator, method: Normalization) -> None:
    """Draw an empty card with the title of its method, until it is computed."""
    with place.container(border=True):
        st.html(f'<article class="nv-multiple nv-waiting"><h3>{escape(method.title)}</h3></article>')


def fill(place: DeltaGenerator, card: NormCard, scale: SharedScale, source: dict[str, str]) -> None:
    """Draw a card with a link that opens the method on the same input.

    Args:
        place: the container to draw in.
        card: the card.
        scale: the scales shared by all cards.
        source: the URL parameters of the input.
    """
    with place.container(border=True):
        st.html(_article(card, scale, address(card, source)))


def address(card: NormCard, source: dict[str, str]) -> str:
    """The link to Normalize with the method on the same input, with the settings of its card."""
    settings = card.result.settings if card.result else {}
    defaults = card.method.settings()
    changed = {name: short(value) for name, value in settings.items() if value != defaults[name]}
    return f"normalize?{urlencode({**source, 'method': card.method.title, **changed})}"


def _article(norm: NormCard, scale: SharedScale, link: str) -> str:
    """A card as HTML."""
    card, title = norm.card, escape(norm.method.title)
    head = f'<article class="nv-multiple"><h3><a href="{escape(link)}">{title}</a></h3>'
    if card is None:
        reason = escape(norm.refused[0].upper() + norm.refused[1:])
        return f'{head}<p class="nv-sentence">{reason}.</p></article>'
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in card.facts)
    cube, bars, values = map(contact_sheet.uri, (card.cube, card.bars, card.values))
    shares = escape(card.shares)
    return (
        f'{head}<p class="nv-shares">{shares}</p>'
        f'<div class="nv-top"><img src="{cube}" alt="{shares}"><dl>{facts}</dl></div>'
        f'<img class="nv-bars" src="{bars}" alt="Histograms of all values before and after">'
        f'<div class="nv-axis"><span>{number(scale.low)}</span><span>{number(scale.high)}</span></div>'
        f'<img class="nv-values" src="{values}" alt="Part of the output in colors"></article>'
    )


def ordered(cards: Sequence[NormCard], by: str) -> list[NormCard]:
    """The cards sorted by one of SORTS; cards without that measurement come last."""
    value = SORTS[by]
    if value is None:
        return list(cards)
    values = {card.method.name: value(card.result) for card in cards if card.result}

    def key(card: NormCard) -> float:
        measured = values.get(card.method.name)
        return float("inf") if measured is None else measured

    return sorted(cards, key=key)


def table(cards: Sequence[NormCard]) -> str:
    """The measurements as CSV; times in seconds, memory and output in bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EXPORTED, lineterminator="\n")
    writer.writeheader()
    for result in (card.result for card in cards if card.result):
        settings = " ".join(f"{name}={short(value)}" for name, value in result.settings.items())
        writer.writerow({name: getattr(result, name) for name in EXPORTED} | {"settings": settings})
    return text.getvalue()


def downloads(norms: Sequence[NormCard], scale: SharedScale, heading: str) -> None:
    """Draw the downloads: a sheet of all cards, drawn on request, and their measurements."""
    cards = [norm.card for norm in norms if norm.card]
    if not cards:
        return
    line = (
        f"Histograms: before (gray-blue) and after (orange), from {number(scale.low, markup=False)} "
        f"to {number(scale.high, markup=False)}. "
        f"Colors: part of the output, from {number(-LIMIT, markup=False)} (blue) to {LIMIT:g} (orange)."
    )
    st.download_button(
        "All cards (PNG)", lambda: contact_sheet.contact_sheet(heading, line, cards), "normalizations.png",
        "image/png", on_click="ignore", width="stretch",
    )  # fmt: skip
    st.download_button(
        "All measurements (CSV)", table(norms), "normalizations.csv", "text/csv", on_click="ignore", width="stretch"
    )
