"""A table with clickable cells that scrolls in its own box, with sticky headings.

Every cell is a button, so that keyboards and screen readers can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from normviz.ui.components import register


@dataclass(frozen=True)
class Mark:
    """Content of a cell: a short text, its description, and its style: "good" (green), "quiet" (gray) or "" (plain)."""

    text: str
    words: str
    kind: str = ""


_component = register("matrix", "matrix.html", "matrix.css", "matrix.js")


def matrix(
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    cells: Sequence[Sequence[Mark]],
    chosen: tuple[int, int],
    key: str,
    on_click: Callable[[int, int], None],
) -> None:
    """Draw the table.

    Args:
        rows: headings of the rows.
        columns: title and symbol of each column.
        cells: the cells, row by row.
        chosen: row and column of the marked cell.
        key: identifies the table; a table with the same key keeps its element on the page.
        on_click: called with the row and column of a clicked cell before the script reruns.
    """

    def clicked() -> None:
        place = st.session_state[key].get("clicked")
        if place is not None:
            row, column = str(place).split(",")
            on_click(int(row), int(column))

    data = {
        "rows": list(rows),
        "columns": [list(column) for column in columns],
        "cells": [[[mark.text, mark.words, mark.kind] for mark in line] for line in cells],
        "chosen": list(chosen),
    }
    _component(key=key, data=data, on_clicked_change=clicked)
