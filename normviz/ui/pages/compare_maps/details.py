"""Under a sheet of maps: the cell that was clicked, taken apart; how alike the maps are; what can be taken home."""

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
from normviz.ui.components.map_sheet import Place
from normviz.ui.kit import page_layout
from normviz.ui.maps import map_request
from normviz.ui.pages.compare_maps import comparison
from normviz.ui.pages.compare_maps.comparison import ComparisonRequest

WRITTEN = 3  # channels in the formula with numbers


def cell(request: ComparisonRequest, found: Sequence[Sequence[Map]], place: Place, aspect: float) -> None:
    """The strongest channels in the cell, with the formula in numbers, or why the map has none."""
    one, method = found[place.line][place.map], request.methods[place.line]
    values = one.drawn
    if values is None:
        page_layout.sentence(comparison.sentence(one.refused), "hint")
        return
    value = float(values[place.row, place.column])
    st.subheader(
        f"{method.title}, {request.titles[place.map]}: row {place.row + 1}, column {place.column + 1} "
        f"of {values.shape[0]} × {values.shape[1]}",
        anchor=False,
    )
    if not has_channel_weights(method):
        page_layout.sentence(f"{number(value, markup=False)} {method.unit}. {no_terms_reason(method)}.", "hint")
        return
    apart = comparison.take_apart(request, place)
    left, right = st.columns([3, 1], gap="medium")
    left.html(map_tables.channels(apart.terms, apart.maps, value, aspect, float(values.min()) >= 0))
    right.caption(f"{method.summary} These are the channels with the largest w · A in this cell.")
    with st.container(key="nv-cell-formula"):
        st.latex(method.formula)
        st.latex(apart.terms.formula(WRITTEN))
    if one.note:
        st.caption(one.note)


def sureness(request: ComparisonRequest) -> None:
    """How sure each of several networks is of the class, and how often it is right: a map is to be read beside both."""
    target = request.classes[0]
    networks = [
        (title, float(map_request.probabilities(one, request.photo)[target]), one.accuracy)
        for title, one in zip(request.titles, request.networks, strict=True)
    ]
    st.html(map_tables.confidence(request.classifier.classes[target], networks))
    st.caption(
        "These networks were trained alike, on the same pictures in the same order; only the normalization differs. "
        "Training one of them again from another seed would change its maps, too: read small differences as chance."
    )


def alike(request: ComparisonRequest, found: Sequence[Sequence[Map]], place: Place, kind: Correlation) -> None:
    """Correlations between the methods in the column of the cell, and between the columns in its row."""
    images = request.classifier.prepare(request.photo.image)  # (1, 3, h, w)
    size = (images.shape[2], images.shape[3])
    pairs = (
        (f"How alike the methods are: {request.titles[place.map]}", [method.title for method in request.methods],
         [line[place.map].drawn for line in found]),
        (f"How alike the {request.across} are: {request.methods[place.line].title}", list(request.titles),
         [one.drawn for one in found[place.line]]),
    )  # fmt: skip
    for title, names, maps in pairs:
        if len(maps) > 1:
            st.markdown(f"**{title}**")
            st.html(map_tables.similarity(names, correlation(maps, size, kind)))
    how = "Pearson's correlation of the values" if kind == "pearson" else "Spearman's correlation of the ranks"
    st.caption(
        f"{how}, over {size[0]} × {size[1]} pixels: every map is enlarged (bilinear) to the network's input. "
        "– where a map is constant or missing. Another column or row: click its map."
    )


def downloads(
    request: ComparisonRequest, found: Sequence[Sequence[Map]], scale: Scale, pixels: NDArray[np.uint8], opacity: float,
    colors: style.ColorMap,
) -> None:  # fmt: skip
    """The sheet as a picture, and the raw maps."""
    left, right = st.columns(2)
    left.download_button(
        "Sheet (PNG)", lambda: comparison.printed(request, found, scale, pixels, opacity, colors), "maps.png",
        "image/png", on_click="ignore", width="stretch",
    )  # fmt: skip
    right.download_button(
        "Raw maps (.npz)", lambda: comparison.archive(request, found), "maps.npz", on_click="ignore", width="stretch"
    )
