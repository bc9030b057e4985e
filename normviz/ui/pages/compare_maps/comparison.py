"""Comparisons of maps of one photo: the request, the cached computation, and the sheet to show, print or download."""

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
from normviz.ui.components.map_sheet import MapCell, Row, Shown
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo

Across = Literal["classes", "layers", "norms"]
MAX_PROBE_BYTES = 12 * cache.MEGABYTE  # size of the largest probe to cache
CHANNELS = 5  # number of channels in the details of a cell


@dataclass(frozen=True)
class Column:
    """One column of maps: the network, the index of the class, and the dotted name of the layer."""

    classifier: Classifier
    target: int
    layer: str


@dataclass(frozen=True)
class ComparisonRequest:
    """A request for a comparison: methods as rows, and classes, layers or networks as columns.

    Attributes:
        photo: the photo.
        networks: one per column, which differ only in their normalization; or one for all columns.
        methods: one per row.
        across: what the columns are.
        classes: the indices of the classes: one per column, or one for all columns.
        layers: the dotted names of the layers: one per column, or one for all columns.
    """

    photo: Photo
    networks: tuple[Classifier, ...]
    methods: tuple[Attribution, ...]
    across: Across
    classes: tuple[int, ...]
    layers: tuple[str, ...]

    @property
    def classifier(self) -> Classifier:
        """The first network; all networks have the same preprocessing and classes."""
        return self.networks[0]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, from left to right."""
        return tuple(starmap(Column, product(self.networks, self.classes, self.layers)))

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the columns."""
        if self.across == "classes":
            return tuple(self.classifier.classes[target] for target in self.classes)
        return self.layers if self.across == "layers" else tuple(norm_of(one.name) for one in self.networks)

    @property
    def fixed(self) -> str:
        """A description of what all columns have in common, such as "at layer stage4"."""
        if self.across == "classes":
            return f"at layer {self.layers[0]}"
        explained = f"of {self.classifier.classes[self.classes[0]]}"
        return explained if self.across == "layers" else f"{explained} at layer {self.layers[0]}"

    def key(self, method: Attribution, column: Column) -> tuple[Hashable, ...]:
        """Everything that a map depends on; its key in the cache."""
        network, layer = column.classifier, column.layer if method.reads_layer else ""
        return ("map", self.photo.identity, network.name, network.size, method.name, column.target, layer)


def norm_of(name: str) -> str:
    """The normalization of a network in the catalog, or its name if it belongs to no family."""
    return next((entry.norm for entry in models() if entry.name == name and entry.norm), name)


def store(photo: Photo) -> cache.Shared:
    """The cache for maps and probes of a photo."""
    return cache.collection("photo maps", [photo])


