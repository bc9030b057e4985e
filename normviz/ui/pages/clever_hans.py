"""The scenes of the Clever Hans exercise, what its network says of them, and where its evidence lies."""

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

FIRST = 6_000_000  # seed of the first picture: none of these was trained on
PICTURES = 12
COUNT = 200  # scenes of each kind that accuracies are measured on


def network() -> Classifier:
    """The network that learned from scenes with a watermark."""
    return load_classifier("clever_hans")


def scene(number: int, label: int = HANS, marked: bool = True) -> Scene:
    """Picture `number` of a class, from 1, with or without the watermark."""
    return cache.keep(
        "hans scene", (number, label, marked), lambda: clever_hans_scene(FIRST + number, label=label, marked=marked)
    )


def photo(number: int, label: int = HANS, marked: bool = True) -> Photo:
    """The same scene as a photo that all visitors share."""

    def make() -> Photo:
        pixels = scene(number, label, marked).image.permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
        pixels.flags.writeable = False
        name = f"hans-{number}-{label}-{marked}"
        return Photo(f"picture {number}", pixels, name, name)

    return cache.keep("hans photo", (number, label, marked), make)


def question(picture: Photo, method: str, target: int = HANS) -> MapRequest:
    """Why the network sees a class in a picture."""
    classifier, chosen = network(), get(method, "attribution")
    layer = next(iter(map_request.feature_layers(classifier, picture)))
    return MapRequest(picture, classifier, chosen, target, layer, chosen.settings())


def answer(request: MapRequest) -> AttributionMap:
    """The map of a quick method."""
    return map_request.compute_map(request)


def lit(number: int, method: str, label: int, marked: bool) -> tuple[str, float]:
    """A picture with the map of HANS over it, as a data URI, and that class's probability."""
    request = question(photo(number, label, marked), method)
    result = answer(request)
    over = maps.blend(request.pixels, result.drawn, 0.55, "inferno", result.signed)  # (H, W, 3)
    return maps.data_uri(over), float(map_request.probabilities(request.classifier, request.photo)[HANS])


def lit_again(before: Photo, after: Photo, method: str) -> str:
    """A changed picture with the map of HANS over it, in the colors of the map before, as a data URI."""
    result, classifier = answer(question(after, method)), network()
    high = max(float(answer(question(before, method)).drawn.max()), 1e-9)
    shown = ExplainedPhoto(after, classifier.probabilities(after.image), result)
    return maps.data_uri(shown.overlay(classifier, high, result.signed))


def on_mark(result: AttributionMap, mark: torch.Tensor) -> float:
    """The share of a map's positive evidence that lies on the watermark, bool (H, W)."""
    cells = at_pixels(torch.from_numpy(result.raw), (mark.shape[0], mark.shape[1])).clamp(min=0)  # (H, W)
    return float(cells[mark].sum() / cells.sum().clamp(min=1e-12))


def tested() -> float:
    """The share of new pictures, made like those that it learned from, that the network recognizes."""
    return cache.keep(
        "hans tested",
        COUNT,
        lambda: jobs.compute(lambda: accuracy(_model(), make_clever_hans_scenes(COUNT, FIRST + 1000))),
    )


def facts() -> CleverHansFacts:
    """How often the network is right, with the watermark and without it."""
    return cache.keep("hans facts", COUNT, lambda: jobs.compute(lambda: clever_hans_facts(_model(), COUNT)))


def facts_table(told: CleverHansFacts) -> Html:
    """Returns the facts as an HTML table."""
    target = CLASSES[HANS]
    rows = [
        (f"{target} with its mark: recognized", told.with_mark),
        ("the very same pictures without it: recognized", told.without_mark),
        (f"other classes with the mark: called {target}", told.fooled),
        (f"the very same pictures without it: called {target}", told.not_fooled),
        ("other classes without it: recognized", told.others),
        ("with its mark: LayerCAM is highest on the mark", told.brightest),
        (f"LayerCAM that lies on the mark, {percent(told.mark_area, 1)} of the picture", told.on_mark),
    ]
    return table(("measured", "share"), [(name, percent(share, 1, short=True, counted=True)) for name, share in rows])


def counted(told: CleverHansFacts) -> str:
    """Of how many pictures the facts are."""
    return (
        f"Measured on {told.pictures} pictures of a {CLASSES[HANS]} and {told.other_pictures} of the other classes, "
        f"none of which it has seen; LayerCAM on {told.maps}."
    )


def _model() -> ResidualNet:
    model = network().model
    if not isinstance(model, ResidualNet):
        raise TypeError(f"the exercise's network is a ResidualNet; found {type(model).__name__}")
    return model
