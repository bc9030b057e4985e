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


_CSS = """
.nv-sheet { overflow-x: auto; font: 1rem/1.35 var(--st-font); color: var(--st-text-color);
  font-variant-numeric: tabular-nums; display: grid; gap: 1.1rem; padding: 4px; }
h3 { position: sticky; left: 0; width: max-content; max-width: calc(100vw - 3rem); margin: 0 0 .35rem;
  font-size: 1.0625rem; font-weight: 650; }
h3 span { font-weight: 400; opacity: .78; margin-left: .5rem; }
.nv-row { display: grid; gap: .15rem .75rem; grid-template-columns: repeat(var(--n), minmax(8.5rem, 16.5rem)); }
.nv-row > div { display: grid; grid-template-rows: subgrid; grid-row: span 3; gap: 0; align-items: start; }
.nv-row p { margin: 0; overflow-wrap: anywhere; }
.nv-title { align-self: end; font-weight: 600; min-height: 1.35em; }
.nv-caption { opacity: .85; min-height: 1.35em; }
.nv-refused { margin: 0; padding: .6rem .7rem; border-left: 4px solid #0072B2; border-radius: 4px;
  background: color-mix(in srgb, #0072B2 10%, transparent); }
button { all: unset; display: block; position: relative; width: 100%; aspect-ratio: var(--aspect); overflow: hidden;
  border-radius: 4px; background: var(--photo) center / 100% 100%; }
.nv-live button { cursor: crosshair; }
button img { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated;
  opacity: var(--opacity); }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
button[aria-pressed="true"] { box-shadow: 0 0 0 3px var(--st-primary-color); }
i { position: absolute; box-sizing: border-box; display: none; border: 2px solid #fff; outline: 2px solid #1D2733;
  min-width: 8px; min-height: 8px; transform: translate(-50%, -50%); pointer-events: none; }
i.nv-on { display: block; }
i.nv-picked { border-color: var(--st-primary-color); }
"""

_JS = """
function make(tag, parent, name = "") {
  const element = parent.appendChild(document.createElement(tag));
  if (name) element.className = name;
  return element;
}

function build(box) {
  box.replaceChildren();
  box.tiles = [];
  return box.data.rows.map((row, r) => {
    const part = make("section", box), head = make("h3", part), name = make("b", head), note = make("span", head);
    const line = make("div", part, "nv-row");
    line.style.setProperty("--n", row.maps.length);
    const tiles = row.maps.map((_, c) => {
      const cell = make("div", line), title = make("p", cell, "nv-title");
      const sentence = make("p", cell, "nv-refused"), button = make("button", cell);
      const caption = make("p", cell, "nv-caption");
      const image = make("img", button), mark = make("i", button), picked = make("i", button, "nv-picked");
      const tile = { r, c, cell, title, sentence, button, caption, image, mark, picked };
      button.type = "button";
      button.onpointermove = (event) => point(box, tile, event);
      button.onpointerleave = () => leave(box);
      button.onclick = (event) => {
        if (!box.live) return;
        const [y, x] = event.detail === 0 ? [-1, -1] : place(tile, event);
        box.press(`${r},${c},${y},${x}`);
      };
      box.tiles.push(tile);
      return tile;
    });
    return { head, name, note, tiles };
  });
}

function place(tile, event) {
  const box = tile.button.getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 0.99999);
  return [inside((event.clientY - box.top) / box.height), inside((event.clientX - box.left) / box.width)];
}

function put(mark, [rows, columns], row, column) {
  mark.style.top = `${100 * (row + 0.5) / rows}%`;
  mark.style.left = `${100 * (column + 0.5) / columns}%`;
  mark.style.height = `${100 / rows}%`;
  mark.style.width = `${100 / columns}%`;
}

function point(box, over, event) {
  if (!box.live) return;
  const [y, x] = place(over, event);
  for (const tile of box.tiles) {
    const data = tile.data;
    if (!data.picture) continue;
    const [rows, columns] = data.cells, row = Math.floor(y * rows), column = Math.floor(x * columns);
    put(tile.mark, data.cells, row, column);
    tile.mark.className = "nv-on";
    if (data.values) tile.caption.textContent = `${data.values[row * columns + column]} here`;
  }
}

function leave(box) {
  for (const tile of box.tiles) {
    tile.mark.className = "";
    tile.caption.textContent = tile.data.caption;
  }
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const box = parentElement.querySelector(".nv-sheet");
  const shape = JSON.stringify(data.rows.map((row) => row.maps.length));
  box.data = data;
  box.live = data.live;
  box.press = (text) => setTriggerValue("clicked", text);
  box.style.setProperty("--photo", `url("${data.photo}")`);
  box.style.setProperty("--aspect", data.aspect);
  box.style.setProperty("--opacity", data.opacity);
  box.classList.toggle("nv-live", data.live);
  if (box.shape !== shape) box.built = build(box);
  box.shape = shape;
  data.rows.forEach((row, r) => {
    const { head, name, note, tiles } = box.built[r];
    name.textContent = row.heading;
    note.textContent = row.note;
    head.hidden = !row.heading && !row.note;
    row.maps.forEach((map, c) => {
      const tile = tiles[c], chosen = data.chosen && data.chosen[0] === r && data.chosen[1] === c;
      tile.data = map;
      tile.title.textContent = map.title;
      tile.sentence.textContent = map.refused;
      tile.sentence.hidden = !map.refused;
      tile.sentence.style.display = map.refused ? "" : "none";
      tile.button.style.display = map.refused ? "none" : "";
      tile.button.style.backgroundImage = map.photo ? `url("${map.photo}")` : "";
      tile.button.disabled = !data.live;
      tile.image.style.display = map.picture ? "" : "none";
      if (map.picture && tile.image.src !== map.picture) tile.image.src = map.picture;
      tile.image.alt = "";
      tile.caption.textContent = map.caption;
      tile.button.setAttribute("aria-label", [row.heading, map.title, map.caption].filter(Boolean).join(", "));
      if (data.live) tile.button.setAttribute("aria-pressed", String(Boolean(chosen)));
      tile.picked.classList.toggle("nv-on", Boolean(chosen));
      if (chosen) put(tile.picked, map.cells, data.chosen[2], data.chosen[3]);
    });
  });
}
"""
_component = st.components.v2.component("normviz_map_sheet", html='<div class="nv-sheet"></div>', css=_CSS, js=_JS)


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
