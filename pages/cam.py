"""Class activation maps: which pixels made the network choose a class."""

import streamlit as st

from normviz.colors import OPACITY
from normviz.figures import style
from normviz.registry import Attribution
from normviz.ui.inputs import method as method_picker
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import knobs, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import MapRequest
from normviz.ui.maps.progressive_map import progressive_map
from normviz.ui.pages.cam import layers, stage

HELP = """
Each cell of the map shows how strongly the features of the chosen layer support the class: bright cells support it a
lot, dark cells do not. If a method keeps the sign, orange cells support the class and blue cells count against it. The
map shows where the network found evidence, not whether the evidence is good. Its resolution is that of the layer; the
list of layers gives the number of cells. Choose another class to see its evidence. *Layers*, below the maps, shows
what each layer would give.

Methods marked *slow* run the network many times on modified photos. They show the map so far, an approximation until
they finish. A line below the maps explains how a map was computed, where that is worth knowing.
"""
FUSED = "Each cell of the fused map is the maximum over the layers: deep layers know what, shallow layers know where."

page_layout.header("cam")


def choose() -> tuple[MapRequest, float, style.ColorMap]:
    """Draw the widgets; the request, the opacity and the color map."""
    photo = pick()
    classifier = network.choose()
    method = method_picker.choose()
    aim = target_picker.choose(classifier, photo)
    shapes = map_request.feature_layers(classifier, photo)
    text = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items()}
    layer, several = next(iter(shapes)), tuple[str, ...]()
    if map_request.reads_layer(method):
        layer = url_widgets.select(
            "Layer", list(text), layer, "layer", text=text.__getitem__, help=tooltips.SIZED_LAYER
        )
    elif method.takes("layers"):
        chosen = url_widgets.several("Layers to fuse", list(shapes), "layers", "the last of each size", help=FUSED)
        several = map_request.in_depth_order(classifier, photo, chosen) if len(chosen) < len(shapes) else ()
    settings = knobs.knobs(method, hide=hidden(method, aim))
    opacity = url_widgets.slider("Opacity of the map", 0.0, 1.0, OPACITY, "opacity", step=0.05, help=tooltips.OPACITY)
    colors = url_widgets.select("Colors", style.COLOR_MAPS[:-1], style.COLOR_MAPS[0], "colors", help=tooltips.COLORS)
    request = MapRequest(photo, classifier, method, aim.target, layer, settings, aim.other, aim.like, several)
    return request, opacity, colors


def hidden(method: Attribution, aim: target_picker.Aim) -> tuple[str, ...]:
    """The knobs without effect: the number of classes to compare with, if the other class is given."""
    return ("similar",) if aim.other is not None and method.takes("other") else ()


def show(request: MapRequest, opacity: float, colors: style.ColorMap) -> None:
    """Draw the prediction, the pictures, the classes, the chosen section and the downloads."""
    verdict = request.classifier.verdict(map_request.probabilities(request.classifier, request.photo))
    text = f"Prediction: {verdict.text}." if verdict.known else f"{verdict.text}."
    page_layout.sentence(text, "good" if verdict.known else "hint")
    result = progressive_map(request, opacity, colors)
    if result.reason:
        page_layout.sentence(f"The map is blank: {result.reason}.", "hint")
        layers.suggest(request)
    stage.draw(request, result, opacity, colors)
    if result.note:
        st.caption(result.note)
    stage.sections(request, result)
    stage.downloads(request, result, opacity, colors)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
