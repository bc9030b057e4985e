"""Assessment of a map by all faithfulness measures, and a verdict from the comparison with baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.evaluation.baselines import center_map, random_map, sobel_map
from normviz.evaluation.faithfulness.measures import (
    CHUNK,
    STEPS,
    ConfidenceChange,
    Curve,
    Progress,
    confidence_change,
    deletion,
    insertion,
)
from normviz.evaluation.faithfulness.replacements import Replacement, blurred, replacement_pixels
from normviz.evaluation.faithfulness.road import Road, road

BASELINES = {"random": "a random map", "center": "the image's center", "edges": "the edges (Sobel)"}
EVEN = 0.01  # areas that differ by at most this share of the range of the scores count as equal


@dataclass(frozen=True)
class Settings:
    """Settings of an assessment.

    Attributes:
        replacement: values of removed pixels in deletion. Insertion always starts from the blurred photo, drop and
            increase use black, and ROAD imputes pixels.
        steps: images along a curve.
        probability: whether curves and ROAD use the probability instead of the logit.
        seed: seed of the random map, of the order of equal pixels and of the noise of ROAD.
        chunk: images in one forward pass; affects only speed and memory.
    """

    replacement: Replacement = "mean"
    steps: int = STEPS
    probability: bool = True
    seed: int = 0
    chunk: int = CHUNK


@dataclass(frozen=True)
class Assessment:
    """All measures of one map on one photo."""

    deletion: Curve
    insertion: Curve
    confidence: ConfidenceChange
    road: Road


class Verdict(NamedTuple):
    """Whether the map beats every baseline in both curves, and an explanation."""

    good: bool
    text: str


def black_level(mean: Sequence[float], std: Sequence[float]) -> tuple[float, ...]:
    """Compute the value of black pixels in a network input that is standardized as (pixel - mean) / std."""
    return tuple(-m / s for m, s in zip(mean, std, strict=True))


def baseline_maps(image: Tensor, cells: tuple[int, int], seed: int = 0) -> dict[str, Tensor]:
    """Compute the baseline maps, by the names of BASELINES.

    Args:
        image: (C, H, W).
        cells: (h, w) of the assessed map; the random map gets as many, so that both remove patches of the same size.
        seed: seed of the random map.

    Returns:
        Maps (H, W).
    """
    size = (image.shape[1], image.shape[2])
    return {
        "random": random_map(size, seed, cells), "center": center_map(size), "edges": sobel_map(image),
    }  # fmt: skip


def assess(
    probe: Probe,
    heatmap: Tensor,
    black: Sequence[float],
    settings: Settings | None = None,
    *,
    index: int = 0,
    progress: Progress | None = None,
) -> Assessment:
    """Compute deletion, insertion, drop, increase and ROAD of one map.

    Args:
        probe: network, images and target.
        heatmap: raw map of one image: (h, w) or (C, H, W).
        black: C values of black in the network input (see `black_level`).
        settings: settings; None: the defaults.
        index: index of the image in the probe.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: if a measure rejects the input.
    """
    how = settings or Settings()
    image = probe.images[index]  # (C, H, W)
    common: dict[str, Any] = {"index": index, "probability": how.probability, "seed": how.seed, "chunk": how.chunk}

    def part(start: float, end: float) -> Progress | None:
        return None if progress is None else lambda share: progress(start + (end - start) * share)

    return Assessment(
        deletion(
            probe,
            heatmap,
            replacement_pixels(image, how.replacement, black),
            steps=how.steps,
            progress=part(0, 0.35),
            **common,
        ),
        insertion(probe, heatmap, blurred(image), steps=how.steps, progress=part(0.35, 0.7), **common),
        confidence_change(probe, heatmap, replacement_pixels(image, "black", black), index=index),
        road(probe, heatmap, progress=part(0.7, 1), **common),
    )


def assess_all(
    probe: Probe,
    maps: Mapping[str, Tensor],
    black: Sequence[float],
    settings: Settings | None = None,
    *,
    index: int = 0,
    progress: Progress | None = None,
) -> dict[str, Assessment]:
    """Assess several maps of one image, by name; arguments as in `assess`."""
    found: dict[str, Assessment] = {}
    for done, (name, heatmap) in enumerate(maps.items()):

        def advance(share: float, done: int = done) -> None:
            if progress:
                progress((done + share) / len(maps))

        found[name] = assess(probe, heatmap, black, settings, index=index, progress=advance)
    return found


def verdict(result: Assessment, baselines: Mapping[str, Assessment], score: str = "probability") -> Verdict:
    """Decide whether the map marks what the network used, as far as one photo can show.

    Args:
        result: the assessment of the map.
        baselines: the assessments of its baselines, by the names of BASELINES.
        score: name of the score in the curves.

    Returns:
        Two or three sentences; `good` if both curves beat every baseline.
    """
    sides: list[tuple[str, Callable[[Assessment], Curve], int]] = [
        ("Removing what the map marks lowers", lambda one: one.deletion, -1),
        ("Putting it back raises", lambda one: one.insertion, 1),
    ]
    lines, lost = [], list[str]()
    for start, curve, sign in sides:
        everything = [curve(one).scores for one in (result, *baselines.values())]
        margin = EVEN * (max(float(s.max()) for s in everything) - min(float(s.min()) for s in everything))
        ahead = {name: sign * (curve(result).area - curve(one).area) for name, one in baselines.items()}
        beaten = [BASELINES[name] for name, by in ahead.items() if by > margin]
        even = [BASELINES[name] for name, by in ahead.items() if abs(by) <= margin]
        better = [BASELINES[name] for name, by in ahead.items() if by < -margin]
        lost += [name for name, by in ahead.items() if by <= margin]
        clauses = [f"faster than with {_listed(beaten)}"] if beaten else []
        clauses += [f"about as fast as with {_listed(even)}"] if even else []
        clauses += [f"slower than with {_listed(better)}"] if better else []
        lines.append(f"{start} the {score} {', '.join(clauses)}.")
    return Verdict(not lost, " ".join([*lines, _meaning(lost)]))


def _meaning(lost: Sequence[str]) -> str:
    """Explain a map that does not beat these baselines; a name that occurs twice is not beaten in either curve."""
    if not lost:
        return "On this photo the map is better than all three."
    both = [name for name in BASELINES if lost.count(name) == 2]
    if "random" in both:
        return "On this photo there is no evidence that the map marks what the network used."
    if "center" in both:
        return "On this photo the map is not better than marking the center: try one with the object near an edge."
    if "edges" in both:
        return "On this photo the map is not better than the edges."
    names = _listed([BASELINES[name] for name in BASELINES if name in lost])
    return f"The two curves disagree about {names}, so this photo does not show that the map is better."


def _listed(names: Sequence[str]) -> str:
    """Join names: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
