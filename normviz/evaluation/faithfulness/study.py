"""Study of several methods over several photos: mean of each faithfulness measure and its confidence interval."""

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
from normviz.registry import Attribution

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
    """Measurements of one method.

    Attributes:
        name: name of the method or baseline.
        title: title in the table.
        values: (P,) values per measure, one per photo.
        refused: error message if the method could not be run, else "".
    """

    name: str
    title: str
    values: Mapping[str, NDArray[np.float64]]
    refused: str = ""

    def estimate(self, measure: str) -> Estimate:
        """Compute the mean over the photos and its 95% interval."""
        return mean_and_interval(self.values[measure])


def study(
    classifier: Classifier,
    photos: Iterable[Tensor],
    methods: Sequence[Attribution],
    settings: Settings | None = None,
    *,
    layer: str | None = None,
    progress: Callable[[int, str], object] | None = None,
) -> tuple[Row, ...]:
    """Assess each method and the baselines on each photo, for the predicted class.

    Methods run with their default knobs. A method that raises ValueError (for example CAM on a network without a
    suitable head) is skipped for the remaining photos, and its row holds the message.

    Args:
        classifier: the network.
        photos: uint8 (3, H, W) each.
        methods: registered attribution methods.
        settings: settings of the assessment.
        layer: layer of the methods that need one; None: the last layer with more than one cell.
        progress: called with photo index and method name before each assessment; may raise to cancel.

    Returns:
        The baselines, then the methods in their order.

    Raises:
        ValueError: if there are no photos.
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
    """Collect the values of each measure, one per photo."""
    return {name: np.array([read(one) for one in several]) for name, (_, read) in MEASURES.items()}


def markdown(rows: Sequence[Row]) -> str:
    """Format means and 95% intervals as a Markdown table; methods are sorted by insertion area."""
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
        return f"{value.mean:.0%} [{value.low:.0%}, {value.high:.0%}]"
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"
