"""One photo, one target, one method: the numbers of a heatmap and what is said of it, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution import Probe, empty_reason, layers
from normviz.attribution.diagnosis.preflight import obstacle
from normviz.attribution.diagnosis.terms import Terms, terms
from normviz.attribution.targets import Difference, Similarity, embedding_of
from normviz.images import sum_channels
from normviz.models.catalog import Classifier
from normviz.models.features import without_head
from normviz.registry import Attribution, Value
from normviz.ui.inputs.photo import Photo, kept, kept_slowly
from normviz.ui.kit import cache

T = TypeVar("T")
TERMS = 3  # channels whose numbers stand in the formula


@dataclass(frozen=True)
class MapRequest:
    """What is asked: why does this network see this in this photo?

    Attributes:
        photo: the picture.
        classifier: the network.
        method: a registered attribution.
        target: the index of the class.
        layer: the dotted name of the layer.
        settings: the method's knobs.
        other: a class that it is told from: why this one and not that one?
        like: another photo: why do the two look alike to the network? Then no class is asked about.
        layers: for a method that reads several layers, those; none: its own choice.
    """

    photo: Photo
    classifier: Classifier
    method: Attribution
    target: int
    layer: str
    settings: dict[str, Value]
    other: int | None = None
    like: Photo | None = None
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What is explained, in words."""
        if self.like is not None:
            return f"likeness to {self.like.name}"
        names = self.classifier.classes
        return names[self.target] if self.other is None else f"{names[self.target]}, not {names[self.other]}"

    @property
    def unit(self) -> str:
        """The unit of the map: a likeness is counted in cosines instead of logits."""
        return self.method.unit if self.like is None else self.method.unit.replace("logit", "cosine")

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """What the network sees of the photo: (H, W, 3), without edges that its preparation cuts off."""
        return self.classifier.view(self.photo.image).permute(1, 2, 0).contiguous().numpy()

    @property
    def key(self) -> tuple[Hashable, ...]:
        """All that the map follows from, without the photos."""
        return (
            self.classifier.name, self.classifier.size, self.method.name, None if self.like else self.target,
            self.other, self.layer if reads_layer(self.method) else "", self.layers, *self.settings.items(),
        )  # fmt: skip

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photo, and the one that it is compared with."""
        return (self.photo,) if self.like is None else (self.photo, self.like)

    def probe(self) -> Probe:
        """Network, photo, target and layer."""
        images = self.classifier.prepare(self.photo.image)  # (1, 3, h, w)
        if self.like is not None:
            model = without_head(self.classifier.model)
            with torch.no_grad():
                goal = embedding_of(model(self.classifier.prepare(self.like.image)))[0]  # (D,)
            return Probe(model, images, Similarity(goal), self.layer)
        told = self.other is not None and not self.method.takes("other")
        target = Difference(self.target, self.other) if told and self.other is not None else self.target
        return Probe(self.classifier.model, images, target, self.layer)

    def arguments(self) -> dict[str, Any]:
        """The method's arguments beside the probe: its knobs, a class that it is told from, layers."""
        given: dict[str, Any] = dict(self.settings)
        if self.other is not None and self.method.takes("other"):
            given["other"] = self.other
        if self.layers and self.method.takes("layers"):
            given["layers"] = list(self.layers)
        return given

    def script(self) -> str:
        """The Python lines that make this map."""
        model, target, more, before = "classifier.model", self._class(self.target), "", ""
        if self.like is not None:
            more = "from normviz.attribution.targets import Similarity, embedding_of\n"
            more += "from normviz.models.features import without_head\n"
            before = "model = without_head(classifier.model)\n"
            before += 'goal = embedding_of(model(classifier.prepare(read_photo("other.jpg"))))[0].detach()\n'
            model, target = "model", "Similarity(goal)"
        elif self.other is not None and not self.method.takes("other"):
            more = "from normviz.attribution.targets import Difference\n"
            target = f"Difference({target}, {self._class(self.other)})"
        given = self.arguments()
        if "other" in given:
            given["other"] = _Code(self._class(given["other"]))
        knobs = "".join(f", {name}={value!r}" for name, value in given.items())
        layer = f', layer="{self.layer}"' if reads_layer(self.method) else ""
        return (
            f"from normviz import load_classifier, read_photo\n"
            f"from normviz.attribution import Probe, {self.method.name}\n{more}\n"
            f'classifier = load_classifier("{self.classifier.name}", size={self.classifier.size})\n'
            f'images = classifier.prepare(read_photo("photo.jpg"))\n{before}'
            f"probe = Probe({model}, images, target={target}{layer})\n"
            f"heatmap = {self.method.name}(probe{knobs})[0]  # {self.unit}\n"
        )

    def _class(self, index: int) -> str:
        """The Python for a class: looked up by its name, or its number where two classes have one name."""
        name = self.classifier.classes[index]
        return f"classifier.index({name!r})" if self.classifier.index(name) == index else str(index)


