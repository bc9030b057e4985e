"""Requests for attribution maps of a photo, and the cached computation of maps, probabilities and layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo

TERMS = 3  # channels in the formula with numbers inserted


@dataclass(frozen=True)
class MapRequest:
    """A request for one attribution map.

    Attributes:
        photo: the photo.
        classifier: the network.
        method: a registered attribution.
        target: the index of the class.
        layer: the dotted name of the layer.
        settings: values of the method's knobs.
        other: the index of a second class: the map explains the difference between the two scores.
        like: a second photo: the map explains the similarity between the two photos, and `target` is ignored.
        layers: the layers, for a method that reads several; if empty, the method chooses them.
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
        """The name of the explained class, difference or similarity."""
        if self.like is not None:
            return f"similarity to {self.like.name}"
        names = self.classifier.classes
        return names[self.target] if self.other is None else f"{names[self.target]}, not {names[self.other]}"

    @property
    def unit(self) -> str:
        """The unit of the map; for a similarity, cosine instead of logit."""
        return self.method.unit if self.like is None else self.method.unit.replace("logit", "cosine")

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The part of the photo that the network receives, (H, W, 3); preprocessing may crop the edges."""
        return self.classifier.view(self.photo.image).permute(1, 2, 0).contiguous().numpy()

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Everything that the map depends on, except the photos; its key in the cache."""
        return (
            self.classifier.name, self.classifier.size, self.method.name, None if self.like else self.target,
            self.other, self.layer if reads_layer(self.method) else "", self.layers, *self.settings.items(),
        )  # fmt: skip

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photo and, for a similarity, the second photo."""
        return (self.photo,) if self.like is None else (self.photo, self.like)

    def probe(self) -> Probe:
        """Create the probe of the network, photo, target and layer."""
        images = self.classifier.prepare(self.photo.image)  # (1, 3, h, w)
        if self.like is not None:
            model = without_head(self.classifier.model)
            with torch.no_grad():
                embedding = embedding_of(model(self.classifier.prepare(self.like.image)))[0]  # (D,)
            return Probe(model, images, Similarity(embedding), self.layer)
        if self.other is not None and not self.method.takes("other"):
            return Probe(self.classifier.model, images, Difference(self.target, self.other), self.layer)
        return Probe(self.classifier.model, images, self.target, self.layer)

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the method: its knobs, the second class, the layers."""
        arguments: dict[str, Any] = dict(self.settings)
        if self.other is not None and self.method.takes("other"):
            arguments["other"] = self.other
        if self.layers and self.method.takes("layers"):
            arguments["layers"] = list(self.layers)
        return arguments

    def script(self) -> str:
        """Python code that computes this map."""
        model, target, imports, setup = "classifier.model", self._class(self.target), "", ""
        if self.like is not None:
            imports = "from normviz.attribution.targets import Similarity, embedding_of\n"
            imports += "from normviz.models.features import without_head\n"
            setup = "model = without_head(classifier.model)\n"
            setup += 'embedding = embedding_of(model(classifier.prepare(read_photo("other.jpg"))))[0].detach()\n'
            model, target = "model", "Similarity(embedding)"
        elif self.other is not None and not self.method.takes("other"):
            imports = "from normviz.attribution.targets import Difference\n"
            target = f"Difference({target}, {self._class(self.other)})"
        arguments = self.arguments()
        if "other" in arguments:
            arguments["other"] = _Code(self._class(arguments["other"]))
        keywords = "".join(f", {name}={value!r}" for name, value in arguments.items())
        layer = f', layer="{self.layer}"' if reads_layer(self.method) else ""
        return (
            f"from normviz import load_classifier, read_photo\n"
            f"from normviz.attribution import Probe, {self.method.name}\n{imports}\n"
            f'classifier = load_classifier("{self.classifier.name}", size={self.classifier.size})\n'
            f'images = classifier.prepare(read_photo("photo.jpg"))\n{setup}'
            f"probe = Probe({model}, images, target={target}{layer})\n"
            f"heatmap = {self.method.name}(probe{keywords})[0]  # {self.unit}\n"
        )

    def _class(self, index: int) -> str:
        """Python code for a class: a lookup by name, or its index if several classes have the same name."""
        name = self.classifier.classes[index]
        return f"classifier.index({name!r})" if self.classifier.index(name) == index else str(index)


