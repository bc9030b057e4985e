"""A scrollable table with sticky headings and clickable cells.

Every cell is a button, accessible by keyboard and screen reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from normviz.ui.components import register


@dataclass(frozen=True)
class Mark:
    """Content of a cell.

    Attributes:
        text: a short text.
        description: the text for screen readers and the tooltip.
        kind: the style: "good" (green), "quiet" (gray) or "" (plain).
    """

    text: str
    description: str
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
        position = st.session_state[key].get("clicked")
        if position is not None:
            row, column = str(position).split(",")
            on_click(int(row), int(column))

    data = {
        "rows": list(rows),
        "columns": [list(column) for column in columns],
        "cells": [[[mark.text, mark.description, mark.kind] for mark in line] for line in cells],
        "chosen": list(chosen),
    }
    _component(key=key, data=data, on_clicked_change=clicked)