class _Code(str):
    """A piece of Python that stands for itself."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Explained:
    """A heatmap and its facts.

    Attributes:
        raw: the map as the method returns it: (h, w), or (3, H, W) at the input.
        reason: why the map is blank, or None.
        note: how it was computed, where that is worth saying.
        cell: row and column of the strongest cell.
        terms: the strongest channels there, for a method that weighs channels.
    """

    raw: NDArray[np.float32]
    reason: str | None
    note: str
    cell: tuple[int, int]
    terms: Terms | None = None

    @property
    def drawn(self) -> NDArray[np.float32]:
        """The map as it is drawn (h, w): the three colors of a map at the input are added up."""
        return sum_channels(self.raw)

    @property
    def signed(self) -> bool:
        """Whether the map holds evidence against the class, too."""
        return bool((self.drawn < 0).any())


def reads_layer(method: Attribution) -> bool:
    """Whether the choice of one layer changes the map."""
    return method.reads_layer and not method.takes("layers")


def probabilities(classifier: Classifier, photo: Photo) -> torch.Tensor:
    """The probability (classes,) of each class."""

    def run() -> NDArray[np.float32]:
        shares: NDArray[np.float32] = cache.compute(lambda: classifier.probabilities(photo.image)).numpy()
        return shares

    return torch.tensor(kept((photo,), f"probabilities of {classifier.name}", (classifier.size,), run))


def feature_layers(classifier: Classifier, photo: Photo) -> dict[str, tuple[int, ...]]:
    """The layers whose maps have more than one cell, with their shapes (K, h, w): the one to begin with, then upwards.

    Raises:
        ValueError: no layer has feature maps.
    """
    start, found = _layers(classifier, photo)
    return {name: found[name] for name in dict.fromkeys((start, *reversed(found)))}


def in_depth_order(classifier: Classifier, photo: Photo, names: Sequence[str]) -> tuple[str, ...]:
    """Some of these layers, the shallowest first."""
    return tuple(name for name in _layers(classifier, photo)[1] if name in names)


def _layers(classifier: Classifier, photo: Photo) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The layer to begin with, and all that have more than one cell, the shallowest first."""

    def find() -> tuple[str, dict[str, tuple[int, ...]]]:
        images = classifier.prepare(photo.image)
        found = {name: shape for name, shape in layers(classifier.model, images) if shape[1] * shape[2] > 1}
        return Probe(classifier.model, images).layer, found

    return cache.memo(("layers", classifier.name, classifier.size), lambda: cache.compute(find))


def explain(
    question: MapRequest,
    progress: Callable[[float], object],
    preview: Callable[[NDArray[np.float32]], object] | None = None,
) -> Explained:
    """Answer a question; the answer is kept in the visitor's own session where a photo is their own.

    Args:
        question: what is asked.
        progress: called with the finished share, 0 to 1, by methods that take long.
        preview: called, in a worker's thread, with the map so far by methods that improve it step by step.

    Raises:
        ValueError: what the method refuses.
    """
    method = question.method

    def run(advance: Callable[[float], None]) -> Explained:
        notes: list[str] = []

        def show_so_far(heatmap: Tensor) -> None:
            if preview:
                preview(heatmap[0].float().cpu().numpy())

        calls = {"progress": advance, "note": notes.append, "preview": show_so_far}
        probe = question.probe()
        if method.slow and (reason := obstacle(probe, method.name)):
            return _blank(probe, reason)
        given = question.arguments() | {name: call for name, call in calls.items() if method.takes(name)}
        raw = method.function(probe, **given)  # (1, h, w) or (1, 3, H, W)
        return _explained(question, probe, raw, " ".join(notes))

    if method.slow:
        return kept_slowly(question.photos, "map", question.key, run, progress)
    return kept(question.photos, "map", question.key, lambda: cache.compute(lambda: run(lambda share: None)))


def _explained(question: MapRequest, probe: Probe, raw: Tensor, note: str) -> Explained:
    method = question.method
    reason = empty_reason(raw, probe, method.name, question.name)
    drawn = sum_channels(raw[0])  # (h, w)
    cell = divmod(int(drawn.argmax()), drawn.shape[1])
    apart = None
    if method.weights is not None and method.level == "layer":
        apart = terms(method, probe, *cell, TERMS, settings=question.settings)
    return Explained(raw[0].float().cpu().numpy(), reason, note, cell, apart)


def _blank(probe: Probe, reason: str) -> Explained:
    """A map that was not computed, as nothing could be in it."""
    return Explained(np.zeros(probe.activations.shape[2:], np.float32), reason, "", (0, 0))


def cell_terms(question: MapRequest, cell: tuple[int, int]) -> Terms:
    """The channels that add most to a cell of the map.

    Raises:
        ValueError: the method is no weighted sum of channels, or there is no such cell.
    """
    key = (*question.key, cell)

    def run() -> Terms:
        return terms(question.method, question.probe(), *cell, TERMS, settings=question.settings)

    return kept(question.photos, "terms", key, lambda: cache.compute(run))
