"""Maps of one photo side by side: what is asked, the maps, made once and kept, and what is drawn of them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product, starmap
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normviz.attribution import Probe, layers
from normviz.attribution.compare import Map, across_layers, across_networks, make_map
from normviz.attribution.diagnosis.terms import Terms, channel_maps, terms
from normviz.figures import style
from normviz.formatting import number
from normviz.models.catalog import Classifier, models
from normviz.prints import map_sheet as figures
from normviz.prints.map_sheet import Printed, Scale
from normviz.registry import Attribution
from normviz.ui.components.map_sheet import Place, Row, Shown
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo

Across = Literal["classes", "layers", "norms"]
HELD = 12 * cache.MEGABYTE  # largest weight of a probe that is kept between two changes
NAMED = 5  # channels whose numbers are shown


@dataclass(frozen=True)
class Column:
    """What one column of maps is made of: the network, the index of the class, the name of the layer."""

    classifier: Classifier
    target: int
    layer: str


@dataclass(frozen=True)
class ComparisonRequest:
    """What is compared.

    Attributes:
        photo: the picture.
        networks: one for each column, alike but for their normalization; or the one that is asked throughout.
        methods: one for each row.
        across: what the columns are.
        classes: the indices of the classes: one for each column, or the one that is explained throughout.
        layers: the names of the layers: one for each column, or the one that is read throughout.
    """

    photo: Photo
    networks: tuple[Classifier, ...]
    methods: tuple[Attribution, ...]
    across: Across
    classes: tuple[int, ...]
    layers: tuple[str, ...]

    @property
    def classifier(self) -> Classifier:
        """The first network: how all of them see the photo, and the names of the classes."""
        return self.networks[0]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns from left to right."""
        return tuple(starmap(Column, product(self.networks, self.classes, self.layers)))

    @property
    def titles(self) -> tuple[str, ...]:
        """The names of the columns."""
        if self.across == "classes":
            return tuple(self.classifier.classes[target] for target in self.classes)
        return self.layers if self.across == "layers" else tuple(norm_of(one.name) for one in self.networks)

    @property
    def fixed(self) -> str:
        """What all columns have in common."""
        if self.across == "classes":
            return f"at layer {self.layers[0]}"
        explained = f"of {self.classifier.classes[self.classes[0]]}"
        return explained if self.across == "layers" else f"{explained} at layer {self.layers[0]}"

    def key(self, method: Attribution, column: Column) -> tuple[Hashable, ...]:
        """All that a map follows from."""
        request, layer = column.classifier, column.layer if method.reads_layer else ""
        return ("map", self.photo.identity, request.name, request.size, method.name, column.target, layer)


def norm_of(name: str) -> str:
    """The normalization of a network of the catalog in words, or its name where it is of no family."""
    return next((entry.norm for entry in models() if entry.name == name and entry.norm), name)


def store(photo: Photo) -> cache.Shared:
    """The cache for maps and probes of a photo."""
    return cache.collection("photo maps", [photo])


