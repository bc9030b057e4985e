"""Tables beside maps, as HTML: how alike maps are, the channels behind a cell, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz import colors
from normviz.attribution.diagnosis.terms import Term, Terms
from normviz.experiments.results import Fact
from normviz.figures import maps, style
from normviz.html import confidence_change

STYLE = """<style>
.nv-table { border-collapse: collapse; line-height: 1.4; font-size: 1rem; font-variant-numeric: tabular-nums; }
.nv-table th, .nv-table td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid var(--nv-line); }
.nv-table th { font-weight: 400; color: var(--nv-quiet); }
.nv-table th:first-child, .nv-table td:first-child { text-align: left; }
.nv-table img { display: block; width: 4.5rem; aspect-ratio: var(--aspect, 1); image-rendering: pixelated;
  border-radius: 3px; }
.nv-table tfoot td { font-weight: 650; border-bottom: 0; }
.nv-alike td { text-align: center; border: 2px solid transparent; background-clip: padding-box; padding: .35rem; }
.nv-alike th { line-height: 1.2; padding: .35rem; }
.nv-scroll { overflow-x: auto; }
</style>"""


def alike(names: Sequence[str], table: NDArray[np.float64]) -> str:
    """Correlations (n, n) in colors from -1 (blue) to 1 (orange); a dash where there is none."""
    rows = []
    for i, (name, line) in enumerate(zip(names, table.tolist(), strict=True)):
        grounds = ["" if i == j else _color(value) for j, value in enumerate(line)]
        cells = "".join(f'<td style="{ground}">{_two(value)}</td>' for ground, value in zip(grounds, line, strict=True))
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    head = f"<thead><tr><th></th>{heads}</tr></thead>"
    body = f"<tbody>{''.join(rows)}</tbody>"
    return f'{STYLE}<div class="nv-scroll"><table class="nv-table nv-alike">{head}{body}</table></div>'


def _two(value: float) -> str:
    return "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _color(value: float) -> str:
    """The ground and the ink of a correlation."""
    if np.isnan(value):
        return ""
    red, green, blue = colors.palette(colors.SIGNED)[round(127.5 + 127.5 * value)].tolist()
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return f"background-color:rgb({red},{green},{blue});color:{style.INK if light else '#FFFFFF'}"


def sureness(name: str, networks: Sequence[tuple[str, float, float | None]]) -> str:
    """How sure networks are of one class, and how often they are right.

    Args:
        name: of the class.
        networks: the name of each, the probability it gives the class, and its accuracy where that was measured.
    """
    heads = "".join(f"<th>{escape(title)}</th>" for title, _, _ in networks)
    sure = "".join(f"<td>{confidence_change.short_percent(share)}</td>" for _, share, _ in networks)
    right = "".join(
        f"<td>{'–' if share is None else confidence_change.short_percent(share)}</td>" for _, _, share in networks
    )
    return (
        f'{STYLE}<div class="nv-scroll"><table class="nv-table"><thead><tr><th></th>{heads}</tr></thead><tbody>'
        f"<tr><th>probability of {escape(name)}</th>{sure}</tr>"
        f"<tr><th>right on pictures it never saw</th>{right}</tr></tbody></table></div>"
    )


def channels(found: Terms, pictures: NDArray[np.float32], cell: float, aspect: float, relu: bool) -> str:
    """The channels that add most to a cell, each with its map, and their sum.

    Args:
        found: the cell taken apart.
        pictures: (channels, h, w) activations of the named channels.
        cell: the value of the map.
        aspect: width over height of the photo.
        relu: whether the method sets a negative sum to 0.
    """
    body = "".join(_channel(term, picture) for term, picture in zip(found.terms, pictures, strict=True))
    rest = found.channels - len(found.terms)
    head = "".join(f"<th>{text}</th>" for text in ("k", "map of A", "A", "g", "weight w", "w · A"))
    ends = (
        f'<tr><td colspan="5">the other {rest} channels</td><td>{style.number(found.others)}</td></tr>' if rest else ""
    )
    last = "the map's cell: the sum"
    if relu and found.total < 0:
        last = "the map's cell: negative sums are set to 0"
    foot = (
        f'<tr><td colspan="5">sum over all {found.channels} channels</td><td>{style.number(found.total)}</td></tr>'
        f'<tr><td colspan="5">{last}</td><td>{style.number(cell)}</td></tr>'
    )
    return (
        f'{STYLE}<div class="nv-scroll" style="--aspect:{aspect:.3f}"><table class="nv-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}{ends}</tbody><tfoot>{foot}</tfoot></table></div>"
    )


def _channel(term: Term, picture: NDArray[np.float32]) -> str:
    signed = bool(picture.min() < 0)
    ends = style.limits(picture, signed=signed)
    drawn = maps.data_uri(colors.colorize(picture, colors.SIGNED if signed else "inferno", *ends))
    slope = "–" if term.gradient is None else style.number(term.gradient)
    numbers = (style.number(term.activation), slope, style.number(term.weight), style.number(term.product))
    cells = "".join(f"<td>{text}</td>" for text in numbers)
    return f'<tr><td>{term.channel}</td><td><img src="{drawn}" alt="channel {term.channel}"></td>{cells}</tr>'


def facts(found: Sequence[Fact]) -> str:
    """What was measured; beside it what theory says, where it says something."""
    theory = any(fact.expected is not None for fact in found)

    def line(fact: Fact) -> str:
        expected = "" if fact.expected is None else style.number(fact.expected)
        more = f"<td>{expected}</td>" if theory else ""
        return f"<tr><td>{escape(fact.label)}</td><td>{style.number(fact.measured)}</td>{more}</tr>"

    head = "<th>Measured here and now</th><th></th>" + ("<th>expected</th>" if theory else "")
    body = "".join(map(line, found))
    table = f'<table class="nv-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'{STYLE}<div class="nv-scroll">{table}</div>'
