"""Rows of small maps over one photo, in one element: pointing at one marks the same place in all, a click picks a cell.

The photo is sent once, each map as a picture with a pixel for each cell; opacity is the browser's work. Every map is a
button, for the keyboard and for screen readers.
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

MOST_VALUES = 256  # cells of a map whose values are sent, for the pointer


@dataclass(frozen=True)
class Shown:
    """One map on the sheet.

    Attributes:
        title: a short line above it.
        picture: the map as an address, laid over the photo; "" shows the photo alone.
        cells: rows and columns of the map.
        caption: a line below it.
        refused: the sentence that stands in its place.
        values: the map (h, w), if the pointer is to read it.
        photo: an address of a photo of its own.
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
    """Maps side by side under one heading, and what is said of all of them."""

    heading: str
    note: str
    maps: tuple[Shown, ...]


@dataclass(frozen=True)
class Place:
    """A cell of one of the maps: which row of maps, which map in it, and the cell's row and column."""

    line: int
    map: int
    row: int
    column: int


_component = register("map_sheet", "map_sheet.html", "map_sheet.css", "map_sheet.js")


def payload(
    rows: Sequence[Row], photo: str, aspect: float, opacity: float, chosen: Place | None = None, live: bool = False
) -> dict[str, Any]:
    """What is sent to the browser: plain JSON values. Arguments as in `map_sheet`."""
    return {
        "photo": photo, "aspect": round(aspect, 4), "opacity": opacity, "live": live,
        "chosen": [chosen.line, chosen.map, chosen.row, chosen.column] if chosen else None,
        "rows": [
            {"heading": row.heading, "note": row.note, "maps": [_tile(shown) for shown in row.maps]} for row in rows
        ],
    }  # fmt: skip


def _tile(shown: Shown) -> dict[str, Any]:
    values = shown.values
    sent = None if values is None or values.size > MOST_VALUES else [f"{v:.3g}" for v in np.ravel(values).tolist()]
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
    chosen: Place | None = None,
    on_click: Callable[[Place], None] | None = None,
) -> None:
    """Draw the sheet.

    Args:
        rows: the maps.
        photo: the photo under all of them, as an address.
        aspect: its width over its height.
        opacity: of the maps over it, 0 to 1.
        key: names the sheet; the same key keeps it on the page.
        chosen: the cell that is marked.
        on_click: called with a cell that is clicked, before the script runs again; from the keyboard, with the
            strongest one. Without it nothing can be clicked.
    """

    def clicked() -> None:
        said = st.session_state[key].get("clicked")
        if said is not None and on_click:
            on_click(place_of(str(said), rows))

    data = payload(rows, photo, aspect, opacity, chosen, on_click is not None)
    _component(key=key, data=data, on_clicked_change=clicked)


def place_of(said: str, rows: Sequence[Row]) -> Place:
    """The cell that the browser reports as "line,map,y,x", y and x in shares of the map; below 0: its strongest one."""
    line, number, y, x = said.split(",")
    shown = rows[int(line)].maps[int(number)]
    (height, width), values = shown.cells, shown.values
    if float(y) < 0:
        row, column = divmod(int(np.argmax(values)), width) if values is not None else (height // 2, width // 2)
    else:
        row, column = math.floor(float(y) * height), math.floor(float(x) * width)
    return Place(int(line), int(number), row, column)
