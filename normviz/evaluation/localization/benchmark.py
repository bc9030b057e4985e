"""Localization benchmark: all attribution methods on all networks trained on scenes, and baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from normviz.attribution import Probe
from normviz.evaluation.baselines import center_map, random_map, sobel_map
from normviz.evaluation.bootstrap import mean_and_interval
from normviz.evaluation.localization.measures import best_iou, energy_inside, pointing
from normviz.evaluation.localization.questions import Kind, Questions
from normviz.evaluation.pixels import at_pixels
from normviz.models.catalog import Classifier
from normviz.registry import Attribution
from normviz.scenes import CLASSES

MEASURES: dict[Kind, tuple[str, ...]] = {
    "one": ("pointing", "energy", "iou"), "several": ("pointing", "energy", "iou"), "grid": ("grid",),
}  # fmt: skip
BASELINES = ("center", "random", "sobel")
ANY = "any"  # network name of a baseline
SLOW_SHARE = 5  # methods with dozens of forward passes per map run on one fifth of the scenes
HARDEST = ("occlusion", "rise", "ss_cam", "is_cam")  # hundreds of passes: run on fewer scenes and no mosaics
HARDEST_SHARE = 10
BATCH = 40 * 64 * 64  # pixels in one forward pass
CHUNK = 64  # images per forward pass of slow methods; the images are small
RESAMPLES = 2000  # bootstrap resamples for an interval
STRIDE = 8  # pixels per cell of the last layer of the networks, and of a random map


@dataclass(frozen=True)
class Row:
    """One number of the benchmark.

    Attributes:
        network: name of a classifier; "any" for a baseline.
        method: name of a method or one of BASELINES.
        kind: kind of the scenes.
        measure: one of MEASURES.
        mean: mean over the scenes.
        low: lower end of its 95% confidence interval.
        high: upper end of its 95% confidence interval.
        scenes: number of scenes.
    """

    network: str
    method: str
    kind: Kind
    measure: str
    mean: float
    low: float
    high: float
    scenes: int


@dataclass(frozen=True)
class Result:
    """Results of one method on one network and one kind of scenes.

    Attributes:
        network: name of a classifier; "any" for a baseline.
        method: name of a method or one of BASELINES.
        kind: kind of the scenes.
        rows: the numbers; empty if the method raised an error.
        empty: share of maps without positive evidence, which score 0.
        refused: error message of the method, else "".
    """

    network: str
    method: str
    kind: Kind
    rows: tuple[Row, ...] = ()
    empty: float = 0.0
    refused: str = ""


@dataclass(frozen=True)
class Job:
    """One result to compute: a method on a network, or a baseline, and the questions."""

    questions: Questions
    method: Attribution | None = None
    classifier: Classifier | None = None
    baseline: str = ""

    @property
    def key(self) -> tuple[str, str, Kind]:
        """Identifier of the job: network, method and kind of scenes."""
        network = self.classifier.name if self.classifier else ANY
        return network, self.method.name if self.method else self.baseline, self.questions.kind

    @property
    def weight(self) -> float:
        """Rough estimate of the relative run time."""
        if self.method is None:
            return 0.0
        passes = 600.0 if self.method.name in HARDEST else 40.0 if self.method.slow else 2.0
        return self.questions.images.numel() * passes


@dataclass
class Probes:
    """Cache of probes of one network and kind, so that gradient methods share forward and backward passes."""

    known: dict[tuple[str, Kind, int], list[Probe]] = field(default_factory=dict)

    def get(self, classifier: Classifier, questions: Questions) -> list[Probe]:
        """Return the probes, one per batch; probes of other networks are evicted."""
        key = (classifier.name, questions.kind, len(questions))
        if any(other[:2] != key[:2] for other in self.known):
            self.known.clear()
        if key not in self.known:
            self.known[key] = probes_of(classifier, questions)
        return self.known[key]


def share_of(method: Attribution, kind: Kind) -> int | None:
    """Return k if the method runs on every k-th part of the scenes; None if it does not run on this kind."""
    if method.name in HARDEST:
        return None if kind == "grid" else HARDEST_SHARE
    return SLOW_SHARE if method.slow else 1


def jobs(
    methods: Sequence[Attribution], classifiers: Sequence[Classifier], questions: Mapping[Kind, Questions]
) -> list[Job]:
    """List the results to compute: baselines first, then network by network; slow methods use fewer scenes.

    Raises:
        ValueError: if a network was not trained on scenes.
    """
    for classifier in classifiers:
        if tuple(classifier.classes) != CLASSES:
            raise ValueError(f"{classifier.name} was not trained on the scenes: choose a network named scenes...")
    found = [Job(asked, baseline=name) for name in BASELINES for asked in questions.values()]
    for classifier in classifiers:
        for kind, asked in questions.items():
            for method in methods:
                share = share_of(method, kind)
                if share is not None:
                    found.append(Job(asked.first(max(1, asked.scenes // share)), method, classifier))
    return found


def run(todo: Sequence[Job], progress: Callable[[float], None] = lambda share: None) -> Iterator[Result]:
    """Compute the results one by one.

    Args:
        todo: jobs, as returned by `jobs`.
        progress: called with the finished share, 0 to 1; may raise to cancel.
    """
    total, done, probes = sum(job.weight for job in todo) or 1.0, 0.0, Probes()
    for job in todo:

        def within(share: float, job: Job = job, before: float = done) -> None:
            progress(min(1.0, (before + share * job.weight) / total))

        yield _result(job, probes, within)
        done += job.weight
        progress(min(1.0, done / total))


def probes_of(classifier: Classifier, questions: Questions) -> list[Probe]:
    """Create probes of all questions at the last layer with feature maps, in batches."""
    size = questions.images.shape[-1]
    fitting = replace(classifier, size=size)  # mosaics are not downscaled, so their scenes keep their size
    prepared = [fitting.prepare(image) for image in questions.images]  # (1, 3, H, W) each
    count = max(1, BATCH // size**2)
    return [
        Probe(classifier.model, torch.cat(prepared[at : at + count]), questions.labels[at : at + count])
        for at in range(0, len(questions), count)
    ]


def maps_of(
    method: Attribution, probes: Sequence[Probe], progress: Callable[[float], None] = lambda share: None
) -> Tensor:  # fmt: skip
    """Compute the maps of a method with one value per pixel, on the CPU: (N, H, W).

    Raises:
        ValueError: if the method rejects the input.
    """
    found: list[Tensor] = []
    for index, probe in enumerate(probes):

        def within(share: float, index: int = index) -> None:
            progress((index + share) / len(probes))

        asked = {name: value for name, value in (("progress", within), ("chunk", CHUNK)) if method.takes(name)}
        raw: Tensor = method.function(probe, **method.settings(), **asked)  # (n, h, w) or (n, C, H, W)
        size = probe.images.shape[2], probe.images.shape[3]
        found += [at_pixels(one, size).float().cpu() for one in raw]
        within(1.0)
    return torch.stack(found)  # (N, H, W)


def baseline_maps(name: str, questions: Questions) -> Tensor:
    """Compute baseline maps, which do not depend on a network: (N, H, W).

    Raises:
        ValueError: if the name is unknown.
    """
    size = questions.images.shape[2], questions.images.shape[3]
    if name == "center":
        return center_map(size).expand(len(questions), *size)  # (N, H, W)
    if name == "random":
        cells = size[0] // STRIDE, size[1] // STRIDE
        return torch.stack([random_map(size, seed, cells) for seed in range(len(questions))])  # (N, H, W)
    if name == "sobel":
        return torch.stack([sobel_map(image) for image in questions.images])  # (N, H, W)
    raise ValueError(f"the baseline must be one of {', '.join(BASELINES)}; received {name!r}")


def scores(maps: Tensor, questions: Questions, single: bool = False) -> dict[str, Tensor]:
    """Compute the measures of this kind of scenes, (scenes,) each; mosaics are averaged over their cells.

    Args:
        maps: (N, H, W), one per question.
        questions: the questions with their masks.
        single: whether to return one score per question, (N,), for mosaics too.
    """
    masks = questions.masks
    if questions.kind == "grid":
        inside = energy_inside(maps, masks)  # (N,), share in the correct cell
        return {"grid": inside if single else inside.view(-1, questions.each).mean(dim=1)}
    return {
        "pointing": pointing(maps, masks), "energy": energy_inside(maps, masks), "iou": best_iou(maps, masks).iou,
    }  # fmt: skip


def fingerprint(classifier: Classifier) -> str:
    """Compute a hash of the weights of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(classifier.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _result(job: Job, probes: Probes, progress: Callable[[float], None]) -> Result:
    network, method, kind = job.key
    if job.method is None or job.classifier is None:
        maps = baseline_maps(job.baseline, job.questions)  # (N, H, W)
    else:
        try:
            maps = maps_of(job.method, probes.get(job.classifier, job.questions), progress)  # (N, H, W)
        except ValueError as error:
            return Result(network, method, kind, refused=str(error))
    found = scores(maps, job.questions)
    rows = tuple(
        Row(network, method, kind, measure, *mean_and_interval(values, resamples=RESAMPLES), job.questions.scenes)
        for measure, values in found.items()
    )
    empty = float((maps.flatten(1).amax(dim=1) <= 0).float().mean())
    return Result(network, method, kind, rows, empty)
