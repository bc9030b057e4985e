"""The picture that a network would call a class the most: searched for while it is watched, and kept for all."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from normviz.attribution import ClassModel, class_model
from normviz.formatting import percent
from normviz.html.picture import figure
from normviz.images import to_uint8
from normviz.models.catalog import Classifier
from normviz.ui.kit import jobs


@dataclass(frozen=True)
class ClassModelRequest:
    """Whose picture is searched for, and how.

    Attributes:
        classifier: the network.
        targets: the classes, a picture for each.
        decay: lambda.
        rate: of the ascent.
        steps: of the ascent.
        jitter: pixels by which the picture is moved.
        blur: pixels by which it is blurred.
        starts: pictures for each class.
        seed: of the noise and the moves.
    """

    classifier: Classifier
    targets: tuple[int, ...]
    decay: float
    rate: float
    steps: int
    jitter: int = 0
    blur: float = 0.0
    starts: int = 1
    seed: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What the pictures follow from."""
        network = (self.classifier.name, self.classifier.size, self.targets)
        return (*network, self.decay, self.rate, self.steps, self.jitter, self.blur, self.starts, self.seed)

    @property
    def names(self) -> list[str]:
        """What each picture is called."""
        names = [self.classifier.classes[target] for target in self.targets]
        return [f"{name}, start {k + 1}" if self.starts > 1 else name for name in names for k in range(self.starts)]


@dataclass(frozen=True)
class Found:
    """The pictures, and how they came about.

    Attributes:
        pixels: uint8 (S, H, W, 3).
        scores: (steps + 1, S) logits, at the start and after each step; fewer where the search was stopped.
        norms: the squares of the pictures' norms, likewise.
        shares: (S,) the network's probability of the class in each picture; none where the search was stopped.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    norms: NDArray[np.float32]
    shares: NDArray[np.float32] | None = None


def search(request: ClassModelRequest) -> Found:
    """The requested pictures; intermediate pictures are shown, and the search can be stopped.

    A stopped search gives the last intermediate pictures.

    Raises:
        ValueError: what `class_model` refuses, or a stop before the first step.
    """

    def picture(found: Found, share: float) -> str:
        return pictures(request, found)

    preview = jobs.Preview(picture, lambda found, share: found, "the search was stopped before its first step")
    return jobs.run("search", request.key, partial(_climb, request), "Climbing", preview=preview)


def pictures(request: ClassModelRequest, found: Found) -> str:
    """The pictures side by side with what the network says of them, as HTML."""
    figures = []
    for index, name in enumerate(request.names):
        text = f"{name}: logit {found.scores[-1, index]:.1f}"
        if found.shares is not None:
            text += f", probability {percent(float(found.shares[index]), 1)}"
        figures.append(figure(found.pixels[index], text, style="flex:1 1 220px;max-width:28rem", quality=95))
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{"".join(figures)}</div>'


def _climb(request: ClassModelRequest, job: jobs.Job[Found]) -> Found:
    """Search; called in a worker thread."""
    classifier, targets = request.classifier, torch.tensor(request.targets)  # (T,)
    found = class_model(
        classifier.model, targets, classifier.size, classifier.mean, classifier.std, decay=request.decay,
        rate=request.rate, steps=request.steps, jitter=request.jitter, blur=request.blur, starts=request.starts,
        seed=request.seed,
        progress=job.progress,
        preview=lambda latest: job.preview(_found(latest)),
    )  # fmt: skip
    with torch.inference_mode():
        output = classifier.model(found.images)
        logits = getattr(output, "logits", output).float().cpu()  # (S, classes)
    own = targets.repeat_interleave(request.starts)[:, None]  # (S, 1)
    return _found(found, logits.softmax(dim=1).gather(1, own)[:, 0].numpy())


def _found(model: ClassModel, shares: NDArray[np.float32] | None = None) -> Found:
    levels = to_uint8(model.pixels).permute(0, 2, 3, 1).cpu().numpy()  # (S, H, W, 3)
    return Found(levels, model.scores.float().cpu().numpy(), model.norms.float().cpu().numpy(), shares)
