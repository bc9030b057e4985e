"""Clever Hans exercise: scenes, predictions and maps of a network that learned a watermark."""

from __future__ import annotations

import torch

from normviz.evaluation.pixels import at_pixels
from normviz.experiments.labs.clever_hans import CleverHansFacts, clever_hans_facts
from normviz.experiments.labs.training import accuracy
from normviz.figures import maps
from normviz.formatting import percent
from normviz.html.table import Html, table
from normviz.models.catalog import Classifier, load_classifier
from normviz.models.residual import ResidualNet
from normviz.registry import get
from normviz.scenes import CLASSES, HANS, Scene, clever_hans_scene, make_clever_hans_scenes
from normviz.ui.kit import cache, jobs
from normviz.ui.maps import map_request
from normviz.ui.maps.explained_photo import ExplainedPhoto
from normviz.ui.maps.map_request import AttributionMap, MapRequest
from normviz.ui.maps.photo import Photo

FIRST = 6_000_000  # seed of the first scene; not used in training
PICTURES = 12
COUNT = 200  # scenes of each kind for measuring accuracy


def network() -> Classifier:
    """The network trained on scenes with a watermark."""
    return load_classifier("clever_hans")


def scene(number: int, label: int = HANS, marked: bool = True) -> Scene:
    """Returns scene `number` of a class, with or without the watermark."""
    return cache.keep(
        "hans scene", (number, label, marked), lambda: clever_hans_scene(FIRST + number, label=label, marked=marked)
    )


def photo(number: int, label: int = HANS, marked: bool = True) -> Photo:
    """Returns the same scene as a photo; it is shared by all sessions."""

    def make() -> Photo:
        pixels = scene(number, label, marked).image.permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
        pixels.flags.writeable = False
        name = f"hans-{number}-{label}-{marked}"
        return Photo(f"image {number}", pixels, name, name)

    return cache.keep("hans photo", (number, label, marked), make)


def request_for(picture: Photo, method: str, target: int = HANS) -> MapRequest:
    """Returns the request for a map of a class at the last layer, with the default settings of the method."""
    classifier, chosen = network(), get(method, "attribution")
    layer = next(iter(map_request.feature_layers(classifier, picture)))
    return MapRequest(picture, classifier, chosen, target, layer, chosen.settings())


def compute(request: MapRequest) -> AttributionMap:
    """Computes a map."""
    return map_request.compute_map(request)


def overlay(number: int, method: str, label: int, marked: bool) -> tuple[str, float]:
    """Returns a scene with the map of HANS over it, as a data URI, and the probability of HANS."""
    request = request_for(photo(number, label, marked), method)
    result = compute(request)
    blended = maps.blend(request.pixels, result.drawn, 0.55, "inferno", result.signed)  # (H, W, 3)
    return maps.data_uri(blended), float(map_request.probabilities(request.classifier, request.photo)[HANS])


def overlay_after(before: Photo, after: Photo, method: str) -> str:
    """Returns a changed scene with the map of HANS over it, on the color scale of the map before, as a data URI."""
    result, classifier = compute(request_for(after, method)), network()
    high = max(float(compute(request_for(before, method)).drawn.max()), 1e-9)
    explained = ExplainedPhoto(after, classifier.probabilities(after.image), result)
    return maps.data_uri(explained.overlay(classifier, high, result.signed))


def on_mark(result: AttributionMap, mark: torch.Tensor) -> float:
    """Returns the share of the positive evidence of a map that lies on the watermark, a bool mask (H, W)."""
    cells = at_pixels(torch.from_numpy(result.raw), (mark.shape[0], mark.shape[1])).clamp(min=0)  # (H, W)
    return float(cells[mark].sum() / cells.sum().clamp(min=1e-12))


def test_accuracy() -> float:
    """Returns the accuracy of the network on new scenes generated like the training scenes."""
    return cache.keep(
        "hans tested",
        COUNT,
        lambda: jobs.compute(lambda: accuracy(_model(), make_clever_hans_scenes(COUNT, FIRST + 1000))),
    )


def facts() -> CleverHansFacts:
    """Returns the accuracy with and without the watermark, and related shares."""
    return cache.keep("hans facts", COUNT, lambda: jobs.compute(lambda: clever_hans_facts(_model(), COUNT)))


def facts_table(facts: CleverHansFacts) -> Html:
    """Returns the facts as an HTML table."""
    target = CLASSES[HANS]
    rows = [
        (f"{target} with watermark: recognized", facts.with_mark),
        (f"the same images of a {target} without watermark: recognized", facts.without_mark),
        (f"other classes with watermark: classified as {target}", facts.fooled),
        (f"the same images of other classes without watermark: classified as {target}", facts.not_fooled),
        ("other classes without watermark: recognized", facts.others),
        (f"{target} with watermark: the highest LayerCAM cell is on the mark", facts.brightest),
        (f"share of LayerCAM on the mark, which covers {percent(facts.mark_area, 1)} of the image", facts.on_mark),
    ]
    return table(
        ("measurement", "share"), [(name, percent(share, 1, short=True, counted=True)) for name, share in rows]
    )


def sample_sizes(facts: CleverHansFacts) -> str:
    """Describes the number of images behind the facts."""
    return (
        f"Measured on {facts.pictures} images of a {CLASSES[HANS]} and {facts.other_pictures} images of other classes, "
        f"none of them used in training; LayerCAM on {facts.maps} images."
    )


def _model() -> ResidualNet:
    model = network().model
    if not isinstance(model, ResidualNet):
        raise TypeError(f"the Clever Hans network must be a ResidualNet; received {type(model).__name__}")
    return model
