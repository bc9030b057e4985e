"""Correlation between the maps of several networks over a set of photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from normviz.attribution.compare import Correlation, across_networks, correlation, make_map
from normviz.attribution.engine.probe import Probe
from normviz.evaluation.baselines import center_map
from normviz.evaluation.bootstrap import Estimate, mean_and_interval
from normviz.models.catalog import Classifier
from normviz.registry import Attribution


@dataclass(frozen=True)
class Agreement:
    """Correlations between the maps of networks.

    Attributes:
        titles: titles of the networks, followed by the center of the image.
        same: (P, n, n) correlations of maps of the same photo; NaN if a map is constant or the method fails.
        other: (at most P - 1,) correlations of maps of consecutive photos, averaged over all pairs of networks: the
            similarity of unrelated maps.
    """

    titles: tuple[str, ...]
    same: NDArray[np.float64]
    other: NDArray[np.float64]

    def between(self, first: int, second: int) -> Estimate | None:
        """Compute the mean over photos with both maps and its 95% interval; None if there are none."""
        values = self.same[:, first, second]  # (P,)
        finite = values[np.isfinite(values)]
        return mean_and_interval(finite) if len(finite) else None


def agreement(
    networks: Sequence[Classifier],
    photos: Iterable[torch.Tensor],
    method: Attribution,
    layer: str | None = None,
    kind: Correlation = "pearson",
    progress: Callable[[int], object] | None = None,
) -> Agreement:
    """Explain each photo in several networks with one method, and correlate the maps.

    The explained class is the one with the highest mean probability over the networks.

    Args:
        networks: networks with the same input size and classes.
        photos: uint8 (3, H, W) each.
        method: a registered attribution method; its knobs have their defaults.
        layer: dotted name of the layer in all networks; None: the last layer with more than one cell.
        kind: kind of the correlation, over all pixels of the input.
        progress: called with the index of each photo before it is explained; may raise to cancel.

    Raises:
        ValueError: if there are fewer than two networks or fewer than two photos.
    """
    if len(networks) < 2:
        raise ValueError(f"agreement needs at least two networks; received {len(networks)}")
    same: list[NDArray[np.float64]] = []
    other: list[float] = []
    before: list[NDArray[np.float32] | None] = []
    for number, photo in enumerate(photos):
        if progress:
            progress(number)
        images = networks[0].prepare(photo)  # (1, 3, h, w)
        shares = torch.stack([one.probabilities(photo) for one in networks])  # (n, classes)
        target = int(shares.mean(dim=0).argmax())
        where = layer or Probe(networks[0].model, images, target).layer
        probes = across_networks([one.model for one in networks], images, target, where)
        maps = [make_map(method, probe).drawn for probe in probes]
        size = (images.shape[2], images.shape[3])
        same.append(correlation([*maps, center_map(size).numpy()], size, kind))  # (n + 1, n + 1)
        if before:
            across = correlation([*maps, *before], size, kind)[: len(maps), len(maps) :]  # (n, n)
            finite = across[np.isfinite(across)]
            other.extend([float(finite.mean())] if len(finite) else [])
        before = list(maps)
    if len(same) < 2:
        raise ValueError(f"agreement needs at least two photos; received {len(same)}")
    titles = (*(one.title for one in networks), "the image's center")
    return Agreement(titles, np.stack(same), np.array(other))


def markdown(found: Agreement) -> str:
    """Format the mean correlation of each pair and its 95% interval as a Markdown table."""
    lines = [f"| | {' | '.join(found.titles)} |", f"|---|{'---|' * len(found.titles)}"]
    for i, title in enumerate(found.titles):
        cells = ["1" if i == j else _cell(found.between(i, j)) for j in range(len(found.titles))]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"
