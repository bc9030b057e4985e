"""Training a small network in short slices, so that other visitors do not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution import Probe, grad_cam
from normviz.experiments.labs.training import (
    CLUTTER,
    TESTS,
    TRAINING,
    Progress,
    Recipe,
    probabilities,
    tiny_net,
    to_input,
    train,
)
from normviz.figures import maps
from normviz.formatting import percent
from normviz.html.training import Answer, Card
from normviz.images import resize_map
from normviz.models.residual import Norm, ResidualNet
from normviz.scenes import CLASSES, Scene, Scenes, make_scene, make_scenes, make_unknown
from normviz.ui.kit import cache, jobs

SCENES, NOTHING, TESTED = 3000, 400, 200  # for training, with only clutter, for tests during training
SLICE = 0.4  # seconds of training before a worker takes other work
MOST_STEPS = 20_000
WINDOW = 30  # steps over which the loss and the accuracy of the batches are averaged
SHOWN = 6  # test scenes with their maps
SHOWN_FROM = 900_000  # seed of the first; used neither for training nor for tests
KINDS = ("one", "two", "unknown")  # objects in the test scenes


@dataclass(frozen=True)
class Data:
    """The training and test scenes of all small networks; read-only."""

    scenes: Scenes
    nothing: Tensor
    tests: Scenes


def data(watch: jobs.Watch) -> Data:
    """The training scenes, generated once for all visitors; `watch` shows the job."""

    def work(job: jobs.Job[Data]) -> Data:
        total = SCENES + NOTHING + TESTED

        def part(first: int, count: int) -> Callable[[float], None]:
            return lambda share: job.progress((first + share * count) / total)

        return Data(
            make_scenes(SCENES, TRAINING, progress=part(0, SCENES)),
            make_scenes(NOTHING, CLUTTER, objects=0, progress=part(SCENES, NOTHING)).images,
            make_scenes(TESTED, TESTS, progress=part(SCENES + NOTHING, TESTED)),
        )

    store = cache.collection("training scenes", shared=72)
    return jobs.keep_in(store, (SCENES, NOTHING, TESTED), work, watch)


@dataclass
class Run:
    """A visitor's network and the state of its training; private to the session.

    Attributes:
        recipe: the settings of the training.
        model: the network.
        history: the progress after each step.
        stopped: whether the training is not running: not started, stopped or finished.
    """

    recipe: Recipe
    model: ResidualNet
    history: list[Progress] = field(default_factory=list)
    stopped: bool = True
    _steps: Iterator[Progress] | None = None

    @property
    def share(self) -> float:
        """The finished share of the training, 0 to 1."""
        return self.history[-1].share if self.history else 0.0

    @property
    def done(self) -> bool:
        """Whether the training is finished."""
        return self.share >= 1

    def advance(self, scenes: Data) -> None:
        """Train for SLICE seconds, at least one step; called in a worker thread, by one thread at a time."""
        if self._steps is None:
            self._steps = train(self.model, scenes.scenes, scenes.nothing, scenes.tests, self.recipe)
        until = time.perf_counter() + SLICE
        while not self.done:
            self.history.append(next(self._steps))
            if time.perf_counter() >= until:
                return

    def tested(self) -> float:
        """The latest test accuracy; before the first test, that of guessing."""
        accuracies = [at.tested for at in self.history if at.tested is not None]
        return accuracies[-1] if accuracies else 1 / len(CLASSES)


def recipe(norm: Norm, seed: int, rate: float, seconds: float) -> Recipe:
    """The settings of a short training, with small batches, which learn more in a short time."""
    return Recipe(norm, seed, rate, MOST_STEPS, seconds, batch=32, nothing=4)


def begin(recipe: Recipe) -> Run:
    """A network with its initial weights, before the first step."""
    return Run(recipe, tiny_net(recipe.norm, recipe.seed))


def smoothed(values: list[float]) -> list[float]:
    """The moving average over the last WINDOW values."""
    sums = np.cumsum([0.0, *values])  # (steps + 1,)
    return [float((sums[i] - sums[max(i - WINDOW, 0)]) / min(i, WINDOW)) for i in range(1, len(sums))]


def examples(each: int = 2) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    """Each class with images (H, W, 3) of some of its scenes."""
    return [
        (name, [pixels(make_scene(TRAINING + 100 * i + label, labels=[label])) for i in range(each)])
        for label, name in enumerate(CLASSES)
    ]


def tests(kind: str) -> list[Scene]:
    """The test scenes to show, of one of KINDS."""
    seeds = range(SHOWN_FROM, SHOWN_FROM + SHOWN)
    if kind == KINDS[2]:
        return [make_unknown(seed) for seed in seeds]
    return [make_scene(seed, objects=1 + KINDS.index(kind)) for seed in seeds]


def pixels(scene: Scene) -> NDArray[np.uint8]:
    """The image of a scene, (H, W, 3)."""
    return scene.image.permute(1, 2, 0).numpy()


def cards(scenes: list[Scene], before: ResidualNet, after: ResidualNet | None) -> list[Card]:
    """The predictions of two networks for test scenes, with their Grad-CAM maps."""
    first, second = answers(before, scenes), answers(after, scenes) if after else [None] * len(scenes)
    result = []
    for scene, one, other in zip(scenes, first, second, strict=True):
        mask = _objects(scene)  # (H, W)
        name = " and ".join(CLASSES[item.label] for item in scene.items) or "no class"
        picture = np.repeat((mask * 235).to(torch.uint8).numpy()[..., None], 3, axis=2)  # (H, W, 3)
        result.append(Card(name, pixels(scene), picture, float(mask.float().mean()), one, other))
    return result


def answers(model: ResidualNet, scenes: list[Scene]) -> list[Answer]:
    """The predictions of a network for scenes, with the Grad-CAM map of each prediction."""
    images = torch.stack([scene.image for scene in scenes])  # (N, 3, H, W)
    shares = probabilities(model, images)  # (N, classes)
    predicted = shares.argmax(dim=1)  # (N,)
    raw = grad_cam(Probe(model, to_input(images), predicted))  # (N, h, w)
    result = []
    for scene, share, label, heat in zip(scenes, shares, predicted.tolist(), raw, strict=True):
        heatmap = resize_map(heat, (scene.image.shape[1], scene.image.shape[2]))  # (H, W)
        total, mask = float(heatmap.sum()), _objects(scene)
        inside = float(heatmap[mask].sum()) / total if total > 0 and mask.any() else None
        overlay = maps.blend(pixels(scene), heat.numpy(), 0.55)
        right = label in [item.label for item in scene.items]
        result.append(Answer(f"{CLASSES[label]}, {percent(float(share[label]))}", right, overlay, inside))
    return result


def _objects(scene: Scene) -> Tensor:
    """The pixels (H, W) of all objects of a scene."""
    nothing = torch.zeros(scene.image.shape[1:], dtype=torch.bool)  # (H, W)
    return torch.stack([nothing, *(item.mask for item in scene.items)]).any(dim=0)  # (H, W)
