"""The board: linked charts in one page element, which is updated in place.

Panels form a grid, side by side on a wide screen and stacked on a phone. Pointing at a cell highlights its group in all
panels, in the browser; a click pins it. Dragging rotates a cube. The browser loads Plotly and the board's own
modules from the addresses of `asset_routes`. With NORMVIZ_PLAIN_CHARTS=1, `st.plotly_chart` draws the same figures.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs_version
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from streamlit import config

from normviz.figures import formula
from normviz.figures.formula import Readout
from normviz.figures.normalization import cube
from normviz.ui.components import FOLDER, register
from normviz.ui.kit import cache

COLUMNS = 3  # grid columns on a wide screen
PLAIN = "NORMVIZ_PLAIN_CHARTS"  # environment variable: 1 draws with st.plotly_chart


@dataclass(frozen=True)
class Panel:
    """One chart of a board.

    Attributes:
        id: identifies the panel; a panel with the same id keeps its element on the page.
        title: a short heading above the chart.
        figure: the chart.
        span: number of grid columns.
        alt: a description of the chart for screen readers; by default the title.
        caption: text below the chart.
        height: largest height of the chart in pixels.
    """

    id: str
    title: str
    figure: go.Figure
    span: int = 1
    alt: str = ""
    caption: str = ""
    height: int = 320


@functools.cache
def _assets() -> dict[str, Path]:
    """The files that the browser loads, by name: the board's modules and style sheet, and Plotly's script."""
    own = {file.name: file for file in sorted((FOLDER / "board").glob("board*")) if file.suffix in (".js", ".css")}
    return own | {"plotly.min.js": Path(plotly.__file__).parent / "package_data" / "plotly.min.js"}


@functools.cache
def _folder() -> str:
    """The URL path of the files; it contains a hash of their content, so that browsers can cache them."""
    digest = hashlib.sha256(get_plotlyjs_version().encode())
    for name, file in _assets().items():
        if name != "plotly.min.js":
            digest.update(file.read_bytes())
    return f"/board/{digest.hexdigest()[:12]}"


def _address(name: str) -> str:
    """The URL of a file, below the server's base path."""
    base = str(config.get_option("server.baseUrlPath")).strip("/")
    return f"{'/' + base if base else ''}{_folder()}/{name}"


def asset_routes() -> list[Route]:
    """Routes that serve the board's files and Plotly's script from their installed locations."""

    def route(name: str, file: Path) -> Route:
        def serve(request: Request) -> FileResponse:
            return FileResponse(file, headers={"Cache-Control": "public, max-age=31536000, immutable"})

        return Route(_address(name), serve)

    return [route(name, file) for name, file in _assets().items()]


_component = register("board", "loader.js", isolate_styles=False)


def payload(
    panels: Sequence[Panel], readout: Readout | None = None, columns: int = COLUMNS, clicks: bool = False
) -> dict[str, Any]:
    """The data for the browser as JSON values; with `clicks`, the browser reports clicked cells."""
    return {
        "columns": columns,
        "clicks": clicks,
        "colors": [*cube.COLORS],
        "panels": [
            {
                "id": panel.id, "title": panel.title, "span": panel.span, "alt": panel.alt or panel.title,
                "caption": panel.caption, "height": panel.height, "figure": panel.figure.to_dict(),
            }
            for panel in panels
        ],
        "readout": formula.payload(readout) if readout else None,
        "plotly": _address("plotly.min.js"), "script": _address("board.js"), "style": _address("board.css"),
    }  # fmt: skip


def packed(data: dict[str, Any]) -> bytes:
    """Compress data as JSON with zlib, to a third to a half of its size in about half a millisecond."""
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode(), level=3)