class Held:
    """A probe that is kept, so that another class costs only what follows the layer; its size is what it holds."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        found = layers(probe.model, probe.images)
        after = found[[name for name, _ in found].index(probe.layer) :]
        numbers = sum(math.prod(shape) for _, shape in after) + sum(p.numel() for p in probe.model.parameters())
        self.weight = 4 * numbers  # bytes in float32: activations from the layer on, and the network

    def __sizeof__(self) -> int:
        return self.weight


def probe_of(photo: Photo, classifier: Classifier, layer: str, kept: cache.Shared) -> Probe:
    """A probe of a photo at a layer, from the last change where it was light enough to be kept; call it in a worker."""
    key = ("probe", photo.identity, classifier.name, classifier.size, layer)
    if key in kept:
        held: Held = kept.get(key, lambda: Held(Probe(classifier.model, classifier.prepare(photo.image), None, layer)))
        return held.probe
    held = Held(Probe(classifier.model, classifier.prepare(photo.image), None, layer))
    return kept.get(key, lambda: held).probe if held.weight <= HELD else held.probe


def maps(request: ComparisonRequest, watch: Callable[[str], jobs.Watch]) -> tuple[tuple[Map, ...], ...]:
    """The maps of all methods (rows) and columns; those that are known already are not made again.

    All maps from gradients come from one probe. Methods that take long follow one by one.

    Args:
        request: what is compared.
        watch: for a label, the function that shows a job.
    """
    kept = store(request.photo)  # here, as a worker has no session
    wanted = {request.key(method, column): (method, column) for method in request.methods for column in request.columns}
    missing = {key: cell for key, cell in wanted.items() if key not in kept}
    fast = {key: cell for key, cell in missing.items() if not cell[0].slow}
    found: dict[tuple[Hashable, ...], Map] = {}
    if fast:
        found |= jobs.compute(lambda: _made(request, fast, kept))
    for key, (method, column) in missing.items():
        if method.slow:
            work = partial(_one, request, method, column, kept)
            found[key] = jobs.keep_in(kept, key, work, watch(_named(request, method, column)))
    for key, one in found.items():
        kept.get(key, lambda one=one: one)  # type: ignore[misc]

    def look_up(method: Attribution, column: Column) -> Map:
        key = request.key(method, column)
        if key in found:
            return found[key]
        return kept.get(key, lambda: jobs.compute(lambda: _one(request, method, column, kept)))

    return tuple(tuple(look_up(method, column) for column in request.columns) for method in request.methods)


def _made(
    request: ComparisonRequest, cells: dict[tuple[Hashable, ...], tuple[Attribution, Column]], kept: cache.Shared
) -> dict[tuple[Hashable, ...], Map]:
    """Maps from one pass of each network: one batched backward pass for several classes, one for several layers."""
    probes = _probes(request, [column for _, column in cells.values()], kept)
    return {key: make_map(method, probes[column]) for key, (method, column) in cells.items()}


def _probes(request: ComparisonRequest, wanted: Sequence[Column], kept: cache.Shared) -> dict[Column, Probe]:
    """The probe of each column; columns that differ in their class or in their layer share a pass."""
    columns = list(dict.fromkeys(wanted))
    network, target, layer = columns[0].classifier, columns[0].target, columns[0].layer
    found: Sequence[Probe]
    if request.across == "classes" or len(columns) == 1:
        found = probe_of(request.photo, network, layer, kept).for_classes([column.target for column in columns])
    else:
        images = network.prepare(request.photo.image)  # (1, 3, h, w)
        if request.across == "layers":
            found = across_layers(network.model, images, target, [column.layer for column in columns])
        else:
            found = across_networks([column.classifier.model for column in columns], images, target, layer)
    return dict(zip(columns, found, strict=True))


def _one(
    request: ComparisonRequest,
    method: Attribution,
    column: Column,
    kept: cache.Shared,
    job: jobs.Job[Map] | None = None,
) -> Map:
    return make_map(method, _probes(request, [column], kept)[column], job.progress if job else None)


def _named(request: ComparisonRequest, method: Attribution, column: Column) -> str:
    """A map in words, for the bar of one that takes long."""
    where = norm_of(column.classifier.name) if request.across == "norms" else column.layer
    return f"{method.title} of {request.classifier.classes[column.target]} at {where}"


@dataclass(frozen=True)
class Apart:
    """A cell taken apart, and the channels that were named, as maps (channels, h, w)."""

    terms: Terms
    maps: NDArray[np.float32]


def take_apart(request: ComparisonRequest, place: Place) -> Apart:
    """The strongest channels in a cell of a map.

    Raises:
        ValueError: the method is no weighted sum of channels.
    """
    method, column, kept = request.methods[place.line], request.columns[place.map], store(request.photo)

    def run() -> Apart:
        probe = _probes(request, [column], kept)[column]
        found = terms(method, probe, place.row, place.column, NAMED)
        named = channel_maps(probe, [term.channel for term in found.terms])  # (channels, h, w)
        return Apart(found, named.float().cpu().numpy())

    key = ("terms", *request.key(method, column), place.row, place.column)
    return kept.get(key, lambda: jobs.compute(run))


def sheet(
    request: ComparisonRequest, found: Sequence[Sequence[Map]], scale: Scale, color_map: style.ColorMap
) -> list[Row]:
    """The maps as rows of pictures; each row says its unit and its scale."""
    ends = figures.limits([[one.drawn for one in line] for line in found], scale)
    rows = []
    for method, line, scales in zip(request.methods, found, ends, strict=True):
        unit = method.unit
        note = f"{unit}, each map on its own scale"
        if scale == "method":
            note = f"{unit}, one scale: {number(scales[0][0], markup=False)} to {number(scales[0][1], markup=False)}"
        shown = tuple(_shown(*cell, color_map) for cell in zip(request.titles, line, scales, strict=True))
        rows.append(Row(method.title, note, shown))
    return rows


def _shown(title: str, one: Map, ends: tuple[float, float], color_map: style.ColorMap) -> Shown:
    values = one.drawn
    if values is None:
        return Shown(title, refused=sentence(one.refused))
    rows, columns = values.shape
    return Shown(title, figures.picture(values, ends, color_map), (rows, columns), caption(values), values=values)


def caption(values: NDArray[np.floating]) -> str:
    """The range of a map."""
    low, high = float(values.min()), float(values.max())
    if low == high == 0:
        return "empty: 0 everywhere"
    return f"{number(low, markup=False)} to {number(high, markup=False)}"


def sentence(text: str) -> str:
    """An error's text as a sentence."""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def strongest(found: Sequence[Sequence[Map]], line: int = 0, number: int = 0) -> Place:
    """The strongest cell of a map; the middle where there is none."""
    values = found[line][number].drawn
    if values is None:
        return Place(line, number, 0, 0)
    row, column = divmod(int(values.argmax()), values.shape[1])
    return Place(line, number, row, column)


