"""The board: several linked charts in one element that stays while its numbers change.

Panels are laid out in a grid, side by side on a wide screen and stacked on a phone. A cell under the pointer lights up
its group in all panels, in the browser; a click pins it. Cubes turn when they are dragged. Where the element cannot be
used, `st.plotly_chart` draws the same figures.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs_version
from streamlit.runtime.scriptrunner import get_script_run_ctx

from normviz.figures import formula
from normviz.figures.formula import Readout
from normviz.figures.normalization import cube
from normviz.ui.kit import cache

HERE = Path(__file__).parent
COLUMNS = 3  # of the grid on a wide screen
PLAIN = "NORMVIZ_PLAIN_CHARTS"  # environment variable: 1 draws with st.plotly_chart


@dataclass(frozen=True)
class Panel:
    """One chart of a board.

    Attributes:
        id: names the panel; the same name keeps the same element on the page.
        title: a short line above the chart.
        figure: the chart.
        span: how many columns of the grid it takes.
        alt: what the chart shows, in words, for those who cannot see it.
        caption: a line below the chart.
        height: of the chart in pixels.
    """

    id: str
    title: str
    figure: go.Figure
    span: int = 1
    alt: str = ""
    caption: str = ""
    height: int = 320


def _publish(path: Path, content: bytes) -> bool:
    """Write a file once, whole or not at all; whether it is there."""
    if path.exists() and path.stat().st_size == len(content):
        return True
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(content)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError:
        return False
    return True


@functools.cache
def _served(folder: Path) -> dict[str, str] | None:
    """The addresses of Plotly's script and of the board's own module and style, or None."""
    own = {
        source.name: source.read_bytes() for source in sorted(HERE.glob("board*")) if source.suffix in (".js", ".css")
    }
    version = hashlib.sha256(b"".join(own.values())).hexdigest()[:12]
    script = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    plotly_name = f"plotly-{get_plotlyjs_version()}.min.js"
    if not _publish(folder / plotly_name, script):
        return None
    if not all(_publish(folder / f"board-{version}" / name, content) for name, content in own.items()):
        return None
    base = st.get_option("server.baseUrlPath").strip("/")
    root = f"{'/' + base if base else ''}/app/static"
    return {
        "plotly": f"{root}/{plotly_name}",
        "script": f"{root}/board-{version}/board.js",
        "style": f"{root}/board-{version}/board.css",
    }


def _addresses() -> dict[str, str] | None:
    context = get_script_run_ctx()
    if context is None or not st.get_option("server.enableStaticServing"):
        return None
    return _served(Path(context.main_script_path).resolve().parent / "static")


def ensure_plotly_script() -> str | None:
    """The address of Plotly's own script, copied once into the app's static folder.

    Returns:
        The address, or None where files are not served from that folder or it cannot be written.
    """
    addresses = _addresses()
    return addresses["plotly"] if addresses else None


# Sent with every change, so it only unpacks the data and loads the module, which is served, and kept, as a file.
# A change that is overtaken by a later one while it is unpacked is dropped.
_LOADER = """
const turns = new WeakMap();
export default async function (component) {
  const parent = component.parentElement, turn = (turns.get(parent) ?? 0) + 1;
  turns.set(parent, turn);
  const unpacked = new Blob([component.data]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(unpacked).json();
  const board = await import(new URL(data.script, window.location.origin));
  return board.default({ ...component, data }, turns.get(parent) === turn);
}
"""
_component = st.components.v2.component("normviz_board", js=_LOADER, isolate_styles=False)


def payload(
    panels: Sequence[Panel], readout: Readout | None = None, columns: int = COLUMNS, clicks: bool = False
) -> dict[str, Any]:
    """What the board sends to the browser: plain JSON values; `clicks` asks it to report cells that are clicked."""
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
    }  # fmt: skip


def packed(data: dict[str, Any]) -> bytes:
    """JSON, deflated: a third to a half of its size in half a millisecond."""
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode(), level=3)


def board(
    panels: Sequence[Panel],
    key: str,
    readout: Readout | None = None,
    on_click: Callable[[str], None] | None = None,
    columns: int = COLUMNS,
) -> str | None:
    """Draw linked panels and, below them, the readout.

    Args:
        panels: the charts, in reading order.
        key: names the board; the same key keeps the elements on the page.
        readout: the formula with its numbers and the table of statistics, or the value of a map.
        on_click: called with what was clicked, before the script runs again: the name of a row (figures with choices),
            "slice:ROW,COLUMN" for a cell of a slice that was pinned, "cube:N,C,P" for one of the block that a cube
            shows, "slice:" where the pin was released. Without it cells are pinned in the browser alone.
        columns: of the grid on a wide screen.

    Returns:
        What was clicked just now, or None.
    """
    addresses = _usable()
    if addresses is None:
        return _plain(panels, key, readout, on_click, columns)
    return _send(packed(payload(panels, readout, columns, on_click is not None) | addresses), key, on_click)


def kept_board(
    draw: Callable[[], tuple[Sequence[Panel], Readout | None]],
    key: str,
    values: Hashable,
    on_click: Callable[[str], None] | None = None,
    inputs: Sequence[cache.Input] = (),
) -> None:
    """Draw a board whose panels follow from `values` and `inputs`; the message to the browser is cached.

    Args:
        draw: makes the panels and the readout, if nothing is kept for these values.
        key: names the board; the same key keeps the elements on the page.
        values: everything that the panels follow from, except the inputs.
        on_click: as in `board`.
        inputs: the data that the panels follow from; private inputs keep the message in the visitor's session.
    """
    addresses = _usable()
    if addresses is None:
        panels, readout = draw()
        _plain(panels, key, readout, on_click, COLUMNS)
        return
    clicks = on_click is not None

    def pack() -> bytes:
        return packed(payload(*draw(), clicks=clicks) | addresses)

    _send(cache.keep(f"board {key}", (clicks, values), pack, inputs), key, on_click)


def _usable() -> dict[str, str] | None:
    """The addresses of the board's files, or None where plain charts are asked for or nothing else is possible."""
    return None if os.environ.get(PLAIN) == "1" else _addresses()


def _send(data: bytes, key: str, on_click: Callable[[str], None] | None) -> str | None:
    """Give the element its data; what was clicked just now, or None."""

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
    """The same figures by `st.plotly_chart`, without links between them."""
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
    """The bytes that one change of these panels sends."""
    return len(packed(payload(panels, readout)))
