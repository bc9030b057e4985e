"""Whether a map is true: the photo with pixels removed or put back, and the measures, computed on demand and kept."""

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
from normviz.models.catalog import Classifier
from normviz.registry import methods
from normviz.ui.components.board import Panel
from normviz.ui.inputs.photo import kept, kept_slowly
from normviz.ui.kit import cache
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import Explained, MapRequest


@dataclass(frozen=True)
class Shown:
    """A photo with some pixels removed, or put back into a blurred one.

    Attributes:
        name: whose order it is.
        share: of the pixels that were changed.
        picture: (H, W, 3), as the network sees it.
        probability: what it says of the class.
    """

    name: str
    share: float
    picture: NDArray[np.uint8]
    probability: float


def pictures(
    asked: MapRequest, seen: Explained, how: Settings, wanted: list[tuple[str, float]], put_back: bool
) -> tuple[Shown, ...]:
    """The photo at some shares of the pixels, in the order of the map or of one of its rivals.

    Args:
        asked: the question that the map answers.
        seen: the map.
        how: what replaces removed pixels, and the seed.
        wanted: names (MAP, or one of BASELINES) and shares.
        put_back: whether pixels are put back into the blurred photo instead of removed.
    """

    def run() -> tuple[Shown, ...]:
        probe = asked.probe()
        image = probe.images[0]  # (C, H, W)
        size = (image.shape[1], image.shape[2])
        maps = _maps(seen, image, how.seed)
        places = {name: ranks(at_pixels(maps[name], size), how.seed) for name in {name for name, _ in wanted}}
        there = blurred(image) if put_back else image
        goal = image if put_back else replacement_pixels(image, how.replacement, _black(asked.classifier))
        several = torch.cat(
            [changed(there, goal, places[name], round(share * image[0].numel())) for name, share in wanted]
        )  # (b, C, H, W)
        answers = probe.ask(several, 0, True).tolist()
        levels = [_levels(picture, asked.classifier) for picture in several]
        return tuple(
            Shown(name, share, picture, answer)
            for (name, share), picture, answer in zip(wanted, levels, answers, strict=True)
        )

    key = (*asked.key, how, tuple(wanted), put_back)
    return kept(asked.photos, f"changed {len(wanted)} {put_back}", key, lambda: cache.compute(run))


def measure(
    asked: MapRequest, seen: Explained, how: Settings, step: Callable[[float], object]
) -> dict[str, Assessment]:
    """All measures of a map and of its rivals, by name; what was measured before is taken from there.

    Args:
        asked: the question that the map answers.
        seen: the map.
        how: how it is judged.
        step: called with the finished share, in the visitor's own thread.
    """
    network = asked.classifier
    found: dict[str, Assessment] = {}
    for done, name in enumerate(NAMES):

        def show(share: float, done: int = done) -> None:
            step((done + share) / len(NAMES))

        if name == MAP:
            found[name] = _judged(asked, name, seen, how, asked.key, show)
        else:  # the same for all methods; the random map has as many cells
            cells = seen.drawn.shape if name == "random" else ()
            found[name] = _judged(asked, name, seen, how, (network.name, network.size, asked.target, *cells), show)
    return found


def others(
    asked: MapRequest, how: Settings, step: Callable[[float], object]
) -> tuple[list[tuple[str, Assessment]], list[str]]:
    """The measures of the other methods that need no long time, with their usual knobs; and what others refuse.

    Args:
        asked: the question: photo, network, class and layer.
        how: how they are judged.
        step: called with the finished share.
    """
    several = [method for method in methods("attribution") if not method.slow and method.name != asked.method.name]
    found, refused = [], []
    for done, method in enumerate(several):

        def show(share: float, done: int = done) -> None:
            step((done + share) / len(several))

        other = replace(asked, method=method, settings=method.settings(), layers=())
        try:
            seen = map_request.explain(other, lambda share: None)
            found.append((method.title, _judged(other, MAP, seen, how, other.key, show)))
        except ValueError as error:
            refused.append(f"{method.title}: {error}.")
    return found, refused


def _judged(
    asked: MapRequest,
    name: str,
    seen: Explained,
    how: Settings,
    key: tuple[Hashable, ...],
    show: Callable[[float], object],
) -> Assessment:
    """The measures of a map or of one of its rivals, kept."""

    def run(advance: Callable[[float], None]) -> Assessment:
        probe = asked.probe()
        heatmap = _maps(seen, probe.images[0], how.seed)[name]
        return assess(probe, heatmap, _black(asked.classifier), how, progress=advance)

    slot = f"judged {asked.method.name if name == MAP else name}"
    return kept_slowly(asked.photos, slot, (*key, how), run, show)


def panels(found: dict[str, Assessment], title: str, score: str, share: int, said: str) -> list[Panel]:
    """The curves of a map and its rivals.

    Args:
        found: what was measured, by name.
        title: of the method.
        score: what the curves show, "probability" or "logit".
        share: in percent, where a line is drawn.
        said: the verdict, for those who cannot see the charts.
    """
    ends = (0.0, 1.0) if score == "probability" else None
    gone = figures.along({name: one.deletion for name, one in found.items()}, score, "removed", share, ends)
    back = figures.along({name: one.insertion for name, one in found.items()}, score, "put back", share, ends)
    judged = found[MAP].road
    return [
        Panel("deletion", "Deletion: a fast fall is good", gone, alt=said),
        Panel("insertion", "Insertion: a fast rise is good", back, alt=said),
        Panel("road", f"ROAD of {title}: a wide gap is good", figures.road_curves(judged, score, ends),
              alt=f"ROAD gap {judged.gap:.3f}"),
        Panel("gaps", "The gap of ROAD, beside the others", figures.road_gaps(found),
              alt="The ROAD gap of the map and of its rivals"),
    ]  # fmt: skip


def _maps(seen: Explained, image: Tensor, seed: int) -> dict[str, Tensor]:
    cells = (seen.drawn.shape[0], seen.drawn.shape[1])
    return {MAP: torch.from_numpy(seen.raw)} | baseline_maps(image, cells, seed)


def _black(classifier: Classifier) -> tuple[float, ...]:
    return black_level(classifier.mean, classifier.std)


def _levels(picture: Tensor, classifier: Classifier) -> NDArray[np.uint8]:
    """A network's input (C, H, W) as levels (H, W, 3)."""
    mean, std = (picture.new_tensor(values)[:, None, None] for values in (classifier.mean, classifier.std))
    pixels = (255 * (picture * std + mean)).round().clamp(0, 255).to(torch.uint8)  # (C, H, W)
    levels: NDArray[np.uint8] = pixels.permute(1, 2, 0).cpu().contiguous().numpy()  # (H, W, 3)
    return levels


def probability_before(asked: MapRequest) -> float:
    """What the network says of the class for the untouched photo."""
    return float(map_request.probabilities(asked.classifier, asked.photo)[asked.target])
