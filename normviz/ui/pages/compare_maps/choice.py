"""The knobs of a comparison of maps: which methods, and which classes or layers beside each other."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from normviz.experiments.drawbacks.drawback import DrawbackInput
from normviz.models.catalog import Classifier, load_classifier, norm_variants
from normviz.registry import get, methods
from normviz.ui.inputs import method
from normviz.ui.kit import tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.photo import Photo
from normviz.ui.pages.compare_maps.comparison import Across, ComparisonRequest

START = ("grad_cam", "layer_cam", "eigen_cam", "saliency", "guided_backprop")
MOST = 6  # columns
TOP, STAGES = 3, 4  # classes and layers that are shown if nothing is chosen
ACROSS: tuple[Across, ...] = ("classes", "layers", "norms")


def choose(photo: Photo, classifier: Classifier) -> ComparisonRequest:
    """Draw the knobs; what they ask for.

    Raises:
        ValueError: no method is chosen, or other normalizations are asked for that the network was not trained with.
    """
    across = url_widgets.segments("Columns", ACROSS, "classes", "columns")
    names = [one.name for one in methods("attribution")]
    chosen = st.multiselect("Methods", names, START, key="methods", format_func=method.title, bind="query-params")
    if not chosen:
        raise ValueError("choose at least one method: nothing is left to compare")
    networks = _alike(classifier) if across == "norms" else (classifier,)
    ranked = _ranked(photo, classifier)
    shapes = map_request.feature_layers(classifier, photo)
    if across == "classes":
        targets = _several("Classes, the most probable first", ranked, ranked[:TOP], "classes")
    else:
        targets = [url_widgets.select("Class", ranked, ranked[0], "class", help=tooltips.CLASS)]
    if across == "layers":
        layers = _several("Layers", list(shapes), _stages(shapes), "layers", _sized(shapes))
        layers = list(map_request.in_depth_order(classifier, photo, layers))
    else:
        layers = [_layer(shapes)]
    indices = tuple(classifier.index(name) for name in targets)
    return ComparisonRequest(
        photo, networks, tuple(get(name, "attribution") for name in chosen), across, indices, tuple(layers)
    )


def _alike(classifier: Classifier) -> tuple[Classifier, ...]:
    """The networks that were trained like this one, one for each normalization; where it is none of them, say so."""
    found = norm_variants(classifier.name)
    if classifier.name not in {entry.name for entry in found}:
        st.caption(f"{classifier.title}, was trained longer; beside each other stand its {len(found)} twins.")
    return tuple(load_classifier(entry.name, classifier.size) for entry in found)


def choose_setting(photo: Photo, classifier: Classifier) -> DrawbackInput:
    """Draw the class and the layer of a drawback."""
    ranked = _ranked(photo, classifier)
    target = url_widgets.select("Class", ranked, ranked[0], "class", help=tooltips.CLASS)
    layer = _layer(map_request.feature_layers(classifier, photo))
    return DrawbackInput(classifier, photo.image, classifier.index(target), layer)


def _ranked(photo: Photo, classifier: Classifier) -> list[str]:
    """The names of the classes, the most probable first."""
    shares = map_request.probabilities(classifier, photo)  # (classes,)
    return [classifier.classes[index] for index in shares.argsort(descending=True).tolist()]


def _layer(shapes: dict[str, tuple[int, ...]]) -> str:
    first = next(iter(shapes))
    return url_widgets.select("Layer", list(shapes), first, "layer", text=_sized(shapes), help=tooltips.SIZED_LAYER)


def _sized(shapes: dict[str, tuple[int, ...]]) -> Callable[[str], str]:
    """A layer's name with its shape."""
    return lambda name: f"{name} {' × '.join(map(str, shapes[name]))}"


def _stages(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The layer to begin with, and above it the last layer of each other size of map, the shallowest first."""
    last: dict[tuple[int, ...], str] = {}
    for name, shape in shapes.items():
        last.setdefault(shape[1:], name)
    return list(last.values())[:STAGES][::-1]


def _several(
    label: str, options: list[str], default: list[str], key: str, text: Callable[[str], str] = str
) -> list[str]:
    """Some of the options, at most MOST; none chosen means the default, and the empty field says so."""
    said = ", ".join(default)
    chosen: list[str] = st.multiselect(
        label, options, key=key, format_func=text, placeholder=said, max_selections=MOST, bind="query-params"
    )
    return chosen or default
