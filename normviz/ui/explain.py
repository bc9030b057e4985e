"""One photo, one class, one method: the numbers of a heatmap and what is said of it, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from normviz.attribution import Probe, empty_reason, layers
from normviz.models.catalogue import Classifier
from normviz.registry import Method, Value
from normviz.ui import cache
from normviz.ui.photo import Photo

T = TypeVar("T")
TERMS = 3  # channels whose numbers stand in the formula


@dataclass(frozen=True)
class Question:
    """What is asked: why does this network see this class in this photo?

    Attributes:
        photo: the picture.
        classifier: the network.
        method: a registered attribution.
        target: the index of the class.
        layer: the dotted name of the layer.
        settings: the method's knobs.
    """

    photo: Photo
    classifier: Classifier
    method: Method
    target: int
    layer: str
    settings: dict[str, Value]

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.classifier.classes[self.target]

    def script(self) -> str:
        """The Python lines that make this map."""
        knobs = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        layer = f', layer="{self.layer}"' if reads_layer(self.method) else ""
        return (
            f"from normviz import Probe, {self.method.name}, load_classifier, read_photo\n\n"
            f'classifier = load_classifier("{self.classifier.name}", size={self.classifier.size})\n'
            f'images = classifier.prepare(read_photo("photo.jpg"))\n'
            f'probe = Probe(classifier.model, images, target=classifier.index("{self.name}"){layer})\n'
            f"heatmap = {self.method.name}(probe{knobs})[0]  # {self.method.unit}\n"
        )


@dataclass(frozen=True)
class Term:
    """One channel's part of a cell of the map: weight times activation."""

    channel: int
    weight: float
    activation: float


@dataclass(frozen=True)
class Explained:
    """A heatmap and its facts.

    Attributes:
        raw: the map as the method returns it: (h, w), or (3, H, W) at the input.
        reason: why the map is empty, or None.
        note: how it was computed, where that is worth saying.
        cell: row and column of the strongest cell.
        terms: the strongest channels there, for a method that weighs channels.
        channels: how many channels the layer has.
    """

    raw: NDArray[np.float32]
    reason: str | None
    note: str
    cell: tuple[int, int]
    terms: tuple[Term, ...]
    channels: int

    @property
    def drawn(self) -> NDArray[np.float32]:
        """The map as it is drawn (h, w): the three colours of a map at the input are added up."""
        return self.raw if self.raw.ndim == 2 else self.raw.sum(axis=0)

    @property
    def signed(self) -> bool:
        """Whether the map holds evidence against the class, too."""
        return bool((self.drawn < 0).any())

    def numbers(self) -> str:
        """The sum over the channels in the strongest cell, with its numbers, in LaTeX."""
        row, column = self.cell
        total = float(self.drawn[row, column])
        terms = [rf"\underbrace{{{t.weight:.3g} \cdot {t.activation:.3g}}}_{{k = {t.channel}}}" for t in self.terms]
        others = total - sum(t.weight * t.activation for t in self.terms)
        rest = rf"\underbrace{{({others:.3g})}}_{{{self.channels - len(terms)}\text{{ others}}}}"
        return rf"M_{{\text{{row {row + 1}, column {column + 1}}}}} = {' + '.join([*terms, rest])} = {total:.3g}"


def reads_layer(method: Method) -> bool:
    """Whether the choice of a layer changes the map."""
    return method.level == "layer" or method.name == "guided_grad_cam"


def probabilities(classifier: Classifier, photo: Photo) -> torch.Tensor:
    """The probability (classes,) of each class."""

    def run() -> NDArray[np.float32]:
        shares: NDArray[np.float32] = cache.compute(lambda: classifier.probabilities(photo.image)).numpy()
        return shares

    return torch.tensor(_kept(photo, "probabilities", (classifier.name, classifier.size), run))


def feature_layers(classifier: Classifier, photo: Photo) -> dict[str, tuple[int, ...]]:
    """The layers whose maps have more than one cell, the deepest first, with their shapes (K, h, w)."""

    def find() -> dict[str, tuple[int, ...]]:
        found = layers(classifier.model, classifier.prepare(photo.image))
        return {name: shape for name, shape in reversed(found) if shape[1] * shape[2] > 1}

    return cache.memo(("layers", classifier.name, classifier.size), find)


def explain(question: Question, progress: Callable[[float], object]) -> Explained:
    """Answer a question; the answer is kept in the visitor's own session where the photo is their own.

    Args:
        question: what is asked.
        progress: called with the finished share, 0 to 1, by methods that take long.

    Raises:
        ValueError: what the method refuses.
    """
    method, classifier = question.method, question.classifier

    def run(advance: Callable[[float], None]) -> Explained:
        notes: list[str] = []
        slow = {"progress": advance, "note": notes.append} if method.takes("progress") else {}
        probe = Probe(classifier.model, classifier.prepare(question.photo.image), question.target, question.layer)
        raw = method.function(probe, **question.settings, **slow)  # (1, h, w) or (1, 3, H, W)
        reason = empty_reason(raw, probe, method.name, question.name)
        drawn = raw[0] if raw.ndim == 3 else raw[0].sum(dim=0)  # (h, w)
        row, column = divmod(int(drawn.argmax()), drawn.shape[1])
        terms = _terms(method, probe, row, column)
        channels = probe.activations.shape[1]
        return Explained(raw[0].float().cpu().numpy(), reason, " ".join(notes), (row, column), terms, channels)

    show = progress if method.takes("progress") else lambda share: None
    key = (classifier.name, classifier.size, method.name, question.target, question.layer, *question.settings.items())
    return _kept(question.photo, "map", key, lambda: cache.compute_slowly(run, show))


def _terms(method: Method, probe: Probe, row: int, column: int) -> tuple[Term, ...]:
    """The channels that add most to one cell."""
    if method.weights is None:
        return ()
    activations = probe.activations[0]  # (K, h, w)
    weights = method.weights(probe)[0].expand_as(activations)[:, row, column]  # (K,)
    values = activations[:, row, column]  # (K,)
    best = (weights * values).topk(min(TERMS, len(values))).indices.tolist()
    return tuple(Term(k, float(weights[k]), float(values[k])) for k in best)


def _kept(photo: Photo, name: str, key: tuple[object, ...], make: Callable[[], T]) -> T:
    """A result of a photo: shared for a sample, in the session alone for a visitor's own photo."""
    if photo.sample:
        return cache.memo((name, photo.sample, *key), make)
    return cache.private(name, (photo.identity, *key), make)