def chosen(text: str, found: Sequence[Sequence[Map]], methods: Sequence[Attribution]) -> Place:
    """The cell that a text names: "row of maps, map, row, column", each from 1; else the first map's strongest cell.

    The first map is that of the first method that weighs channels, where there is one.
    """
    start = next((i for i, m in enumerate(methods) if m.weights and found[i][0].drawn is not None), 0)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return strongest(found, start)
    line, number, row, column = (int(part) - 1 for part in parts)
    if not (0 <= line < len(found) and 0 <= number < len(found[line])):
        return strongest(found, start)
    values = found[line][number].drawn
    if values is None or not (0 <= row < values.shape[0] and 0 <= column < values.shape[1]):
        return strongest(found, line, number)
    return Place(line, number, row, column)


def written(place: Place) -> str:
    """A cell as text, as `chosen` reads it."""
    return ", ".join(str(n + 1) for n in (place.line, place.map, place.row, place.column))


def printed(
    request: ComparisonRequest, found: Sequence[Sequence[Map]], scale: Scale, pixels: NDArray[np.uint8], opacity: float,
    color_map: style.ColorMap,
) -> bytes:  # fmt: skip
    """The sheet as a PNG."""
    ends = figures.limits([[one.drawn for one in line] for line in found], scale)
    rows = [
        (f"{method.title} ({method.unit})",
         [Printed(title, one.drawn, limits, "" if one.drawn is None else caption(one.drawn), sentence(one.refused))
          if one.refused else Printed(title, one.drawn, limits, "" if one.drawn is None else caption(one.drawn))
          for title, one, limits in zip(request.titles, line, scales, strict=True)])
        for method, line, scales in zip(request.methods, found, ends, strict=True)
    ]  # fmt: skip
    titles = ", ".join(one.title for one in request.networks)
    said = f"{titles}; maps {request.fixed}; scale of the colors: {figures.SCALES[scale]}."
    return figures.print_sheet("Maps of " + request.photo.name, said, rows, pixels, opacity, color_map)


def archive(request: ComparisonRequest, found: Sequence[Sequence[Map]]) -> bytes:
    """The raw maps as an .npz file, each under its method and its column."""
    arrays = {
        f"{one.method}-{title}".replace(" ", "_").replace("/", "_"): one.raw
        for line in found for title, one in zip(request.titles, line, strict=True) if one.raw is not None
    }  # fmt: skip
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
