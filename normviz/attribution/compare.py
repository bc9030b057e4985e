"""Many maps of one photo: methods beside classes, layers or networks, from one pass each, and how alike they are."""

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
from normviz.registry import Method

Correlation = Literal["pearson", "spearman"]


@dataclass(frozen=True)
class Map:
    """One cell of a comparison: the map, or the sentence with which the method refuses.

    Attributes:
        method: the name of the method.
        target: the index of the class.
        layer: the dotted name of the layer.
        raw: the map as the method returns it, (h, w), or (C, H, W) at the input; None where it refuses.
        refused: why there is no map.
        note: how it was computed, where that is worth saying.
    """

    method: str
    target: int
    layer: str
    raw: NDArray[np.float32] | None
    refused: str = ""
    note: str = ""

    @property
    def drawn(self) -> NDArray[np.float32] | None:
        """The map (h, w), the colors of a map at the input added up; None where the method refuses."""
        return None if self.raw is None else sum_channels(self.raw)


def across_classes(model: nn.Module, images: Tensor, classes: Sequence[int], layer: str) -> tuple[Probe, ...]:
    """Probes of several classes at one layer: one forward pass, one batched backward pass of what follows the layer.

    Args:
        model: the network.
        images: (1, C, H, W), as it expects them.
        classes: the indices of the classes.
        layer: the dotted name of the layer.

    Raises:
        ValueError: no classes, or a class, a layer or images that the network does not have.
    """
    if not classes:
        raise ValueError("maps need at least one class; received none")
    return Probe(model, images, classes[0], layer).for_classes(classes)


def across_layers(model: nn.Module, images: Tensor, target: int, layers: Sequence[str]) -> tuple[Probe, ...]:
    """Probes of one class at several layers: one forward pass and one backward pass.

    Arguments as in `across_classes`.

    Raises:
        ValueError: no layers, or a class, a layer or images that the network does not have.
    """
    if not layers:
        raise ValueError("maps need at least one layer; received none")
    return probes(model, images, target, layers)


def across_networks(models: Sequence[nn.Module], images: Tensor, target: int, layer: str) -> tuple[Probe, ...]:
    """Probes of one class at the layer of one name in several networks: a forward and a backward pass of each.

    Args:
        models: networks that take the same input and know the same classes, alike but for their normalization, say.
        images: (1, C, H, W), as they expect them.
        target: the index of the class.
        layer: the dotted name of the layer, in all of them.

    Raises:
        ValueError: no networks, or a class, a layer or images that one of them does not have.
    """
    if not models:
        raise ValueError("maps need at least one network; received none")
    return tuple(Probe(model, images, target, layer) for model in models)


def make_map(method: Method, probe: Probe, progress: Callable[[float], None] | None = None) -> Map:
    """One map of a probe's first image with the method's default settings; what the method refuses is kept in words.

    Args:
        method: a registered attribution.
        probe: network, images, class and layer.
        progress: called with the finished share by methods that take long.
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
    methods: Sequence[Method], columns: Sequence[Probe], progress: Callable[[float], None] | None = None
) -> tuple[tuple[Map, ...], ...]:
    """The maps of methods (rows) and probes (columns).

    What does not read a layer is computed once for all layers of a network and a class.

    Args:
        methods: registered attributions.
        columns: probes of one photo.
        progress: called with the finished share of all cells.

    Returns:
        A row of maps for each method.
    """
    known: dict[tuple[str, int, int, str], Map] = {}
    cells = [(method, probe) for method in methods for probe in columns]
    found = []
    for done, (method, probe) in enumerate(cells):

        def advance(share: float, done: int = done) -> None:
            if progress:
                progress((done + share) / len(cells))

        key = (method.name, id(probe.model), int(probe.target[0]), probe.layer if method.reads_layer else "")
        if key not in known:
            known[key] = make_map(method, probe, advance)
        found.append(known[key])
        advance(1.0)
    width = len(columns)
    return tuple(tuple(found[start : start + width]) for start in range(0, len(found), width))


def correlation(
    maps: Sequence[NDArray[np.floating] | None], size: tuple[int, int], kind: Correlation = "pearson"
) -> NDArray[np.float64]:
    """How alike maps are, pair by pair, over all pixels of the photo as the network sees it.

    Every map is brought to that size bilinearly (`align_corners=False`), in float64. A map that is constant, or is
    not there, correlates with nothing.

    Args:
        maps: (h, w) each, or None.
        size: (H, W) pixels.
        kind: "pearson": of the values; "spearman": of their ranks, equal values sharing their mean rank.

    Returns:
        (n, n), from -1 to 1; NaN where either map is constant or missing.

    Raises:
        ValueError: an unknown kind, or a map that is no finite matrix.
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
    """A map as a row (H W,) of mean 0 and length 1, or None where it is constant or missing."""
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
    """A map (h, w) at another size (H, W), bilinear with `align_corners=False`, in float64."""
    numbers = torch.tensor(values, dtype=torch.float64)  # (h, w)
    if tuple(numbers.shape) != tuple(size):
        numbers = F.interpolate(numbers[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]  # (H, W)
    resized: NDArray[np.float64] = numbers.numpy()
    return resized


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each value (n,), from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # (distinct,): the highest rank of each
    shared: NDArray[np.float64] = last - (counts - 1) / 2
    return shared[place]
