"""All measures of faithfulness for a map, beside maps that know nothing of the network, and a verdict in words."""

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
EVEN = 0.01  # of the range of the scores: areas that are closer are called even


@dataclass(frozen=True)
class Settings:
    """How maps are judged.

    Attributes:
        replacement: what replaces removed pixels in deletion; insertion always starts from the blurred photo, drop and
            increase see black where the map is 0, ROAD imputes.
        steps: pictures along a curve.
        probability: whether curves and ROAD show the probability, or the logit.
        seed: of the random map, of the order of equal pixels and of ROAD's noise.
        chunk: pictures in one forward pass; changes speed and memory only.
    """

    replacement: Replacement = "mean"
    steps: int = STEPS
    probability: bool = True
    seed: int = 0
    chunk: int = CHUNK


@dataclass(frozen=True)
class Assessment:
    """What was measured of one map on one photo."""

    deletion: Curve
    insertion: Curve
    confidence: ConfidenceChange
    road: Road


class Verdict(NamedTuple):
    """Whether the map beats every rival in both curves, and what that means, in words."""

    good: bool
    text: str


def black_level(mean: Sequence[float], std: Sequence[float]) -> tuple[float, ...]:
    """Black in the input of a network that expects (pixel - mean) / std."""
    return tuple(-m / s for m, s in zip(mean, std, strict=True))


def baseline_maps(image: Tensor, cells: tuple[int, int], seed: int = 0) -> dict[str, Tensor]:
    """The baselines of a map, by the names of BASELINES.

    Args:
        image: (C, H, W).
        cells: (h, w) of the map: the random map has as many cells, so that both take away patches of the same size.
        seed: of the random map.

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
    """Deletion and insertion, drop and increase, and ROAD of one map.

    Args:
        probe: network, images and target.
        heatmap: the map of one image, raw: (h, w) or (C, H, W).
        black: C values, black in the network's input (see `black_level`).
        settings: how.
        index: which of the probe's images.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: what the measures refuse.
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
    """The same for several maps of one image, by name; arguments as in `assess`."""
    found: dict[str, Assessment] = {}
    for done, (name, heatmap) in enumerate(maps.items()):

        def advance(share: float, done: int = done) -> None:
            if progress:
                progress((done + share) / len(maps))

        found[name] = assess(probe, heatmap, black, settings, index=index, progress=advance)
    return found


def verdict(judged: Assessment, beside: Mapping[str, Assessment], score: str = "probability") -> Verdict:
    """Whether the map marks what the network used, as far as one photo can tell.

    Args:
        judged: the map.
        beside: its rivals, by the names of BASELINES.
        score: what the curves show.

    Returns:
        Two or three sentences; `good` if both curves beat every rival.
    """
    sides: list[tuple[str, Callable[[Assessment], Curve], int]] = [
        ("Removing what the map marks lowers", lambda one: one.deletion, -1),
        ("Putting it back raises", lambda one: one.insertion, 1),
    ]
    lines, lost = [], list[str]()
    for start, curve, sign in sides:
        everything = [curve(one).scores for one in (judged, *beside.values())]
        margin = EVEN * (max(float(s.max()) for s in everything) - min(float(s.min()) for s in everything))
        ahead = {name: sign * (curve(judged).area - curve(one).area) for name, one in beside.items()}
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
    """What it means that the map does not beat these rivals; who is named twice wins or is even in both curves."""
    if not lost:
        return "On this photo the map says more than all three."
    both = [name for name in BASELINES if lost.count(name) == 2]
    if "random" in both:
        return "On this photo there is no evidence that the map marks what the network used."
    if "center" in both:
        return "On this photo the map is no better guide than looking at the middle: try one with the object at a side."
    if "edges" in both:
        return "On this photo the map is no better guide than the edges."
    names = _listed([BASELINES[name] for name in BASELINES if name in lost])
    return f"The two curves disagree about {names}, so this photo does not show that the map says more."


def _listed(names: Sequence[str]) -> str:
    """Names in one phrase: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
