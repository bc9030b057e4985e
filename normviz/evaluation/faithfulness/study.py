"""Several methods over several photos: how faithful each is on average, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.evaluation.baselines import random_map
from normviz.evaluation.bootstrap import Estimate, mean_and_interval
from normviz.evaluation.faithfulness.assessment import (
    BASELINES,
    Assessment,
    Settings,
    assess,
    baseline_maps,
    black_level,
)
from normviz.models.catalog import Classifier
from normviz.registry import Method

MEASURES: dict[str, tuple[str, Callable[[Assessment], float]]] = {
    "deletion": ("Deletion area ↓", lambda one: one.deletion.area),
    "insertion": ("Insertion area ↑", lambda one: one.insertion.area),
    "drop": ("Average drop ↓", lambda one: one.confidence.drop),
    "increase": ("Increase in confidence ↑", lambda one: float(one.confidence.increased)),
    "road": ("ROAD gap ↑", lambda one: one.road.gap),
}
STUDY_BASELINES = BASELINES | {"random": "random, cells of the layer", "pixels": "random, single pixels"}


@dataclass(frozen=True)
class Row:
    """What was measured of one method.

    Attributes:
        name: of the method, or of a baseline.
        title: for people.
        values: per measure one number a photo, (P,).
        refused: why it could not be run, or nothing.
    """

    name: str
    title: str
    values: Mapping[str, NDArray[np.float64]]
    refused: str = ""

    def estimate(self, measure: str) -> Estimate:
        """The mean over the photos and its 95 % interval."""
        return mean_and_interval(self.values[measure])


def study(
    classifier: Classifier,
    photos: Iterable[Tensor],
    methods: Sequence[Method],
    settings: Settings | None = None,
    *,
    layer: str | None = None,
    progress: Callable[[int, str], object] | None = None,
) -> tuple[Row, ...]:
    """Judge each method on each photo, for the class that the network says, beside the baselines.

    A method runs with its default knobs. One that refuses a photo (CAM, where the network's head is another) is left
    out from there on, and its row says why.

    Args:
        classifier: the network.
        photos: uint8 (3, H, W) each.
        methods: registered attributions.
        settings: how maps are judged.
        layer: of the methods that read one; None: the last with more than one cell.
        progress: called with the number of the photo and the method's name before each is judged; may raise to cancel.

    Returns:
        The baselines first, then the methods in their order.

    Raises:
        ValueError: no photos.
    """
    how = settings or Settings()
    black = black_level(classifier.mean, classifier.std)
    found: dict[str, list[Assessment]] = {}
    refused: dict[str, str] = {}
    for number, photo in enumerate(photos):
        probe = Probe(classifier.model, classifier.prepare(photo), None, layer)
        image = probe.images[0]  # (C, H, W)
        size = (image.shape[1], image.shape[2])
        cells = (probe.activations.shape[2], probe.activations.shape[3])
        maps = baseline_maps(image, cells, how.seed + number) | {"pixels": random_map(size, how.seed + number)}
        for name, heatmap in maps.items():
            if progress:
                progress(number, name)
            found.setdefault(name, []).append(assess(probe, heatmap, black, how))
        for method in methods:
            if method.name in refused:
                continue
            if progress:
                progress(number, method.name)
            try:
                heatmap = method.function(probe)[0]  # (h, w) or (C, H, W)
                found.setdefault(method.name, []).append(assess(probe, heatmap, black, how))
            except ValueError as error:
                refused[method.name] = str(error)
    if not found:
        raise ValueError("a study needs at least one photo; received none")
    titles = STUDY_BASELINES | {method.name: method.title for method in methods}
    return tuple(
        Row(name, titles[name], {} if name in refused else _values(found[name]), refused.get(name, ""))
        for name in titles
    )


def _values(several: Sequence[Assessment]) -> dict[str, NDArray[np.float64]]:
    """Per measure one number a photo."""
    return {name: np.array([read(one) for one in several]) for name, (_, read) in MEASURES.items()}


def markdown(rows: Sequence[Row]) -> str:
    """A table: the mean over the photos and its 95 % interval, baselines first, methods by their insertion area."""
    count = len(STUDY_BASELINES)
    measured = [row for row in rows[count:] if row.values]
    measured.sort(key=lambda row: -float(row.values["insertion"].mean()))
    lines = [f"| Map | {' | '.join(title for title, _ in MEASURES.values())} |", f"|---|{'---|' * len(MEASURES)}"]
    for row in [*rows[:count], *measured]:
        cells = [_cell(name, row.estimate(name)) for name in MEASURES]
        lines.append(f"| {f'*{row.title}*' if row.name in STUDY_BASELINES else row.title} | {' | '.join(cells)} |")
    lines += [f"| {row.title} | {row.refused} |{' |' * (len(MEASURES) - 1)}" for row in rows if row.refused]
    return "\n".join(lines)


def _cell(measure: str, value: Estimate) -> str:
    if measure in ("drop", "increase"):
        return f"{value.mean:.0%} [{value.low:.0%}, {value.high:.0%}]".replace("%", " %")
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"
