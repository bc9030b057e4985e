"""Sanity check: does the map change when the network's weights are randomized?"""

from collections.abc import Callable
from functools import partial

import streamlit as st
import torch
from torch import Tensor

from normviz.attribution import Probe
from normviz.evaluation.baselines import sobel_map
from normviz.evaluation.sanity_check import Stage, sanity_check
from normviz.figures.evaluation import sanity_check as figures
from normviz.figures.evaluation.sanity_check import MEASURES
from normviz.html import sanity_check as rows
from normviz.registry import get
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import method as method_picker
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import jobs, knobs, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import MapRequest

BESIDE = ("saliency", "guided_backprop")  # methods for comparison
EDGES = "Sobel edges"
ORDERS = ("cascading", "one at a time")
HELP = """
A map that explains a network must depend on what the network has learned. So the weights are randomized, one group of
layers after another from the output down (*cascading*), or one group at a time while the others stay trained. The
random weights keep the mean and the standard deviation of the trained ones. The map of the same class is computed
again and compared with the original. A good explanation soon loses its similarity; a curve that stays high is a bad
sign. *Sobel edges* never use the network, so they never change. Guided backpropagation is known to reproduce the
photo's edges.

*Rank correlation* (Spearman): whether the pixels have the same order; 1 is the same order, 0 is no relation. *Of
magnitudes*: the same without the sign. *SSIM*: structural similarity in windows of 7 × 7 pixels (K1 = 0.01, K2 = 0.03)
of maps divided by their largest magnitude. All are computed at the resolution of the input. Maps with few cells can be
similar by chance, so compare several seeds.
"""

Stages = tuple[dict[str, tuple[Stage, ...]], list[str]]  # the maps of each method, and errors

page_layout.header("sanity_check")


def edges(probe: Probe) -> Tensor:
    """A map that does not depend on the network."""
    return torch.stack([sobel_map(image) for image in probe.images])  # (N, H, W)


def choose() -> tuple[MapRequest, bool, int, figures.Measure]:
    """Draw the widgets; the request, whether one group is randomized at a time, the seed, and the measure."""
    photo = pick()
    classifier = network.choose()
    method = method_picker.choose()
    names = target_picker.labels(classifier)
    wanted = url_widgets.select("Class", [target_picker.TOP, *names], target_picker.TOP, "class", help=tooltips.CLASS)
    best = int(map_request.probabilities(classifier, photo).argmax())
    target = best if wanted == target_picker.TOP else names.index(wanted)
    shapes = map_request.feature_layers(classifier, photo)
    layer = next(iter(shapes))
    if map_request.reads_layer(method):
        text = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items()}
        layer = url_widgets.select(
            "Layer", list(text), layer, "layer", text=text.__getitem__, help=tooltips.SIZED_LAYER
        )
    settings = knobs.knobs(method)
    order = url_widgets.segments("Randomize layers", ORDERS, "cascading", "order")
    draw = url_widgets.number("Seed of the weights", 0, 999, 0, "weights")
    measure = url_widgets.select("Similarity", list(MEASURES), "rank", "likeness", text=MEASURES.__getitem__)
    return MapRequest(photo, classifier, method, target, layer, settings), order == ORDERS[1], draw, measure


def ready(request: MapRequest) -> tuple[dict[str, Callable[[Probe], Tensor]], list[str]]:
    """The methods by title, with their settings; and the errors of methods that do not support this network."""
    chosen: dict[str, Callable[[Probe], Tensor]] = {
        request.method.title: partial(request.method.function, **request.settings)
    }
    probe, refused = request.probe(), []
    for method in map(get, BESIDE):
        if method.name == request.method.name:
            continue
        try:
            method.function(probe)
            chosen[method.title] = method.function
        except ValueError as error:
            refused.append(f"{method.title}: {error}.")
    return chosen | {EDGES: edges}, refused


def stages(request: MapRequest, independent: bool, seed: int) -> Stages:
    """The maps of each method, stage by stage, and the errors of methods that do not support this network."""

    def work(job: jobs.Job[Stages]) -> Stages:
        functions, refused = ready(request)
        found = sanity_check(request.probe(), functions, independent=independent, seed=seed, progress=job.progress)
        return found, refused

    key = (*request.key, independent, seed)
    return jobs.run("sanity", key, work, "Randomizing weights and computing the maps again", inputs=request.photos)


def show(request: MapRequest, independent: bool, seed: int, measure: figures.Measure) -> None:
    """Draw the similarity to the original maps as curves, and the maps."""
    found, refused = stages(request, independent, seed)
    page_layout.sentence(figures.describe(found, measure, independent), "hint")
    chart = figures.similarity(found, measure, independent)
    board([Panel("likeness", f"Similarity to the original map: {MEASURES[measure]}", chart, span=3,
                 alt="One curve per method; a curve that stays high is a bad sign")], "sanity-board")  # fmt: skip
    st.html(rows.map_rows(found, measure, independent))
    for sentence in refused:
        st.caption(sentence)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
