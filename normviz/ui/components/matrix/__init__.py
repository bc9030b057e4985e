"""A table whose cells can be clicked: methods down, changes across, a mark or a number in each cell.

It scrolls inside itself, its names stay in sight, and every cell is a button, for the keyboard and for screen readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st


@dataclass(frozen=True)
class Mark:
    """What a cell shows: a short text, the same in words, and whether it is good (green), plain or quiet (gray)."""

    text: str
    words: str
    kind: str = ""


_CSS = """
.nv-box { overflow: auto; max-height: min(42rem, 72vh); border: 1px solid var(--st-border-color); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; font: 1rem/1.25 var(--st-font); color: var(--st-text-color);
  font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: 0; border-bottom: 1px solid var(--st-border-color); font-weight: 400; }
thead th { position: sticky; top: 0; z-index: 2; vertical-align: bottom; background: var(--st-background-color); }
thead th span { writing-mode: vertical-rl; transform: rotate(180deg); padding: .6rem .2rem; white-space: nowrap;
  display: inline-block; text-align: left; }
thead th i { display: block; font-style: normal; opacity: .8; }
tbody th { position: sticky; left: 0; z-index: 1; text-align: left; padding: .2rem .6rem; min-width: 8.5rem;
  max-width: 13rem; background: var(--st-background-color); border-right: 1px solid var(--st-border-color); }
thead th:first-child { left: 0; z-index: 3; border-right: 1px solid var(--st-border-color); }
td { min-width: 3.1rem; height: 1px; }
button { all: unset; box-sizing: border-box; display: grid; place-items: center; width: 100%; height: 100%;
  padding: .3rem .1rem; text-align: center;
  cursor: pointer; white-space: nowrap; }
button:hover { box-shadow: inset 0 0 0 2px var(--st-text-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: -3px; }
button[aria-pressed="true"] { box-shadow: inset 0 0 0 3px var(--st-primary-color); font-weight: 700; }
button.good { background: color-mix(in srgb, #009E73 30%, transparent); font-weight: 700; }
button.quiet { opacity: .75; }
.nv-lit { font-weight: 700; }
"""

_JS = """
function make(tag, parent, text = "") {
  return parent.appendChild(Object.assign(document.createElement(tag), { textContent: text }));
}

function build(box, rows, columns, press) {
  box.replaceChildren();
  const table = make("table", box), head = make("tr", make("thead", table)), body = make("tbody", table);
  make("th", head);
  const heads = columns.map(([title, symbol]) => {
    const cell = make("th", head), span = make("span", cell, title);
    cell.scope = "col";
    make("i", span, symbol);
    return cell;
  });
  const lines = rows.map((name, i) => {
    const line = make("tr", body), label = make("th", line, name);
    label.scope = "row";
    const buttons = columns.map((_, j) => {
      const button = make("button", make("td", line));
      button.onclick = () => press(i, j);
      return button;
    });
    return { label, buttons };
  });
  return { heads, lines };
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const box = parentElement.querySelector(".nv-box"), names = JSON.stringify([data.rows, data.columns]);
  box.press = (i, j) => setTriggerValue("clicked", `${i},${j}`);
  if (box.names !== names) box.built = build(box, data.rows, data.columns, (i, j) => box.press(i, j));
  box.names = names;
  const [row, column] = data.chosen;
  box.built.heads.forEach((cell, j) => cell.classList.toggle("nv-lit", j === column));
  box.built.lines.forEach(({ label, buttons }, i) => {
    label.classList.toggle("nv-lit", i === row);
    buttons.forEach((button, j) => {
      const [text, words, kind] = data.cells[i][j];
      button.textContent = text;
      button.className = kind;
      button.title = words;
      button.setAttribute("aria-label", `${data.rows[i]}, ${data.columns[j][0]}: ${words}`);
      button.setAttribute("aria-pressed", String(i === row && j === column));
    });
  });
}
"""
_component = st.components.v2.component(
    "normviz_matrix", html='<div class="nv-box" tabindex="-1"></div>', css=_CSS, js=_JS
)


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
