"""Registry of drawbacks of attribution maps, their results, and helpers to compare and show maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution import Probe, layers
from normviz.attribution.compare import Map, at_size, correlation, make_map
from normviz.attribution.engine.probe import probes
from normviz.experiments.results import Fact, Picture
from normviz.models.catalog import Classifier
from normviz.registry import get

Progress = Callable[[float], None]


@dataclass(frozen=True)
class DrawbackInput:
    """Network, photo, class and layer on which a drawback is measured.

    Attributes:
        classifier: the network.
        image: the photo, uint8 (3, H, W).
        target: index of the explained class.
        layer: dotted name of the layer.
    """

    classifier: Classifier
    image: Tensor
    target: int
    layer: str

    @property
    def images(self) -> Tensor:
        """The network's input: (1, 3, h, w)."""
        return self.classifier.prepare(self.image)

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.classifier.classes[self.target]

    def probe(self, target: int | None = None, layer: str | None = None) -> Probe:
        """Create a probe of the photo, by default for this class and layer."""
        return Probe(self.classifier.model, self.images, self.target if target is None else target, layer or self.layer)


@dataclass(frozen=True)
class Tile:
    """A small image on the page: a map over a photo, a photo alone, or an error message.

    Attributes:
        title: line above the image.
        values: the map (h, w), signed if the method is; None draws the photo alone.
        unit: unit of the map.
        caption: line below the image.
        refused: error message if there is no map.
        photo: the photo under the map, uint8 (H, W, 3); None: the photo of the drawback.
    """

    title: str
    values: NDArray[np.floating] | None = None
    unit: str = ""
    caption: str = ""
    refused: str = ""
    photo: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class DrawbackResult:
    """Measured result of a drawback.

    Attributes:
        explanation: what the pictures show, in one to three sentences.
        tiles: rows of small images.
        pictures: curves and bar charts.
        facts: measured numbers, with the theory where there is one.
        photo: the photo that was used, uint8 (H, W, 3); None: the photo of the input.
        note: remark on how it was computed.
    """

    explanation: str
    tiles: tuple[tuple[Tile, ...], ...]
    pictures: tuple[Picture, ...]
    facts: tuple[Fact, ...]
    photo: NDArray[np.uint8] | None = None
    note: str = ""


Run = Callable[[DrawbackInput, Progress], DrawbackResult]


@dataclass(frozen=True)
class Drawback:
    """A drawback: its name in links, its title on the page, and the function that measures it."""

    name: str
    title: str
    run: Run


DRAWBACKS: dict[str, Drawback] = {}


def drawback(title: str) -> Callable[[Run], Run]:
    """Register the decorated function as a drawback, under its own name."""

    def record(run: Run) -> Run:
        DRAWBACKS[run.__name__] = Drawback(run.__name__, title, run)
        return run

    return record


def last_layer_per_size(setting: DrawbackInput) -> list[tuple[str, tuple[int, ...]]]:
    """List the last layer of each feature map size up to the chosen layer, with shapes (K, h, w).

    The first layers come first. The chosen layer represents its own size.
    """
    found = layers(setting.classifier.model, setting.images)
    last: dict[tuple[int, ...], tuple[str, tuple[int, ...]]] = {}
    for name, shape in found:
        if shape[1] * shape[2] > 1:
            last.pop(shape[1:], None)
            last[shape[1:]] = (name, shape)
        if name == setting.layer:
            break
    return list(last.values())


def map_tile(found: Map, title: str, caption: str = "") -> Tile:
    """Convert a map, or the error message of its method, to a tile."""
    return Tile(title, found.drawn, get(found.method, "attribution").unit, caption, found.refused)


def maps_at_layers(setting: DrawbackInput, method: str, names: Sequence[str]) -> list[Map]:
    """Compute the maps of one method at several layers in one forward and one backward pass."""
    model, images = setting.classifier.model, setting.images
    return [make_map(get(method, "attribution"), probe) for probe in probes(model, images, setting.target, names)]


def similarity(first: Map, second: Map, size: tuple[int, int]) -> tuple[float, float]:
    """Compute the Pearson and Spearman correlation of two maps; NaN if one is constant or missing."""
    pair = [first.drawn, second.drawn]
    return float(correlation(pair, size)[0, 1]), float(correlation(pair, size, "spearman")[0, 1])


def highlighted_share(values: NDArray[np.floating], size: tuple[int, int]) -> float:
    """Compute the share of the pixels, at size (H, W), where the map is above half of its maximum."""
    enlarged = at_size(values, size)  # (H, W)
    return float((enlarged > enlarged.max() / 2).mean()) if enlarged.max() > 0 else 0.0


def to_pictures(classifier: Classifier, images: Tensor) -> list[NDArray[np.uint8]]:
    """Convert network inputs (b, 3, h, w) to images (h, w, 3) in uint8; values out of range are clipped."""
    return list(classifier.pixels(images).permute(0, 2, 3, 1).cpu().numpy())
