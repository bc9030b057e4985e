"""Tables for maps: their similarity, the channels that contribute to a cell, and measured facts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from normviz import colors
from normviz.attribution.diagnosis.terms import Term, Terms
from normviz.experiments.results import Fact
from normviz.figures import maps, style
from normviz.formatting import fixed, percent
from normviz.html.table import Cell, Content, Html, table


def similarity(names: Sequence[str], correlations: NDArray[np.float64]) -> Html:
    """Returns a table of the correlations (n, n) between maps, colored from −1 (blue) to 1 (orange); NaN is a dash."""
    rows: list[list[Content | Cell]] = [
        [name, *(Cell(_correlation(value), style="" if i == j else _color(value)) for j, value in enumerate(line))]
        for i, (name, line) in enumerate(zip(names, correlations.tolist(), strict=True))
    ]
    return table(["", *names], rows, "nv-similarity")


def _correlation(value: float) -> str:
    return "–" if np.isnan(value) else fixed(value, 2)


def _color(value: float) -> str:
    """Returns the background and text color of a correlation as CSS."""
    if np.isnan(value):
        return ""
    red, green, blue = colors.palette(colors.SIGNED)[round(127.5 + 127.5 * value)].tolist()
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return f"background-color:rgb({red},{green},{blue});color:{style.INK if light else '#FFFFFF'}"


def confidence(name: str, networks: Sequence[tuple[str, float, float | None]]) -> Html:
    """Returns a table of the networks' probabilities for one class and of their accuracies.

    Args:
        name: name of the class.
        networks: for each network its name, its probability of the class, and its accuracy, or None if it was not
            measured.
    """
    probabilities = [percent(share, short=True) for _, share, _ in networks]
    accuracies = [None if share is None else percent(share, short=True, counted=True) for _, _, share in networks]
    rows: list[list[Content]] = [
        [f"probability of {name}", *probabilities],
        ["accuracy on test pictures", *accuracies],
    ]
    return table(["", *(title for title, _, _ in networks)], rows)


def channels(result: Terms, pictures: NDArray[np.float32], cell: float, aspect: float, relu: bool) -> Html:
    """Returns a table of the channels that contribute most to a cell, with their feature maps and their sum.

    Args:
        result: the terms of the cell.
        pictures: (channels, h, w) feature maps of the channels in `result`.
        cell: the value of the map.
        aspect: width over height of the photo.
        relu: whether the method sets a negative sum to 0.
    """
    rows: list[list[Content | Cell]] = [
        _channel(term, picture, aspect) for term, picture in zip(result.terms, pictures, strict=True)
    ]
    rest = result.channels - len(result.terms)
    if rest:
        rows.append([Cell(f"the other {rest} channels", columns=5), result.others])
    value = (
        "value of the cell: a negative sum is set to 0" if relu and result.total < 0 else "value of the cell: the sum"
    )
    foot: list[list[Content | Cell]] = [
        [Cell(f"sum over all {result.channels} channels", columns=5), result.total],
        [Cell(value, columns=5), cell],
    ]
    return table(("k", "map of A", "A", "g", "weight w", "w · A"), rows, foot=foot)


def _channel(term: Term, picture: NDArray[np.float32], aspect: float) -> list[Content | Cell]:
    signed = bool(picture.min() < 0)
    limits = style.limits(picture, signed=signed)
    source = maps.data_uri(colors.colorize(picture, colors.SIGNED if signed else "inferno", *limits))
    image = Html(f'<img src="{source}" alt="channel {term.channel}" style="aspect-ratio:{aspect:.3f}">')
    return [str(term.channel), image, term.activation, term.gradient, term.weight, term.product]


def facts(results: Sequence[Fact]) -> Html:
    """Returns a table of measured values, with the expected ones if there are any."""
    expected = any(fact.expected is not None for fact in results)
    rows = [
        [fact.label, fact.measured, *(["" if fact.expected is None else fact.expected] if expected else [])]
        for fact in results
    ]
    return table(["quantity", "measured", *(["expected"] if expected else [])], rows)
