"""Faithfulness of maps: a table of the measures, and a grid of pictures with removed pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz.evaluation.faithfulness.assessment import Assessment
from normviz.formatting import fixed, percent
from normviz.html.picture import figure, grid
from normviz.html.table import Content, Html, table


def measures(rows: Sequence[tuple[str, Assessment]], first: str = "Map") -> Html:
    """Returns an HTML table of the measures, with the best value of each column in bold.

    Args:
        rows: a name and its measures; at least one.
        first: the header of the names.
    """
    results = [result for _, result in rows]
    drops = [result.confidence.drop for result in results]
    rises = [" (rose)" if result.confidence.increased else "" for result in results]
    columns = (
        _column([result.deletion.area for result in results], best=min),
        _column([result.insertion.area for result in results], best=max),
        _bold([percent(drop, counted=True, short=True) + rise for drop, rise in zip(drops, rises, strict=True)],
              [drop == min(drops) for drop in drops]),
        _column([result.road.gap for result in results], best=max),
    )  # fmt: skip
    head = (
        first,
        _header("Deletion area", "lower is better"),
        _header("Insertion area", "higher is better"),
        _header("Drop in confidence", "lower is better"),
        _header("ROAD gap", "higher is better"),
    )
    lines: list[list[Content]] = [[name, *cells] for (name, _), *cells in zip(rows, *columns, strict=True)]
    return table(head, lines, "nv-measures")


def _column(values: Sequence[float], best: Callable[[Sequence[float]], float]) -> list[Html]:
    return _bold([fixed(value) for value in values], [value == best(values) for value in values])


def _bold(texts: Sequence[str], marks: Sequence[bool]) -> list[Html]:
    return [Html(f"<b>{escape(text)}</b>" if mark else escape(text)) for text, mark in zip(texts, marks, strict=True)]


def _header(title: str, hint: str) -> Html:
    return Html(f"{title}<br><small>{hint}</small>")


def pictures(shown: Sequence[tuple[str, str, NDArray[np.uint8]]], aspect: float) -> Html:
    """Returns pictures in a grid.

    Args:
        shown: for each picture a title, a line below it, and the picture (H, W, 3).
        aspect: width over height of the photo; every picture is shown at this ratio.
    """
    figures = [
        figure(
            picture,
            Html(f"<b>{escape(title)}</b><br>{escape(line)}"),
            f"{title}: {line}",
            image_style=f"object-fit:fill;aspect-ratio:{aspect:.4f}",
        )
        for title, line, picture in shown
    ]
    return grid(figures, "9.5rem")
