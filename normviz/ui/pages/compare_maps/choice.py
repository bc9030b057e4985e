"""The widgets of a comparison of maps: methods as rows, and classes, layers or networks as columns."""

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
MAX_COLUMNS = 6
CLASSES, LAYERS = 3, 4  # default number of columns
ACROSS: tuple[Across, ...] = ("classes", "layers", "norms")


def choose(photo: Photo, classifier: Classifier) -> ComparisonRequest:
    """Draw the widgets and return the request.

    Raises:
        ValueError: no method is chosen, or the columns are norms and the network has no variants with other norms.
    """
    across = url_widgets.segments("Columns", ACROSS, "classes", "columns")
    names = [one.name for one in methods("attribution")]
    chosen = st.multiselect("Methods", names, START, key="methods", format_func=method.title, bind="query-params")
    if not chosen:
        raise ValueError("choose at least one method to compare; received none")
    networks = _variants(classifier) if across == "norms" else (classifier,)
    ranked = _ranked(photo, classifier)
    shapes = map_request.feature_layers(classifier, photo)
    if across == "classes":
        targets = _several("Classes, the most probable first", ranked, ranked[:CLASSES], "classes")
    else:
        targets = [url_widgets.select("Class", ranked, ranked[0], "class", help=tooltips.CLASS)]
    if across == "layers":
        layers = _several("Layers", list(shapes), _default_layers(shapes), "layers", _sized(shapes))
        layers = list(map_request.in_depth_order(classifier, photo, layers))
    else:
        layers = [_layer(shapes)]
    indices = tuple(classifier.index(name) for name in targets)
    return ComparisonRequest(
        photo, networks, tuple(get(name, "attribution") for name in chosen), across, indices, tuple(layers)
    )


def _variants(classifier: Classifier) -> tuple[Classifier, ...]:
    """The variants of a network with other normalizations; a caption explains if it is not one of them."""
    variants = norm_variants(classifier.name)
    if classifier.name not in {entry.name for entry in variants}:
        st.caption(
            f"'{classifier.title}' was trained longer, so the maps come from its {len(variants)} twins, which differ "
            "only in normalization."
        )
    return tuple(load_classifier(entry.name, classifier.size) for entry in variants)


def choose_setting(photo: Photo, classifier: Classifier) -> DrawbackInput:
    """Draw the widgets for the class and layer on which a weakness is measured, and return the input."""
    ranked = _ranked(photo, classifier)
    target = url_widgets.select("Class", ranked, ranked[0], "class", help=tooltips.CLASS)
    layer = _layer(map_request.feature_layers(classifier, photo))
    return DrawbackInput(classifier, photo.image, classifier.index(target), layer)


def _ranked(photo: Photo, classifier: Classifier) -> list[str]:
    """The names of the classes, the most probable first."""
    shares = map_request.probabilities(classifier, photo)  # (classes,)
    return [classifier.classes[index] for index in shares.argsort(descending=True).tolist()]


def _layer(shapes: dict[str, tuple[int, ...]]) -> str:
    """Draw the list of layers and return the chosen one."""
    first = next(iter(shapes))
    return url_widgets.select("Layer", list(shapes), first, "layer", text=_sized(shapes), help=tooltips.SIZED_LAYER)


def _sized(shapes: dict[str, tuple[int, ...]]) -> Callable[[str], str]:
    """A function that labels a layer with its name and shape."""
    return lambda name: f"{name} {' × '.join(map(str, shapes[name]))}"


def _default_layers(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The default layer and the last layer of each other map size, the shallowest first."""
    last: dict[tuple[int, ...], str] = {}
    for name, shape in shapes.items():
        last.setdefault(shape[1:], name)
    return list(last.values())[:LAYERS][::-1]


def _several(
    label: str, options: list[str], default: list[str], key: str, text: Callable[[str], str] = str
) -> list[str]:
    """Draw a list of which several options can be chosen; an empty list stands for the default, its placeholder."""
    chosen: list[str] = st.multiselect(
        label, options, key=key, format_func=text, placeholder=", ".join(default), max_selections=MAX_COLUMNS,
        bind="query-params",
    )  # fmt: skip
    return chosen or default
