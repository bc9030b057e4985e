"""Comparison of maps: several methods, classes, layers or networks for one photo, and the correlations between maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from normviz.attribution.engine.probe import Probe, probes
from normviz.images import sum_channels
from normviz.registry import Attribution

Correlation = Literal["pearson", "spearman"]


@dataclass(frozen=True)
class Map:
    """One cell of a comparison: a map, or the reason why the method cannot compute it.

    Attributes:
        method: the name of the method.
        target: the index of the class.
        layer: the dotted name of the layer.
        raw: the map as returned by the method, (h, w), or (C, H, W) at the input; None if it cannot be computed.
        refused: the error message if there is no map.
        note: the method's remarks on the computation.
    """

    method: str
    target: int
    layer: str
    raw: NDArray[np.float32] | None
    refused: str = ""
    note: str = ""

    @property
    def drawn(self) -> NDArray[np.float32] | None:
        """The map (h, w) to draw, summed over the colors at the input; None if it cannot be computed."""
        return None if self.raw is None else sum_channels(self.raw)


def across_classes(model: nn.Module, images: Tensor, classes: Sequence[int], layer: str) -> tuple[Probe, ...]:
    """Probes of several classes at one layer, with one forward pass and one batched backward pass.

    Args:
        model: the network.
        images: (1, C, H, W), the network's input.
        classes: the indices of the classes.
        layer: the dotted name of the layer.

    Raises:
        ValueError: no classes, or a class, layer or images that do not fit the network.
    """
    if not classes:
        raise ValueError("maps need at least one class; received none")
    return Probe(model, images, classes[0], layer).for_classes(classes)


def across_layers(model: nn.Module, images: Tensor, target: int, layers: Sequence[str]) -> tuple[Probe, ...]:
    """Probes of one class at several layers, with one forward and one backward pass.

    Arguments as in `across_classes`.

    Raises:
        ValueError: no layers, or a class, layer or images that do not fit the network.
    """
    if not layers:
        raise ValueError("maps need at least one layer; received none")
    return probes(model, images, target, layers)


def across_networks(models: Sequence[nn.Module], images: Tensor, target: int, layer: str) -> tuple[Probe, ...]:
    """Probes of one class at the layer of the same name in several networks, with one forward and backward pass each.

    Args:
        models: networks with the same input and the same classes.
        images: (1, C, H, W), the networks' input.
        target: the index of the class.
        layer: the dotted name of the layer, in all of them.

    Raises:
        ValueError: no networks, or a class, layer or images that do not fit one of them.
    """
    if not models:
        raise ValueError("maps need at least one network; received none")
    return tuple(Probe(model, images, target, layer) for model in models)


def make_map(method: Attribution, probe: Probe, progress: Callable[[float], None] | None = None) -> Map:
    """The map of a probe's first image with the method's default options; an error message is stored in the result.

    Args:
        method: a registered attribution.
        probe: network, images, class and layer.
        progress: called with the finished fraction by slow methods.
    """
    notes: list[str] = []
    extra = {"progress": progress, "note": notes.append}
    given = {name: value for name, value in extra.items() if method.takes(name)}
    target = int(probe.target[0])
    try:
        raw = method.function(probe, **given)[0]  # (h, w) or (C, H, W)
    except ValueError as error:
        return Map(method.name, target, probe.layer, None, str(error))
    return Map(method.name, target, probe.layer, raw.float().cpu().numpy(), note=" ".join(notes))


def compare(
    methods: Sequence[Attribution], columns: Sequence[Probe], progress: Callable[[float], None] | None = None
) -> tuple[tuple[Map, ...], ...]:
    """Compute the maps of methods (rows) and probes (columns).

    Methods that do not depend on a layer are computed once for all layers of a network and class.

    Args:
        methods: registered attributions.
        columns: probes of one photo.
        progress: called with the finished fraction of all cells.

    Returns:
        One row of maps per method.
    """
    computed: dict[tuple[str, int, int, str], Map] = {}
    cells = [(method, probe) for method in methods for probe in columns]
    row_by_row = []
    for done, (method, probe) in enumerate(cells):

        def advance(share: float, done: int = done) -> None:
            if progress:
                progress((done + share) / len(cells))

        key = (method.name, id(probe.model), int(probe.target[0]), probe.layer if method.reads_layer else "")
        if key not in computed:
            computed[key] = make_map(method, probe, advance)
        row_by_row.append(computed[key])
        advance(1.0)
    width = len(columns)
    return tuple(tuple(row_by_row[start : start + width]) for start in range(0, len(row_by_row), width))


def correlation(
    maps: Sequence[NDArray[np.floating] | None], size: tuple[int, int], kind: Correlation = "pearson"
) -> NDArray[np.float64]:
    """Correlation between all pairs of maps, over all pixels of the network's input.

    All maps are resized bilinearly (`align_corners=False`) in float64. Constant and missing maps have no correlation.

    Args:
        maps: (h, w) each, or None.
        size: (H, W) pixels.
        kind: "pearson": of the values; "spearman": of their ranks, with the mean rank for equal values.

    Returns:
        (n, n), from -1 to 1; NaN where either map is constant or missing.

    Raises:
        ValueError: an unknown kind, or a map that is not a finite matrix.
    """
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"the correlation must be pearson or spearman; received {kind!r}")
    table = np.full((len(maps), len(maps)), np.nan)  # (n, n)
    rows = [_centered(values, size, kind) for values in maps]
    for i, first in enumerate(rows):
        for j, second in enumerate(rows[: i + 1]):
            if first is not None and second is not None:
                table[i, j] = table[j, i] = 1.0 if i == j else np.clip(first @ second, -1.0, 1.0)
    return table


def _centered(
    values: NDArray[np.floating] | None, size: tuple[int, int], kind: Correlation
) -> NDArray[np.float64] | None:
    """A map as a vector (H W,) of mean 0 and norm 1, or None if it is constant or missing."""
    if values is None:
        return None
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"a map must be a finite matrix (h, w); received shape {values.shape}")
    if values.max() == values.min():
        return None
    row = at_size(values, size).ravel()  # (H W,)
    row = ranks(row) if kind == "spearman" else row
    row = row - row.mean()
    length = np.sqrt(row @ row)
    return row / length if length > 0 else None


def at_size(values: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """A map (h, w) resized to (H, W), bilinear with `align_corners=False`, in float64."""
    numbers = torch.tensor(values, dtype=torch.float64)  # (h, w)
    if tuple(numbers.shape) != tuple(size):
        numbers = F.interpolate(numbers[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]  # (H, W)
    resized: NDArray[np.float64] = numbers.numpy()
    return resized


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each value (n,), starting at 1; equal values get their mean rank."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # (distinct,), the highest rank of each value
    shared: NDArray[np.float64] = last - (counts - 1) / 2
    return shared[position]
