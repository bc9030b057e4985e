"""Class activation maps: which pixels made the network choose a class?"""

import streamlit as st

from normviz.colors import OPACITY
from normviz.figures import style
from normviz.registry import Method
from normviz.ui.inputs import method as method_picker
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import knobs, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import MapRequest
from normviz.ui.maps.progressive_map import progressive_map
from normviz.ui.pages.cam import layers, stage

HELP = """
The map shows, cell by cell, how much the chosen layer's features speak for the class: bright is much, dark is nothing.
Where a method keeps the sign, orange speaks for it and blue against it. It says where the network found evidence, not
whether the evidence is good, and it is as coarse as the layer: the list of layers says how many cells each has. Choose
another class to see what speaks for that one. *Layers*, below the maps, says what each layer would show.

Methods marked *takes long* ask the network again and again about changed photos. They show what they have so far, an
approximation until they are finished. A line below the maps says how a map was made, where that is worth saying.
"""
FUSED = "Each layer gives a map of its own, and each cell takes the highest: deep layers know what, shallow ones where."

page_layout.header("cam")


def choose() -> tuple[MapRequest, float, style.ColorMap]:
    """Draw the knobs; the question, the opacity and the colors."""
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


def hidden(method: Method, aim: target_picker.Aim) -> tuple[str, ...]:
    """The knobs that say nothing here: with how many classes to compare, where the other class is named."""
    return ("similar",) if aim.other is not None and method.takes("other") else ()


def show(request: MapRequest, opacity: float, colors: style.ColorMap) -> None:
    """The verdict, the pictures, the classes, the section that was asked for, the downloads."""
    verdict = request.classifier.verdict(map_request.probabilities(request.classifier, request.photo))
    said = f"The network says: {verdict.text}." if verdict.known else f"{verdict.text}."
    page_layout.sentence(said, "good" if verdict.known else "hint")
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