class _Code(str):
    """Python code that is its own `repr`."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class AttributionMap:
    """A computed map with its diagnosis.

    Attributes:
        raw: the map as the method returns it: (h, w), or (3, H, W) at the input.
        reason: why the map is blank, or None.
        note: a remark on the computation, or an empty string.
        cell: row and column of the strongest cell.
        terms: the strongest channels in that cell, for methods with channel weights.
    """

    raw: NDArray[np.float32]
    reason: str | None
    note: str
    cell: tuple[int, int]
    terms: Terms | None = None

    @property
    def drawn(self) -> NDArray[np.float32]:
        """The map to draw, (h, w); a map at the input is summed over the color channels."""
        return sum_channels(self.raw)

    @property
    def signed(self) -> bool:
        """Whether the map contains negative values, which are evidence against the class."""
        return bool((self.drawn < 0).any())


def reads_layer(method: Attribution) -> bool:
    """Whether the method reads exactly one layer, which the visitor chooses."""
    return method.reads_layer and not method.takes("layers")


def probabilities(classifier: Classifier, photo: Photo, name: str = "probabilities") -> Tensor:
    """The probabilities of the classes, (classes,); a session caches one private result per name and network."""

    def run() -> NDArray[np.float32]:
        shares: NDArray[np.float32] = jobs.compute(lambda: classifier.probabilities(photo.image)).numpy()
        return shares

    return torch.tensor(cache.keep(f"{name} of {classifier.name}", classifier.size, run, [photo]))


def feature_layers(classifier: Classifier, photo: Photo) -> dict[str, tuple[int, ...]]:
    """The layers with feature maps of more than one cell and their shapes (K, h, w): the default, then deepest first.

    Raises:
        ValueError: no layer has feature maps.
    """
    default, shapes = _layers(classifier, photo)
    return {name: shapes[name] for name in dict.fromkeys((default, *reversed(shapes)))}


def in_depth_order(classifier: Classifier, photo: Photo, names: Sequence[str]) -> tuple[str, ...]:
    """Sort layers by depth, the shallowest first."""
    return tuple(name for name in _layers(classifier, photo)[1] if name in names)


def _layers(classifier: Classifier, photo: Photo) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The default layer, and all layers with feature maps of more than one cell, the shallowest first."""

    def find() -> tuple[str, dict[str, tuple[int, ...]]]:
        images = classifier.prepare(photo.image)
        shapes = {name: shape for name, shape in layers(classifier.model, images) if shape[1] * shape[2] > 1}
        return Probe(classifier.model, images).layer, shapes

    return cache.keep("layers", (classifier.name, classifier.size), lambda: jobs.compute(find))


def compute_map(
    request: MapRequest, name: str = "map", label: str = "", preview: jobs.Preview[Any, AttributionMap] | None = None
) -> AttributionMap:
    """Compute a map or load it from the cache; a slow method shows its progress and can be stopped.

    Args:
        request: the map to compute.
        name: name of the result in the cache; a session caches one private result per name.
        label: label of the progress bar; if empty, the title of the method.
        preview: functions that show intermediate maps of a slow method.

    Raises:
        ValueError: the method does not support the request.
        Stopped: the visitor stopped a slow method.
    """
    if request.method.slow:
        work = partial(make_map, request)
        label = label or request.method.title
        return jobs.run(name, request.key, work, label, inputs=request.photos, preview=preview)
    return cache.keep(name, request.key, lambda: jobs.compute(lambda: make_map(request)), request.photos)


def make_map(request: MapRequest, job: jobs.Job[AttributionMap] | None = None) -> AttributionMap:
    """Compute a map in this thread and report progress and intermediate maps to the job.

    Raises:
        ValueError: the method does not support the request.
    """
    method, probe, notes = request.method, request.probe(), list[str]()
    if method.slow and (reason := obstacle(probe, method.name)):
        return AttributionMap(np.zeros(probe.activations.shape[2:], np.float32), reason, "", (0, 0))
    reports: dict[str, Callable[[Any], object]] = {"note": notes.append}
    if job:
        reports["progress"] = job.progress
        reports["preview"] = lambda heatmap: job.preview(heatmap[0].float().cpu().numpy())
    arguments = request.arguments() | {name: report for name, report in reports.items() if method.takes(name)}
    raw: Tensor = method.function(probe, **arguments)  # (1, h, w) or (1, 3, H, W)
    reason = empty_reason(raw, probe, method.name, request.name)
    drawn = sum_channels(raw[0])  # (h, w)
    cell = divmod(int(drawn.argmax()), drawn.shape[1])
    strongest = None
    if method.weights is not None and method.level == "layer":
        strongest = terms(method, probe, *cell, TERMS, settings=request.settings)
    return AttributionMap(raw[0].float().cpu().numpy(), reason, " ".join(notes), cell, strongest)


def cell_terms(request: MapRequest, cell: tuple[int, int]) -> Terms:
    """The channels that contribute most to a cell of the map.

    Raises:
        ValueError: the method has no channel weights, or the cell is outside the map.
    """

    def run() -> Terms:
        return terms(request.method, request.probe(), *cell, TERMS, settings=request.settings)

    return cache.keep("terms", (*request.key, cell), lambda: jobs.compute(run), request.photos)
