"""The localization benchmark: every method of attribution on every network of scenes, beside maps that know nothing."""

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
ANY = "any"  # the network of a baseline
SLOW_SHARE = 5  # methods that ask the network dozens of times for each map get one of so many scenes
HARDEST = ("occlusion", "rise", "ss_cam", "is_cam")  # hundreds of times: fewer scenes still, and no mosaics
HARDEST_SHARE = 10
BATCH = 40 * 64 * 64  # pixels in one forward pass
CHUNK = 64  # pictures that slow methods take at once: they are small
RESAMPLES = 2000  # of the scenes, for an interval
STRIDE = 8  # pixels of a cell of the networks' last layer; a random map is as coarse


@dataclass(frozen=True)
class Row:
    """One number of the benchmark.

    Attributes:
        network: a classifier's name; "any" for a baseline.
        method: a method's name, or one of BASELINES.
        kind: of the scenes.
        measure: one of MEASURES.
        mean: over the scenes.
        low: the lower end of its 95 % confidence interval.
        high: the upper end.
        scenes: how many.
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
    """What one method reached on one network and one kind of scenes.

    Attributes:
        network: a classifier's name; "any" for a baseline.
        method: a method's name, or one of BASELINES.
        kind: of the scenes.
        rows: its numbers; none where the method refused the network.
        empty: the share of maps without any positive evidence, which score 0.
        refused: the sentence with which the method refused the network.
    """

    network: str
    method: str
    kind: Kind
    rows: tuple[Row, ...] = ()
    empty: float = 0.0
    refused: str = ""


@dataclass(frozen=True)
class Job:
    """One result to be computed: a method, or a baseline where there is none, on a network and some questions."""

    questions: Questions
    method: Attribution | None = None
    classifier: Classifier | None = None
    baseline: str = ""

    @property
    def key(self) -> tuple[str, str, Kind]:
        """What tells one job from the next: the network, the method and the kind of scenes."""
        network = self.classifier.name if self.classifier else ANY
        return network, self.method.name if self.method else self.baseline, self.questions.kind

    @property
    def weight(self) -> float:
        """A rough measure of the time that it takes."""
        if self.method is None:
            return 0.0
        passes = 600.0 if self.method.name in HARDEST else 40.0 if self.method.slow else 2.0
        return self.questions.images.numel() * passes


@dataclass
class Probes:
    """The probes of a network for some questions, kept while methods change: gradient methods share their passes."""

    known: dict[tuple[str, Kind, int], list[Probe]] = field(default_factory=dict)

    def get(self, classifier: Classifier, questions: Questions) -> list[Probe]:
        """The probes, one for each batch; those of another network are dropped."""
        key = (classifier.name, questions.kind, len(questions))
        if any(other[:2] != key[:2] for other in self.known):
            self.known.clear()
        if key not in self.known:
            self.known[key] = probes_of(classifier, questions)
        return self.known[key]


def share_of(method: Attribution, kind: Kind) -> int | None:
    """One of how many scenes a method is asked about; None: it is not asked about this kind."""
    if method.name in HARDEST:
        return None if kind == "grid" else HARDEST_SHARE
    return SLOW_SHARE if method.slow else 1


def jobs(
    methods: Sequence[Attribution], classifiers: Sequence[Classifier], questions: Mapping[Kind, Questions]
) -> list[Job]:
    """All results to be computed: the baselines first, then network by network; slow methods on fewer of the scenes.

    Raises:
        ValueError: a network that was not trained on scenes.
    """
    for classifier in classifiers:
        if tuple(classifier.classes) != CLASSES:
            raise ValueError(f"{classifier.name} knows other classes than those of the scenes: choose one of scenes...")
    found = [Job(asked, baseline=name) for name in BASELINES for asked in questions.values()]
    for classifier in classifiers:
        for kind, asked in questions.items():
            for method in methods:
                share = share_of(method, kind)
                if share is not None:
                    found.append(Job(asked.first(max(1, asked.scenes // share)), method, classifier))
    return found


def run(todo: Sequence[Job], progress: Callable[[float], None] = lambda share: None) -> Iterator[Result]:
    """Compute the results one by one; each is whole when it comes.

    Args:
        todo: what `jobs` gives, or a part of it.
        progress: called with the finished share of all, 0 to 1; may raise to cancel.
    """
    total, done, probes = sum(job.weight for job in todo) or 1.0, 0.0, Probes()
    for job in todo:

        def within(share: float, job: Job = job, before: float = done) -> None:
            progress(min(1.0, (before + share * job.weight) / total))

        yield _result(job, probes, within)
        done += job.weight
        progress(min(1.0, done / total))


def probes_of(classifier: Classifier, questions: Questions) -> list[Probe]:
    """Probes of all questions at the network's last layer of maps, in batches."""
    size = questions.images.shape[-1]
    fitting = replace(classifier, size=size)  # a mosaic is not reduced: its four scenes stay as large as ever
    prepared = [fitting.prepare(image) for image in questions.images]  # (1, 3, H, W) each
    count = max(1, BATCH // size**2)
    return [
        Probe(classifier.model, torch.cat(prepared[at : at + count]), questions.labels[at : at + count])
        for at in range(0, len(questions), count)
    ]


def maps_of(
    method: Attribution, probes: Sequence[Probe], progress: Callable[[float], None] = lambda share: None
) -> Tensor:  # fmt: skip
    """A method's maps at the pixels of the pictures, on the CPU: (N, H, W).

    Raises:
        ValueError: what the method refuses.
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
    """Maps that know nothing of any network: (N, H, W).

    Raises:
        ValueError: no baseline of that name.
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
    """The measures of this kind of scenes, each (scenes,); a mosaic's score is the mean over its cells.

    Args:
        maps: (N, H, W), one for each question.
        questions: their masks.
        single: whether each question keeps its own score, (N,), in mosaics too.
    """
    masks = questions.masks
    if questions.kind == "grid":
        inside = energy_inside(maps, masks)  # (N,), the share in the right cell
        return {"grid": inside if single else inside.view(-1, questions.each).mean(dim=1)}
    return {
        "pointing": pointing(maps, masks), "energy": energy_inside(maps, masks), "iou": best_iou(maps, masks).iou,
    }  # fmt: skip


def fingerprint(classifier: Classifier) -> str:
    """What tells the weights of one network from those of another."""
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
