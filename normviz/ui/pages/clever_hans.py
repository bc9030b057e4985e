"""The scenes of the Clever Hans exercise, what its network says of them, and where its evidence lies."""

from __future__ import annotations

import torch

from normviz.evaluation.pixels import at_pixels
from normviz.experiments.labs.clever_hans import CleverHansFacts, clever_hans_facts
from normviz.experiments.labs.training import accuracy
from normviz.figures import maps
from normviz.models.catalog import Classifier, load_classifier
from normviz.models.residual import ResidualNet
from normviz.registry import get
from normviz.scenes import CLASSES, HANS, Scene, clever_hans_scene, make_clever_hans_scenes
from normviz.ui.inputs.photo import Photo
from normviz.ui.kit import cache
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import Explained, MapRequest
from normviz.ui.pages.photo_edit import Answer

FIRST = 6_000_000  # seed of the first picture: none of these was trained on
PICTURES = 12
COUNT = 200  # scenes of each kind that accuracies are measured on


def network() -> Classifier:
    """The network that learned from scenes with a watermark."""
    return load_classifier("clever_hans")


def scene(number: int, label: int = HANS, marked: bool = True) -> Scene:
    """Picture `number` of a class, from 1, with or without the watermark."""
    return cache.memo(
        ("hans scene", number, label, marked), lambda: clever_hans_scene(FIRST + number, label=label, marked=marked)
    )


def photo(number: int, label: int = HANS, marked: bool = True) -> Photo:
    """The same scene as a photo that all visitors share."""

    def make() -> Photo:
        pixels = scene(number, label, marked).image.permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
        pixels.flags.writeable = False
        name = f"hans-{number}-{label}-{marked}"
        return Photo(f"picture {number}", pixels, name, name)

    return cache.memo(("hans photo", number, label, marked), make)


def question(picture: Photo, method: str, target: int = HANS) -> MapRequest:
    """Why the network sees a class in a picture."""
    classifier, chosen = network(), get(method, "attribution")
    layer = next(iter(map_request.feature_layers(classifier, picture)))
    return MapRequest(picture, classifier, chosen, target, layer, chosen.settings())


def answer(asked: MapRequest) -> Explained:
    """The map of a quick method."""
    return map_request.explain(asked, lambda share: None)


def lit(number: int, method: str, label: int, marked: bool) -> tuple[str, float]:
    """A picture with the map of HANS over it, as a data URI, and that class's probability."""
    asked = question(photo(number, label, marked), method)
    seen = answer(asked)
    over = maps.blend(asked.pixels, seen.drawn, 0.55, "inferno", seen.signed)  # (H, W, 3)
    return maps.data_uri(over), float(map_request.probabilities(asked.classifier, asked.photo)[HANS])


def lit_again(before: Photo, after: Photo, method: str) -> str:
    """A changed picture with the map of HANS over it, in the colors of the map before, as a data URI."""
    seen, classifier = answer(question(after, method)), network()
    high = max(float(answer(question(before, method)).drawn.max()), 1e-9)
    shown = Answer(after, classifier.probabilities(after.image), seen)
    return maps.data_uri(shown.lit(classifier, high, seen.signed))


def on_mark(seen: Explained, mark: torch.Tensor) -> float:
    """The share of a map's positive evidence that lies on the watermark, bool (H, W)."""
    cells = at_pixels(torch.from_numpy(seen.raw), (mark.shape[0], mark.shape[1])).clamp(min=0)  # (H, W)
    return float(cells[mark].sum() / cells.sum().clamp(min=1e-12))


def tested() -> float:
    """The share of new pictures, made like those that it learned from, that the network recognizes."""
    return cache.memo(
        ("hans tested", COUNT),
        lambda: cache.compute(lambda: accuracy(_model(), make_clever_hans_scenes(COUNT, FIRST + 1000))),
    )


def facts() -> CleverHansFacts:
    """How often the network is right, with the watermark and without it."""
    return cache.memo(("hans facts", COUNT), lambda: cache.compute(lambda: clever_hans_facts(_model(), COUNT)))


def table(told: CleverHansFacts) -> str:
    """The facts, as a table in Markdown."""
    name = CLASSES[HANS]
    rows = [
        (f"{name} with its mark: recognized", told.with_mark),
        ("the very same pictures without it: recognized", told.without_mark),
        (f"other classes with the mark: called {name}", told.fooled),
        (f"the very same pictures without it: called {name}", told.not_fooled),
        ("other classes without it: recognized", told.others),
        ("with its mark: LayerCAM is highest on the mark", told.brightest),
        (f"LayerCAM that lies on the mark, {told.mark_area:.1%} of the picture", told.on_mark),
    ]
    return "| measured | share |\n|---|--:|\n" + "\n".join(f"| {what} | {share:.1%} |" for what, share in rows)


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