def board(
    panels: Sequence[Panel],
    key: str,
    readout: Readout | None = None,
    on_click: Callable[[str], None] | None = None,
    columns: int = COLUMNS,
) -> str | None:
    """Draw linked panels and a readout below them.

    Args:
        panels: the charts, in reading order.
        key: identifies the board; a board with the same key keeps its elements on the page.
        readout: the formula with numbers and a table of statistics, or the value of a map.
        on_click: called before the script reruns, with the name of a clicked row (figures with choices),
            "slice:ROW,COLUMN" for a cell pinned in a slice, "cube:N,C,P" for a cell pinned in a cube, or "slice:" when
            the pin is released. Without it, cells are pinned in the browser only.
        columns: number of grid columns on a wide screen.

    Returns:
        The argument of `on_click` if there was a click since the last run, else None.
    """
    if _plain_charts():
        return _plain(panels, key, readout, on_click, columns)
    return _send(packed(payload(panels, readout, columns, on_click is not None)), key, on_click)


def cached_board(
    draw: Callable[[], tuple[Sequence[Panel], Readout | None]],
    key: str,
    values: Hashable,
    on_click: Callable[[str], None] | None = None,
    inputs: Sequence[cache.Input] = (),
) -> None:
    """Draw a board whose panels depend only on `values` and `inputs`; its data is cached.

    Args:
        draw: creates the panels and the readout; called if they are not cached.
        key: identifies the board; a board with the same key keeps its elements on the page.
        values: everything that the panels depend on, except the inputs.
        on_click: as in `board`.
        inputs: the data that the panels depend on; with private inputs, the cache is the visitor's session.
    """
    if _plain_charts():
        panels, readout = draw()
        _plain(panels, key, readout, on_click, COLUMNS)
        return
    clicks = on_click is not None

    def pack() -> bytes:
        return packed(payload(*draw(), clicks=clicks))

    _send(cache.keep(f"board {key}", (clicks, values), pack, inputs), key, on_click)


def _plain_charts() -> bool:
    """Whether the environment variable selects plain charts."""
    return os.environ.get(PLAIN) == "1"


def _send(data: bytes, key: str, on_click: Callable[[str], None] | None) -> str | None:
    """Send data to the element; returns the clicked item since the last run, or None."""

    def clicked() -> None:
        value = st.session_state[key].get("clicked")
        if on_click and value is not None:
            on_click(str(value))

    value = _component(key=key, data=data, on_clicked_change=clicked).get("clicked")
    return None if value is None else str(value)


def _plain(
    panels: Sequence[Panel],
    key: str,
    readout: Readout | None,
    on_click: Callable[[str], None] | None,
    columns: int,
) -> str | None:
    """Draw the same figures with `st.plotly_chart`, without links between them."""
    value: str | None = None
    row, used = [], columns
    for panel in panels:
        span = min(panel.span, columns)
        if used + span > columns:
            row, used = st.columns(columns), 0
        with row[used] if span == 1 else st.container():
            st.markdown(f"**{panel.title}**")
            link = (panel.figure.layout.meta or {}).get("link", {})
            figure = go.Figure(panel.figure).update_layout(height=panel.height)
            chart_key = f"{key}-{panel.id}"
            if link.get("kind") == "choices":
                figure.update_layout(clickmode="event+select")

                def selected(chart: str = chart_key, names: Sequence[str] = link["values"]) -> None:
                    points = st.session_state[chart]["selection"]["point_indices"]
                    if points:
                        st.session_state[f"{key}-clicked"] = names[points[0]]
                        if on_click:
                            on_click(names[points[0]])

                st.plotly_chart(figure, key=chart_key, on_select=selected, selection_mode="points", alt=panel.alt)
                value = st.session_state.pop(f"{key}-clicked", None)
            else:
                st.plotly_chart(figure, key=chart_key, alt=panel.alt)
            if panel.caption:
                st.caption(panel.caption)
        used = columns if span > 1 else used + span
    if readout is not None and readout.symbols:
        st.html(readout.symbols)
    if readout is not None and (table := readout.statistics) is not None:
        st.dataframe(
            {
                "statistic": list(table.labels)[:64],
                "mean before": table.mean_before[:64], "std before": table.std_before[:64],
                "mean after": table.mean_after[:64], "std after": table.std_after[:64],
            },
            hide_index=True,
            key=f"{key}-table",
        )  # fmt: skip
    return value


def size_of(panels: Sequence[Panel], readout: Readout | None = None) -> int:
    """The number of bytes that an update of these panels sends to the browser."""
    return len(packed(payload(panels, readout)))
