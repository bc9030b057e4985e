"""Faithfulness: the photo with pixels hidden or revealed, and the measures, computed on request and cached."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.evaluation.faithfulness.assessment import Assessment, Settings, assess, baseline_maps, black_level
from normviz.evaluation.faithfulness.measures import changed, ranks
from normviz.evaluation.faithfulness.replacements import blurred, replacement_pixels
from normviz.evaluation.pixels import at_pixels
from normviz.figures.evaluation import faithfulness as figures
from normviz.figures.evaluation.faithfulness import MAP, NAMES
from normviz.formatting import fixed
from normviz.models.catalog import Classifier
from normviz.registry import methods
from normviz.ui.components.board import Panel
from normviz.ui.kit import cache, jobs
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import AttributionMap, MapRequest


@dataclass(frozen=True)
class Shown:
    """A photo with some pixels hidden, or revealed in a blurred photo.

    Attributes:
        name: name of the map or baseline that orders the pixels.
        share: share of changed pixels.
        picture: the input of the network, (H, W, 3).
        probability: probability of the class.
    """

    name: str
    share: float
    picture: NDArray[np.uint8]
    probability: float


def pictures(
    request: MapRequest, result: AttributionMap, how: Settings, shares: list[tuple[str, float]], reveal: bool
) -> tuple[Shown, ...]:
    """The photo with shares of its pixels changed, in the order of the map or of a baseline.

    Args:
        request: the request for the map.
        result: the map.
        how: the replacement of hidden pixels, and the seed.
        shares: names (MAP, or one of BASELINES) and shares.
        reveal: whether pixels are revealed in the blurred photo instead of hidden.
    """

    def run() -> tuple[Shown, ...]:
        probe = request.probe()
        image = probe.images[0]  # (C, H, W)
        size = (image.shape[1], image.shape[2])
        maps = _maps(result, image, how.seed)
        order = {name: ranks(at_pixels(maps[name], size), how.seed) for name in {name for name, _ in shares}}
        start = blurred(image) if reveal else image
        goal = image if reveal else replacement_pixels(image, how.replacement, _black(request.classifier))
        images = torch.cat(
            [changed(start, goal, order[name], round(share * image[0].numel())) for name, share in shares]
        )  # (b, C, H, W)
        probabilities = probe.score_at(images, 0, True).tolist()
        levels = [_levels(picture, request.classifier) for picture in images]
        return tuple(
            Shown(name, share, picture, probability)
            for (name, share), picture, probability in zip(shares, levels, probabilities, strict=True)
        )

    key = (*request.key, how, tuple(shares), reveal)
    return cache.keep(f"changed {len(shares)} {reveal}", key, lambda: jobs.compute(run), request.photos)


def measure(
    request: MapRequest, result: AttributionMap, how: Settings, on_stop: Callable[[], None]
) -> dict[str, Assessment]:
    """All measures of a map and of the baselines, by name, cached.

    Args:
        request: the request for the map.
        result: the map.
        how: the settings of the measures.
        on_stop: called when the visitor presses Stop.
    """
    network = request.classifier
    assessments: dict[str, Assessment] = {}
    with jobs.Bar("curves", on_stop) as bar:
        for part, name in enumerate(NAMES):
            watch = bar.watch("Running the network on changed photos", part, len(NAMES))
            if name == MAP:
                assessments[name] = _assess(request, name, result, how, request.key, watch)
            else:  # shared by all methods; the random map depends on the number of cells
                cells = result.drawn.shape if name == "random" else ()
                key = (network.name, network.size, request.target, *cells)
                assessments[name] = _assess(request, name, result, how, key, watch)
    return assessments


def others(
    request: MapRequest, how: Settings, on_stop: Callable[[], None]
) -> tuple[list[tuple[str, Assessment]], list[str]]:
    """The measures of the other fast methods with default settings, and the errors of unsupported methods.

    Args:
        request: the photo, network, class and layer.
        how: the settings of the measures.
        on_stop: called when the visitor presses Stop.
    """
    selected = [method for method in methods("attribution") if not method.slow and method.name != request.method.name]
    assessments, errors = [], []
    with jobs.Bar("others", on_stop) as bar:
        for part, method in enumerate(selected):
            watch = bar.watch("Measuring the other methods", part, len(selected))
            other = replace(request, method=method, settings=method.settings(), layers=())
            try:
                result = map_request.compute_map(other)
                assessments.append((method.title, _assess(other, MAP, result, how, other.key, watch)))
            except ValueError as error:
                errors.append(f"{method.title}: {error}.")
    return assessments, errors


def _assess(
    request: MapRequest,
    name: str,
    result: AttributionMap,
    how: Settings,
    key: tuple[Hashable, ...],
    watch: jobs.Watch,
) -> Assessment:
    """The measures of a map or of a baseline, cached."""

    def work(job: jobs.Job[Assessment]) -> Assessment:
        probe = request.probe()
        heatmap = _maps(result, probe.images[0], how.seed)[name]
        return assess(probe, heatmap, _black(request.classifier), how, progress=job.progress)

    stored = f"assessed {request.method.name if name == MAP else name}"
    return jobs.keep(stored, (*key, how), work, watch, request.photos)


def panels(assessments: dict[str, Assessment], title: str, score: str, share: int, explanation: str) -> list[Panel]:
    """The curves of a map and the baselines.

    Args:
        assessments: the measures by name.
        title: title of the method.
        score: the score on the curves, "probability" or "logit".
        share: share of the pixels at the vertical line, in percent.
        explanation: the verdict, as the alternative text of the charts.
    """
    ends = (0.0, 1.0) if score == "probability" else None
    gone = figures.score_curves({name: one.deletion for name, one in assessments.items()}, score, "hidden", share, ends)
    back = figures.score_curves(
        {name: one.insertion for name, one in assessments.items()}, score, "revealed", share, ends
    )
    road = assessments[MAP].road
    return [
        Panel("deletion", "Deletion: a fast drop is good", gone, alt=explanation),
        Panel("insertion", "Insertion: a fast rise is good", back, alt=explanation),
        Panel("road", f"ROAD of {title}: a wide gap is good", figures.road_curves(road, score, ends),
              alt=f"ROAD gap {fixed(road.gap)}"),
        Panel("gaps", "ROAD gap of the map and the baselines", figures.road_gaps(assessments),
              alt="The ROAD gap of the map and of the baselines"),
    ]  # fmt: skip


def _maps(result: AttributionMap, image: Tensor, seed: int) -> dict[str, Tensor]:
    cells = (result.drawn.shape[0], result.drawn.shape[1])
    return {MAP: torch.from_numpy(result.raw)} | baseline_maps(image, cells, seed)


def _black(classifier: Classifier) -> tuple[float, ...]:
    return black_level(classifier.mean, classifier.std)


def _levels(picture: Tensor, classifier: Classifier) -> NDArray[np.uint8]:
    """A network input (C, H, W) as uint8 pixels (H, W, 3)."""
    levels: NDArray[np.uint8] = classifier.pixels(picture).permute(1, 2, 0).cpu().contiguous().numpy()  # (H, W, 3)
    return levels


def probability_before(request: MapRequest) -> float:
    """The probability of the class for the original photo."""
    return float(map_request.probabilities(request.classifier, request.photo)[request.target])
