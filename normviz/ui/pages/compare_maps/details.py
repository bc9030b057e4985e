"""The details below a sheet of maps: the clicked cell, similarities between maps, and downloads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.attribution.compare import Correlation, Map, correlation
from normviz.attribution.diagnosis.terms import has_channel_weights, no_terms_reason
from normviz.figures import style
from normviz.formatting import number
from normviz.html import map_tables
from normviz.prints.map_sheet import Scale
from normviz.ui.components.map_sheet import MapCell
from normviz.ui.kit import page_layout
from normviz.ui.maps import map_request
from normviz.ui.pages.compare_maps import comparison
from normviz.ui.pages.compare_maps.comparison import ComparisonRequest

TERMS = 3  # channels in the formula with numbers inserted


def explain_cell(request: ComparisonRequest, results: Sequence[Sequence[Map]], cell: MapCell, aspect: float) -> None:
    """Draw the strongest channels in the cell and the formula with numbers, or the reason why there are none."""
    one, method = results[cell.line][cell.map], request.methods[cell.line]
    values = one.drawn
    if values is None:
        page_layout.sentence(comparison.sentence(one.refused), "hint")
        return
    value = float(values[cell.row, cell.column])
    st.subheader(
        f"{method.title}, {request.titles[cell.map]}: row {cell.row}, column {cell.column} "
        f"of {values.shape[0]} × {values.shape[1]}",
        anchor=False,
    )
    if not has_channel_weights(method):
        page_layout.sentence(f"{number(value, markup=False)} {method.unit}. {no_terms_reason(method)}.", "hint")
        return
    cell_details = comparison.cell_details(request, cell)
    left, right = st.columns([3, 1], gap="medium")
    left.html(map_tables.channels(cell_details.terms, cell_details.maps, value, aspect, float(values.min()) >= 0))
    right.caption(f"{method.summary} These are the channels with the largest w · A in this cell.")
    with st.container(key="nv-cell-formula"):
        st.latex(method.formula)
        st.latex(cell_details.terms.formula(TERMS))
    if one.note:
        st.caption(one.note)


def confidence(request: ComparisonRequest) -> None:
    """Draw each network's probability of the class and its accuracy, which help to judge its map."""
    target = request.classes[0]
    networks = [
        (title, float(map_request.probabilities(one, request.photo)[target]), one.accuracy)
        for title, one in zip(request.titles, request.networks, strict=True)
    ]
    st.html(map_tables.confidence(request.classifier.classes[target], networks))
    st.caption(
        "These networks were trained on the same pictures in the same order; only the normalization differs. "
        "Training with another random seed would also change the maps, so small differences may be chance."
    )


def similarity(request: ComparisonRequest, results: Sequence[Sequence[Map]], cell: MapCell, kind: Correlation) -> None:
    """Draw the correlations between the methods in the cell's column, and between the columns in its row."""
    images = request.classifier.prepare(request.photo.image)  # (1, 3, h, w)
    size = (images.shape[2], images.shape[3])
    pairs = (
        (f"Similarity between methods: {request.titles[cell.map]}", [method.title for method in request.methods],
         [line[cell.map].drawn for line in results]),
        (f"Similarity between {request.across}: {request.methods[cell.line].title}", list(request.titles),
         [one.drawn for one in results[cell.line]]),
    )  # fmt: skip
    for title, names, maps in pairs:
        if len(maps) > 1:
            st.markdown(f"**{title}**")
            st.html(map_tables.similarity(names, correlation(maps, size, kind)))
    measure = "Pearson correlation of the values" if kind == "pearson" else "Spearman correlation of the ranks"
    st.caption(
        f"{measure} over {size[0]} × {size[1]} pixels: every map is resized (bilinear) to the network's input. "
        "A dash marks a constant or missing map. Click a map to compare its row and its column."
    )


def downloads(
    request: ComparisonRequest, results: Sequence[Sequence[Map]], scale: Scale, pixels: NDArray[np.uint8],
    opacity: float, colors: style.ColorMap,
) -> None:  # fmt: skip
    """Draw download buttons for the sheet and the raw maps."""
    left, right = st.columns(2)
    left.download_button(
        "Sheet (PNG)", lambda: comparison.printed(request, results, scale, pixels, opacity, colors), "maps.png",
        "image/png", on_click="ignore", width="stretch",
    )  # fmt: skip
    right.download_button(
        "Raw maps (.npz)", lambda: comparison.archive(request, results), "maps.npz", on_click="ignore", width="stretch"
    )
