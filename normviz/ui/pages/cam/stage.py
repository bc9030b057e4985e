"""The main area of the page Class activation maps: panels, classes, sections and downloads."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st

from normviz.figures import formula, maps, style
from normviz.images import encode_png
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import target_picker
from normviz.ui.kit import url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import AttributionMap, MapRequest
from normviz.ui.pages.cam import layers, pooling

SECTIONS = ("formula", "pooling", "layers", "Python")
CELL = "cam cell"  # key of the pinned cell in the session
SHOWN = 5  # number of classes to show


def draw(request: MapRequest, result: AttributionMap, opacity: float, colors: style.ColorMap) -> None:
    """Draw the photo, the map, the overlay and the most probable classes."""
    share = map_request.probabilities(request.classifier, request.photo)  # (classes,)
    top = share.topk(min(SHOWN, len(share)))
    names = target_picker.labels(request.classifier)
    best = [names[index] for index in top.indices.tolist()]
    bars = maps.class_bars(best, top.values.tolist(), None if request.like else names[request.target])
    classes = Panel("classes", "Most probable classes: click one to see its map", bars, span=3, height=190)

    def clicked(item: str) -> None:
        if not item.startswith("slice:"):
            st.session_state["class"] = item
            return
        st.session_state[CELL] = tuple(map(int, item[6:].split(","))) if item[6:] else None

    board(
        [*_panels(request, result, opacity, colors), classes], "cam-board", formula.attribution(request.unit), clicked
    )


def _panels(request: MapRequest, result: AttributionMap, opacity: float, colors: style.ColorMap) -> list[Panel]:
    photo, pixels, drawn, signed = request.photo, request.pixels, result.drawn, result.signed
    rows, columns = drawn.shape
    aspect = pixels.shape[1] / pixels.shape[0]
    crop = "" if pixels.shape == photo.pixels.shape else "The part of the photo that the network receives."
    return [
        Panel("photo", photo.name[0].upper() + photo.name[1:], maps.photo(pixels, drawn.shape), alt=photo.name,
              caption=crop),
        Panel("map", f"{request.method.title}: {request.name}", maps.heat(drawn, signed, request.unit, colors, aspect),
              alt=f"{request.method.title} of {request.name}, {rows} × {columns} cells"),
        Panel("overlay", "Map over the photo", maps.overlay(pixels, drawn, opacity, colors, signed),
              alt=f"The photo under the map of {request.name}"),
    ]  # fmt: skip


def sections(request: MapRequest, result: AttributionMap) -> None:
    """Draw the chosen section below the maps; only this section is computed."""
    chosen = url_widgets.segments("Section", SECTIONS, "formula", "section")
    if chosen == "pooling":
        pooling.section(request)
    elif chosen == "layers":
        layers.section(request)
    elif chosen == "Python":
        st.code(request.script(), "python")
    else:
        _formula(request, result)


def _formula(request: MapRequest, result: AttributionMap) -> None:
    """Draw the formula, with numbers for the pinned cell or else the strongest cell."""
    st.latex(request.method.formula)
    if result.terms is None:
        return
    cell, (rows, columns) = st.session_state.get(CELL), result.drawn.shape
    if cell is not None and cell[0] < rows and cell[1] < columns:
        st.latex(map_request.cell_terms(request, cell).formula())
        st.caption("The numbers of the pinned cell.")
        return
    st.latex(result.terms.formula())
    st.caption("The numbers of the strongest cell. Click another cell of the map to see its numbers.")


def downloads(request: MapRequest, result: AttributionMap, opacity: float, colors: style.ColorMap) -> None:
    """Draw download buttons for the overlay, the raw map and the Python script."""
    raw = io.BytesIO()
    np.save(raw, result.raw)
    picture = encode_png(maps.blend(request.pixels, result.drawn, opacity, colors, result.signed))
    stem = "_".join([*request.name.replace(",", "").split(), request.method.name])
    left, middle, right = st.columns(3)
    left.download_button("Overlay (PNG)", picture, f"{stem}.png", "image/png", on_click="ignore", width="stretch")
    middle.download_button("Raw map (.npy)", raw.getvalue(), f"{stem}.npy", on_click="ignore", width="stretch")
    right.download_button("Python script", request.script(), f"{stem}.py", on_click="ignore", width="stretch")
