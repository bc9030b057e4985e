"""A table whose cells can be clicked: methods down, changes across, a mark or a number in each cell.

It scrolls inside itself, its names stay in sight, and every cell is a button, for the keyboard and for screen readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from normviz.ui.components import register


@dataclass(frozen=True)
class Mark:
    """What a cell shows: a short text, the same in words, and whether it is good (green), plain or quiet (gray)."""

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
        rows: their names.
        columns: their names, in words and in symbols.
        cells: what each cell shows, row by row.
        chosen: the row and column that are marked.
        key: names the table; the same key keeps it on the page.
        on_click: called with the row and column of a clicked cell, before the script runs again.
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
