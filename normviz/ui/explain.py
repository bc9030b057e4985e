"""One photo, one class, one method: the numbers of a heatmap and what is said of it, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from normviz.attribution import Probe, empty_reason, layers
from normviz.models.catalogue import Classifier
from normviz.registry import Method, Value
from normviz.ui import cache
from normviz.ui.photo import Photo

TERMS = 3  # channels whose numbers stand in the formula


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
        layer: the layer that was read.
        reason: why the map is empty, or None.
        note: how it was computed, where that is worth saying.
        cell: row and column of the strongest cell.
        terms: the strongest channels there, for a method that weighs channels.
        channels: how many channels the layer has.
    """

    raw: NDArray[np.float32]
    layer: str
    reason: str | None
    note: str
    cell: tuple[int, int]
    terms: tuple[Term, ...]
    channels: int

    @property
    def drawn(self) -> NDArray[np.float32]:
        """The map as it is drawn (h, w): the three colours of a map at the input are added up."""
        return self.raw if self.raw.ndim == 2 else self.raw.sum(axis=0)


def probabilities(classifier: Classifier, photo: Photo) -> torch.Tensor:
    """The probability (classes,) of each class."""

    def run() -> NDArray[np.float32]:
        with cache.heavy():
            return classifier.probabilities(photo.image).numpy()

    return torch.from_numpy(_kept(photo, ("probabilities", classifier.name), run).copy())


def feature_layers(classifier: Classifier, photo: Photo) -> dict[str, tuple[int, ...]]:
    """The layers whose maps have more than one cell, the deepest first, with their shapes (K, h, w)."""

    def find() -> dict[str, tuple[int, ...]]:
        found = layers(classifier.model, classifier.prepare(photo.image))
        return {name: shape for name, shape in reversed(found) if shape[1] * shape[2] > 1}

    return cache.memo(("layers", classifier.name), find)


def explain(
    classifier: Classifier, photo: Photo, method: Method, target: int, layer: str, settings: dict[str, Value],
    progress: Callable[[float], None],
) -> Explained:  # fmt: skip
    """The map of a class; kept in the visitor's own session where the photo is their own.

    Raises:
        ValueError: what the method refuses.
    """

    def run() -> Explained:
        notes: list[str] = []
        slow = {"progress": progress, "note": notes.append} if method.takes("progress") else {}
        with cache.heavy():
            probe = Probe(classifier.model, classifier.prepare(photo.image), target, layer)
            raw = method.function(probe, **settings, **slow)  # (1, h, w) or (1, 3, H, W)
            reason = empty_reason(raw, probe, method.name, classifier.classes[target])
            drawn = raw[0] if raw.ndim == 3 else raw[0].sum(dim=0)  # (h, w)
            row, column = divmod(int(drawn.argmax()), drawn.shape[1])
            terms = _terms(method, probe, row, column)
            channels = probe.activations.shape[1]
        return Explained(
            raw[0].float().cpu().numpy(), layer, reason, " ".join(notes), (row, column), terms, channels
        )  # fmt: skip

    return _kept(photo, (classifier.name, method.name, target, layer, *settings.items()), run)


def _terms(method: Method, probe: Probe, row: int, column: int) -> tuple[Term, ...]:
    """The channels that add most to one cell."""
    if method.weights is None:
        return ()
    activations = probe.activations[0]  # (K, h, w)
    weights = method.weights(probe)[0].expand_as(activations)[:, row, column]  # (K,)
    values = activations[:, row, column]  # (K,)
    best = (weights * values).topk(min(TERMS, len(values))).indices.tolist()
    return tuple(Term(k, float(weights[k]), float(values[k])) for k in best)


def _kept[T](photo: Photo, key: tuple[object, ...], make: Callable[[], T]) -> T:
    """A result of a photo: shared for a sample, in the session alone for a visitor's own photo."""
    if photo.sample:
        return cache.memo((photo.sample, *key), make)
    return cache.private(key[0] == "probabilities" and "probabilities" or "map", (photo.identity, *key), make)
