"""Invariance: what can change without changing the output, measured for every method."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from normviz.activations import Layout
from normviz.experiments.invariance.measurement import DELTA, Cell, Column, Row, columns, matrix, measure, rows
from normviz.experiments.invariance.setting import CHANNELS
from normviz.figures import style
from normviz.figures.normalization import tensors
from normviz.formatting import percent
from normviz.ui.components.board import Panel, board
from normviz.ui.components.matrix import Mark
from normviz.ui.components.matrix import matrix as clickable
from normviz.ui.inputs import source
from normviz.ui.kit import cache, jobs, page_layout, url_widgets

LAYOUTS: tuple[Layout, ...] = ("nc", "ntd", "nchw")
START = "First sample replaced"
SIZE = "Multiplied values become δ times as large; added values are δ, or δ times a random γ."
TILES = {
    "nc": "Samples go down, features to the right.",
    "ntd": "Samples go down, with their tokens below each other; features go to the right.",
    "nchw": "One small map per sample (down) and channel (right).",
}
HELP = """
**The setup:** data x pass through a layer W without bias, and the result is normalized: y = norm(Wx). One thing is
changed, everything is computed again, and the two outputs are compared. **✓** means that they differ by less than one
millionth of their size; otherwise the difference is given in percent of it. Methods that normalize weights come last:
there y = norm(W)x. For feature maps, W is a 2 × 2 convolution without zero padding.

**Why it matters:** a change that a norm removes cannot hurt training. If all weights can grow without any effect, a
bad initialization or a large step does no harm. If another sample in the batch matters, the same photo gets a
different answer in a different batch. *Input shifted* tests something else: whether the output shifts along with the
input.
"""

page_layout.header("invariance")


def mark(cell: Cell) -> Mark:
    """The mark in a cell of the matrix."""
    if cell.refused:
        return Mark("–", f"not defined: {cell.refused}", "quiet")
    if cell.unchanged:
        return Mark("✓", "unchanged", "good")
    return Mark(share(cell.change), f"changed by {share(cell.change)}")


def share(change: float) -> str:
    """A relative change in percent, short."""
    return percent(change, short=True)


def marks(layout: Layout, seed: int, delta: float) -> tuple[tuple[Mark, ...], ...]:
    """The marks of the matrix, cached."""

    def run() -> tuple[tuple[Mark, ...], ...]:
        found = jobs.compute(lambda: matrix(layout, seed, delta))
        return tuple(tuple(map(mark, line)) for line in found)

    return cache.keep("invariances", (layout, seed, delta), run)


def picture(values: NDArray[np.float32], low: float, high: float, layout: str) -> go.Figure:
    """An output, or a difference, on a given color scale; lines separate the maps of samples and channels."""
    figure = tensors.slice_heatmap(values, low, high, axes=("row", "column"))
    if layout == "nchw":
        height, width = values.shape
        tile = width // CHANNELS  # cells along a map, which is square
        down = [((edge - 0.5, edge - 0.5), (-0.5, height - 0.5)) for edge in range(tile, width, tile)]
        across = [((-0.5, width - 0.5), (edge - 0.5, edge - 0.5)) for edge in range(tile, height, tile)]
        line = {"type": "line", "line": {"width": 1.5, "color": style.INK}}
        figure.update_layout(
            shapes=[line | {"x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1]} for x, y in [*down, *across]]
        )
    return figure


def outputs(row: Row, column: Column, cell: Cell) -> None:
    """Draw both outputs of one cell, their difference, and the reason why they are equal or not."""
    st.subheader(f"{row.label}: {column.title[0].lower()}{column.title[1:]}", anchor=False)
    if cell.refused:
        page_layout.sentence(cell.why, "hint")
        return
    same = f"Unchanged: the outputs differ by less than one millionth of their size ({cell.change:.0e})."
    said = same if cell.unchanged else f"Changed by {share(cell.change)}."
    page_layout.sentence(f"{said} {cell.why}", "good" if cell.unchanged else "hint")
    low, high = style.limits(cell.before, cell.after)
    pictures = (
        ("before", "Output before", cell.before),
        ("after", "Output after", cell.after),
        ("difference", "After minus before", cell.after - cell.before),
    )
    board(
        [
            Panel(name, title, picture(values, low, high, row.layout), alt=f"{title}, {row.label}", height=360)
            for name, title, values in pictures
        ],
        "invariance-board",
    )
    st.caption(f"{TILES[row.layout]} One color scale for all three.")


def choose() -> tuple[Layout, float, int, str, str]:
    """Draw the widgets; the layout, the size of the change, the seed, the method and the change."""
    layout = url_widgets.segments("Input", LAYOUTS, "nchw", "shape", text=source.SHAPES.__getitem__)
    delta = url_widgets.slider("Size of the change δ", 1.25, 8.0, DELTA, "delta", step=0.25, help=SIZE)
    seed = url_widgets.number("Seed", 0, 9999, 0, "seed", help="The seed of data and weights.")
    labels, titles = [row.label for row in rows(layout)], [column.title for column in columns(layout)]
    label = url_widgets.select("Method", labels, labels[0], "method")
    return layout, delta, seed, label, url_widgets.select("Change", titles, START, "change")


def show(layout: Layout, delta: float, seed: int, label: str, title: str) -> None:
    """Draw the matrix, and the outputs of the chosen cell."""
    lines, changes = rows(layout), columns(layout)
    labels, titles = [row.label for row in lines], [column.title for column in changes]
    row, column = labels.index(label), titles.index(title)

    def clicked(i: int, j: int) -> None:
        st.session_state["method"], st.session_state["change"] = labels[i], titles[j]

    heads = [(change.title, change.symbol) for change in changes]
    clickable(labels, heads, marks(layout, seed, delta), (row, column), "invariance-matrix", clicked)
    st.caption(
        "✓ unchanged; otherwise the relative change of the output. – not defined. Click a cell to see the outputs."
    )
    cell = jobs.compute(lambda: measure(lines[row], changes[column], seed, delta))
    outputs(lines[row], changes[column], cell)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
