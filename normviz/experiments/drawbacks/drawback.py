"""What maps of attribution cannot do: drawbacks that the literature names, each measured on the photo at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
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
    """What a drawback is shown on.

    Attributes:
        classifier: the network.
        image: the photo, uint8 (3, H, W).
        target: the index of the class that is explained.
        layer: the dotted name of the layer.
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
        """A probe of this photo, of this class and layer if nothing else is asked for."""
        return Probe(self.classifier.model, self.images, self.target if target is None else target, layer or self.layer)


@dataclass(frozen=True)
class Tile:
    """A small picture of a limit: a map over a photo, a photo alone, or the sentence that stands in its place.

    Attributes:
        title: a short line above it.
        values: the map (h, w), signed where the method is; None draws the photo alone.
        unit: what the map is counted in.
        caption: a short line below it.
        refused: why there is no map.
        photo: the photo under it, uint8 (H, W, 3); None: the one that the limit is shown on.
    """

    title: str
    values: NDArray[np.floating] | None = None
    unit: str = ""
    caption: str = ""
    refused: str = ""
    photo: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class DrawbackResult:
    """One drawback, as it was found.

    Attributes:
        explanation: what the pictures show, in one to three sentences.
        tiles: rows of small pictures.
        pictures: curves and bars.
        facts: what was measured, beside what theory says.
        photo: the photo it was shown on, uint8 (H, W, 3); None: the setting's.
        note: how it was computed, where that is worth saying.
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
    """The last layer of each size of map up to the setting's layer, the shallowest first, with shapes (K, h, w).

    The setting's own layer stands for its size.
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
    """A map as a tile, or the sentence with which its method refuses."""
    return Tile(title, found.drawn, get(found.method).unit, caption, found.refused)


def maps_at_layers(setting: DrawbackInput, method: str, names: Sequence[str]) -> list[Map]:
    """The maps of one method at several layers, from one forward and one backward pass."""
    model, images = setting.classifier.model, setting.images
    return [make_map(get(method), probe) for probe in probes(model, images, setting.target, names)]


def similarity(first: Map, second: Map, size: tuple[int, int]) -> tuple[float, float]:
    """Pearson's and Spearman's correlation of two maps at one size; NaN where one is constant or missing."""
    pair = [first.drawn, second.drawn]
    return float(correlation(pair, size)[0, 1]), float(correlation(pair, size, "spearman")[0, 1])


def highlighted_share(values: NDArray[np.floating], size: tuple[int, int]) -> float:
    """The share of the picture where the map is above half of its maximum, at size (H, W)."""
    enlarged = at_size(values, size)  # (H, W)
    return float((enlarged > enlarged.max() / 2).mean()) if enlarged.max() > 0 else 0.0


def to_pictures(classifier: Classifier, images: Tensor) -> list[NDArray[np.uint8]]:
    """Network inputs (b, 3, h, w) as pictures (h, w, 3) of uint8; what no picture can hold is cut off."""
    mean = torch.tensor(classifier.mean, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    std = torch.tensor(classifier.std, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    levels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)  # (b, 3, h, w)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())