class CachedProbe:
    """A probe in the cache, with its size in bytes; for another class, only the layers after the probe's run again."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        shapes = layers(probe.model, probe.images)
        later = shapes[[name for name, _ in shapes].index(probe.layer) :]
        numbers = sum(math.prod(shape) for _, shape in later) + sum(p.numel() for p in probe.model.parameters())
        self.bytes = 4 * numbers  # float32: the activations from the layer on, and the parameters

    def __sizeof__(self) -> int:
        return self.bytes


def probe_of(photo: Photo, classifier: Classifier, layer: str, collection: cache.Shared) -> Probe:
    """A probe of a photo at a layer; small probes are cached. Call it in a worker thread."""
    key = ("probe", photo.identity, classifier.name, classifier.size, layer)

    def create() -> CachedProbe:
        return CachedProbe(Probe(classifier.model, classifier.prepare(photo.image), None, layer))

    if key in collection:
        cached: CachedProbe = collection.get(key, create)
        return cached.probe
    result = create()
    return collection.get(key, lambda: result).probe if result.bytes <= MAX_PROBE_BYTES else result.probe


def maps(request: ComparisonRequest, watch: Callable[[str], jobs.Watch]) -> tuple[tuple[Map, ...], ...]:
    """Compute the maps of all methods (rows) and columns, or load them from the cache.

    All fast methods share the probes of the columns; slow methods follow one by one.

    Args:
        request: the comparison.
        watch: returns the function that shows the progress of a job with the given label.

    Returns:
        One row of maps per method.
    """
    collection = store(request.photo)  # not in a worker, which has no session
    cells = {request.key(method, column): (method, column) for method in request.methods for column in request.columns}
    missing = {key: cell for key, cell in cells.items() if key not in collection}
    fast = {key: cell for key, cell in missing.items() if not cell[0].slow}
    computed: dict[tuple[Hashable, ...], Map] = {}
    if fast:
        computed |= jobs.compute(lambda: _compute(request, fast, collection))
    for key, (method, column) in missing.items():
        if method.slow:
            work = partial(_compute_one, request, method, column, collection)
            computed[key] = jobs.keep_in(collection, key, work, watch(_label(request, method, column)))
    for key, one in computed.items():
        collection.get(key, lambda one=one: one)  # type: ignore[misc]

    def look_up(method: Attribution, column: Column) -> Map:
        key = request.key(method, column)
        if key in computed:
            return computed[key]
        return collection.get(key, lambda: jobs.compute(lambda: _compute_one(request, method, column, collection)))

    return tuple(tuple(look_up(method, column) for column in request.columns) for method in request.methods)


def _compute(
    request: ComparisonRequest, cells: dict[tuple[Hashable, ...], tuple[Attribution, Column]], collection: cache.Shared
) -> dict[tuple[Hashable, ...], Map]:
    """Compute maps with one forward pass per network and one backward pass for all classes or all layers."""
    probes = _probes(request, [column for _, column in cells.values()], collection)
    return {key: make_map(method, probes[column]) for key, (method, column) in cells.items()}


def _probes(request: ComparisonRequest, columns: Sequence[Column], collection: cache.Shared) -> dict[Column, Probe]:
    """The probe of each column; columns that differ only in class or only in layer share a forward pass."""
    columns = list(dict.fromkeys(columns))
    network, target, layer = columns[0].classifier, columns[0].target, columns[0].layer
    probes: Sequence[Probe]
    if request.across == "classes" or len(columns) == 1:
        probes = probe_of(request.photo, network, layer, collection).for_classes([column.target for column in columns])
    else:
        images = network.prepare(request.photo.image)  # (1, 3, h, w)
        if request.across == "layers":
            probes = across_layers(network.model, images, target, [column.layer for column in columns])
        else:
            probes = across_networks([column.classifier.model for column in columns], images, target, layer)
    return dict(zip(columns, probes, strict=True))


def _compute_one(
    request: ComparisonRequest,
    method: Attribution,
    column: Column,
    collection: cache.Shared,
    job: jobs.Job[Map] | None = None,
) -> Map:
    return make_map(method, _probes(request, [column], collection)[column], job.progress if job else None)


def _label(request: ComparisonRequest, method: Attribution, column: Column) -> str:
    """The label of the progress bar of a map."""
    where = norm_of(column.classifier.name) if request.across == "norms" else column.layer
    return f"{method.title} of {request.classifier.classes[column.target]} at {where}"


@dataclass(frozen=True)
class CellDetails:
    """The terms of a cell: its strongest channels, and their feature maps (channels, h, w)."""

    terms: Terms
    maps: NDArray[np.float32]


def cell_details(request: ComparisonRequest, cell: MapCell) -> CellDetails:
    """The strongest channels in a cell of a map.

    Raises:
        ValueError: the method has no channel weights.
    """
    method, column, collection = request.methods[cell.line], request.columns[cell.map], store(request.photo)

    def run() -> CellDetails:
        probe = _probes(request, [column], collection)[column]
        strongest = terms(method, probe, cell.row, cell.column, CHANNELS)
        features = channel_maps(probe, [term.channel for term in strongest.terms])  # (channels, h, w)
        return CellDetails(strongest, features.float().cpu().numpy())

    key = ("terms", *request.key(method, column), cell.row, cell.column)
    return collection.get(key, lambda: jobs.compute(run))


def sheet(
    request: ComparisonRequest, results: Sequence[Sequence[Map]], scale: Scale, color_map: style.ColorMap
) -> list[Row]:
    """The maps as rows of small images; the note of each row contains the unit and the color scale."""
    ends = figures.limits([[one.drawn for one in line] for line in results], scale)
    rows = []
    for method, line, scales in zip(request.methods, results, ends, strict=True):
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
    """The caption of a map: its range."""
    low, high = float(values.min()), float(values.max())
    if low == high == 0:
        return "blank: 0 everywhere"
    return f"{number(low, markup=False)} to {number(high, markup=False)}"


def sentence(text: str) -> str:
    """Format an error message as a sentence."""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def strongest(results: Sequence[Sequence[Map]], line: int = 0, number: int = 0) -> MapCell:
    """The strongest cell of a map, or its first cell if the map is missing."""
    values = results[line][number].drawn
    if values is None:
        return MapCell(line, number, 0, 0)
    row, column = divmod(int(values.argmax()), values.shape[1])
    return MapCell(line, number, row, column)


def parse_cell(text: str, results: Sequence[Sequence[Map]], methods: Sequence[Attribution]) -> MapCell:
    """Parse a cell written as "row of maps, map in the row, row, column", all from 0.

    If the text is not valid, the result is the strongest cell of a map: of the map that the text names, or else of the
    first map of the first method with channel weights, if there is one.
    """
    start = next((i for i, m in enumerate(methods) if m.weights and results[i][0].drawn is not None), 0)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return strongest(results, start)
    line, number, row, column = (int(part) for part in parts)
    if not (line < len(results) and number < len(results[line])):
        return strongest(results, start)
    values = results[line][number].drawn
    if values is None or not (row < values.shape[0] and column < values.shape[1]):
        return strongest(results, line, number)
    return MapCell(line, number, row, column)


def format_cell(cell: MapCell) -> str:
    """Format a cell as text; the inverse of `parse_cell`."""
    return ", ".join(str(n) for n in (cell.line, cell.map, cell.row, cell.column))


def printed(
    request: ComparisonRequest, results: Sequence[Sequence[Map]], scale: Scale, pixels: NDArray[np.uint8],
    opacity: float, color_map: style.ColorMap,
) -> bytes:  # fmt: skip
    """Render the sheet as PNG."""
    ends = figures.limits([[one.drawn for one in line] for line in results], scale)
    rows = [
        (f"{method.title} ({method.unit})",
         [Printed(title, one.drawn, limits, "" if one.drawn is None else caption(one.drawn), sentence(one.refused))
          if one.refused else Printed(title, one.drawn, limits, "" if one.drawn is None else caption(one.drawn))
          for title, one, limits in zip(request.titles, line, scales, strict=True)])
        for method, line, scales in zip(request.methods, results, ends, strict=True)
    ]  # fmt: skip
    titles = ", ".join(one.title for one in request.networks)
    subtitle = f"{titles}; maps {request.fixed}; color scale: {figures.SCALES[scale]}."
    return figures.print_sheet("Maps of " + request.photo.name, subtitle, rows, pixels, opacity, color_map)


def archive(request: ComparisonRequest, results: Sequence[Sequence[Map]]) -> bytes:
    """The raw maps as an .npz file, named by method and column."""
    arrays = {
        f"{one.method}-{title}".replace(" ", "_").replace("/", "_"): one.raw
        for line in results for title, one in zip(request.titles, line, strict=True) if one.raw is not None
    }  # fmt: skip
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
