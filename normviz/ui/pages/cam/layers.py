"""The section that advises on layers: a dry run over all of them, and buttons that take one."""

from __future__ import annotations

from functools import partial

import streamlit as st

from normviz.attribution.diagnosis.layer_advisor import LayerReport, recommend, survey
from normviz.attribution.methods.gradient import grad_cam
from normviz.formatting import percent
from normviz.ui.kit import cache, jobs, page_layout
from normviz.ui.maps.map_request import MapRequest, feature_layers, reads_layer

COLUMNS = """
*Cell*: so many pixels of the network's input, coarse or fine. *Speaks for*: the positive products (activation times
gradient) as a share of the magnitude of all. *Half in*: the share of the cells that holds half of the map; small means
concentrated. *Agrees*: correlation with the deepest map that is not blank.
"""


def section(request: MapRequest) -> None:
    """Draw the recommendation, a button that follows it, and what every layer would show."""
    reports, best, words = advise(request)
    page_layout.sentence(words, "hint" if best is None else "good")
    if best is not None and best != request.layer:
        take(best)
    fast = reads_layer(request.method) and not request.method.slow
    title = (
        request.method.title if fast else "Grad-CAM (in place of a method that takes long, or reads no single layer)"
    )
    picked = st.dataframe(
        {
            "layer": [report.name for report in reports],
            "cells": [f"{report.shape[1]} × {report.shape[2]}" for report in reports],
            "cell": [f"{report.cell[0]:.0f} px" for report in reports],
            "speaks for": [percent(report.positive, short=True, counted=True) for report in reports],
            "half in": [
                percent(report.focus, short=True, counted=True) if report.trouble is None else "–" for report in reports
            ],
            "agrees": [f"{report.agreement:.2f}" if report.trouble is None else "–" for report in reports],
            "remark": [report.trouble or "" for report in reports],
        },
        hide_index=True,
        key="layer-table",
        on_select="rerun",
        selection_mode="single-row",
    )
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(reports) and reports[rows[0]].name not in (request.layer, best):
        take(reports[rows[0]].name)
    st.caption(f"Maps of {title}, one pass forward and one back for all layers. {COLUMNS}")


def take(layer: str) -> None:
    """A button that takes a layer."""

    def taken() -> None:
        st.session_state["layer"] = layer

    st.button(f"Take {layer}", key=f"take-{layer}", on_click=taken)


def suggest(request: MapRequest) -> None:
    """Under a blank map: the layer at which it would show something, if there is one."""
    if reads_layer(request.method):
        _, best, words = advise(request)
        st.caption(words)
        if best is not None and best != request.layer:
            take(best)


def advise(request: MapRequest) -> tuple[tuple[LayerReport, ...], str | None, str]:
    """The reports on all layers, the layer to take, and why, in words; kept."""
    own = reads_layer(request.method) and not request.method.slow
    method = partial(request.method.function, **request.arguments()) if own else grad_cam
    given = (request.method.name, *request.settings.items()) if own else ()
    target = None if request.like else request.target
    key = (request.classifier.name, request.classifier.size, target, request.other, *given)
    names = list(feature_layers(request.classifier, request.photo))  # not in `run`: a worker cannot wait

    def run() -> tuple[LayerReport, ...]:
        probe = request.probe()
        return survey(probe.model, probe.images, probe.objective, names, method)

    reports = cache.keep("survey", key, lambda: jobs.compute(run), request.photos)
    return reports, *recommend(reports)
