"""Rows of small maps over a photo: pointing at a map marks the same position in all, and a click selects a cell.

The photo is sent once and each map as an image with one pixel per cell; the browser blends them. Every map is a button,
accessible by keyboard and screen reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.ui.components import register

MAX_VALUES = 256  # number of cells up to which the browser receives the values of a map


@dataclass(frozen=True)
class Shown:
    """One map on the sheet.

    Attributes:
        title: a short heading above the map.
        picture: URL of the map, drawn over the photo; "" shows the photo alone.
        cells: rows and columns of the map.
        caption: text below the map.
        refused: error message that is shown if there is no map.
        values: the map (h, w), for the value at the pointer.
        photo: URL of the photo below this map, if it differs from that of the sheet.
    """

    title: str
    picture: str = ""
    cells: tuple[int, int] = (1, 1)
    caption: str = ""
    refused: str = ""
    values: NDArray[Any] | None = field(default=None, repr=False)
    photo: str = ""


@dataclass(frozen=True)
class Row:
    """A row of maps with a heading and a note."""

    heading: str
    note: str
    maps: tuple[Shown, ...]


@dataclass(frozen=True)
class MapCell:
    """A cell of a map: the row of maps, the map in this row, and the cell's row and column; all from 0."""

    line: int
    map: int
    row: int
    column: int


_component = register("map_sheet", "map_sheet.html", "map_sheet.css", "map_sheet.js")


def payload(
    rows: Sequence[Row], photo: str, aspect: float, opacity: float, chosen: MapCell | None = None, live: bool = False
) -> dict[str, Any]:
    """The data for the browser as JSON values; arguments as in `map_sheet`, `live` makes the maps clickable."""
    return {
        "photo": photo, "aspect": round(aspect, 4), "opacity": opacity, "live": live,
        "chosen": [chosen.line, chosen.map, chosen.row, chosen.column] if chosen else None,
        "rows": [
            {"heading": row.heading, "note": row.note, "maps": [_tile(shown) for shown in row.maps]} for row in rows
        ],
    }  # fmt: skip


def _tile(shown: Shown) -> dict[str, Any]:
    values = shown.values
    sent = None if values is None or values.size > MAX_VALUES else [f"{v:.3g}" for v in np.ravel(values).tolist()]
    return {
        "title": shown.title, "picture": shown.picture, "cells": list(shown.cells), "caption": shown.caption,
        "refused": shown.refused, "photo": shown.photo, "values": sent,
    }  # fmt: skip


def map_sheet(
    rows: Sequence[Row],
    photo: str,
    aspect: float,
    opacity: float,
    key: str,
    chosen: MapCell | None = None,
    on_click: Callable[[MapCell], None] | None = None,
) -> None:
    """Draw the sheet.

    Args:
        rows: the maps.
        photo: URL of the photo below the maps.
        aspect: the photo's width divided by its height.
        opacity: opacity of the maps, 0 to 1.
        key: identifies the sheet; a sheet with the same key keeps its element on the page.
        chosen: the cell to mark.
        on_click: called with the clicked cell before the script reruns; a click by keyboard selects the cell with the
            largest value. Without it, the maps are not clickable.
    """

    def clicked() -> None:
        position = st.session_state[key].get("clicked")
        if position is not None and on_click:
            on_click(cell_at(str(position), rows))

    data = payload(rows, photo, aspect, opacity, chosen, on_click is not None)
    _component(key=key, data=data, on_clicked_change=clicked)


def cell_at(position: str, rows: Sequence[Row]) -> MapCell:
    """The cell at a position "line,map,y,x", with y and x from 0 to 1; a negative y stands for the largest value."""
    line, number, y, x = position.split(",")
    shown = rows[int(line)].maps[int(number)]
    (height, width), values = shown.cells, shown.values
    if float(y) < 0:
        row, column = divmod(int(np.argmax(values)), width) if values is not None else (height // 2, width // 2)
    else:
        row, column = math.floor(float(y) * height), math.floor(float(x) * width)
    return MapCell(int(line), int(number), row, column)
