"""The section on layers: the map of every layer compared, a recommendation, and buttons that choose a layer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from normviz.attribution.diagnosis.layer_advisor import LayerReport, recommend, survey
from normviz.attribution.methods.gradient import grad_cam
from normviz.formatting import fixed, percent
from normviz.ui.kit import cache, jobs, page_layout
from normviz.ui.maps.map_request import MapRequest, feature_layers, reads_layer

COLUMNS = """
*Cell size*: in pixels of the network's input. *Positive*: the positive products (activation times gradient) as a share
of the magnitude of all products. *Half of the map in*: the share of the cells that contains half of the map; small
means concentrated. *Correlation*: with the deepest map that is not blank.
"""


def section(request: MapRequest) -> None:
    """Draw the recommended layer, a button that chooses it, and a table of all layers."""
    reports, best, reason = advise(request)
    page_layout.sentence(reason, "hint" if best is None else "good")
    if best is not None and best != request.layer:
        use_button(best)
    fast = reads_layer(request.method) and not request.method.slow
    title = request.method.title if fast else "Grad-CAM (used for methods that are slow or do not read a single layer)"
    table = st.dataframe(
        {
            "layer": [report.name for report in reports],
            "cells": [f"{report.shape[1]} × {report.shape[2]}" for report in reports],
            "cell size": [f"{report.cell[0]:.0f} px" for report in reports],
            "positive": [percent(report.positive, short=True, counted=True) for report in reports],
            "half of the map in": [
                percent(report.focus, short=True, counted=True) if report.trouble is None else "–" for report in reports
            ],
            "correlation": [fixed(report.agreement, 2) if report.trouble is None else "–" for report in reports],
            "remark": [report.trouble or "" for report in reports],
        },
        hide_index=True,
        key="layer-table",
        on_select="rerun",
        selection_mode="single-row",
    )
    rows = table["selection"]["rows"]
    if rows and rows[0] < len(reports) and reports[rows[0]].name not in (request.layer, best):
        use_button(reports[rows[0]].name)
    st.caption(f"Maps of {title}, from one forward and one backward pass for all layers. {COLUMNS}")


def use_button(layer: str) -> None:
    """Draw a button that chooses a layer."""

    def choose() -> None:
        st.session_state["layer"] = layer

    st.button(f"Use {layer}", key=f"use-{layer}", on_click=choose)


def suggest(request: MapRequest) -> None:
    """Draw the recommended layer below a blank map, with a button that chooses it."""
    if reads_layer(request.method):
        _, best, reason = advise(request)
        st.caption(reason)
        if best is not None and best != request.layer:
            use_button(best)


def advise(request: MapRequest) -> tuple[tuple[LayerReport, ...], str | None, str]:
    """The reports on all layers, the recommended layer or None, and the reason; the reports are cached."""
    fast = reads_layer(request.method) and not request.method.slow
    method = partial(request.method.function, **request.arguments()) if fast else grad_cam
    method_key = (request.method.name, *request.settings.items()) if fast else ()
    target = None if request.like else request.target
    key = (request.classifier.name, request.classifier.size, target, request.other, *method_key)
    names = list(feature_layers(request.classifier, request.photo))  # not in `run`: workers must not wait for jobs

    def run() -> tuple[LayerReport, ...]:
        probe = request.probe()
        return survey(probe.model, probe.images, probe.objective, names, method)

    reports = cache.keep("survey", key, lambda: jobs.compute(run), request.photos)
    return reports, *recommend(reports)
