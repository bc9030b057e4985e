"""The images that maximize class scores: the request, the optimization with a preview, and the result."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from normviz.attribution import ClassModel, class_model
from normviz.formatting import fixed, percent
from normviz.html.picture import figure
from normviz.images import to_uint8
from normviz.models.catalog import Classifier
from normviz.ui.kit import jobs


@dataclass(frozen=True)
class ClassModelRequest:
    """The classes to optimize for, and the options.

    Attributes:
        classifier: the network.
        targets: the class indices; each class gets its own images.
        decay: the penalty λ.
        rate: the step size of the gradient ascent.
        steps: the number of steps.
        jitter: the largest shift before a step, in pixels.
        blur: the standard deviation of the blur, in pixels.
        starts: the number of images per class.
        seed: the seed of the noise and the shifts.
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
        """Everything that the images depend on."""
        network = (self.classifier.name, self.classifier.size, self.targets)
        return (*network, self.decay, self.rate, self.steps, self.jitter, self.blur, self.starts, self.seed)

    @property
    def names(self) -> list[str]:
        """The name of each image."""
        names = [self.classifier.classes[target] for target in self.targets]
        return [f"{name}, start {k}" if self.starts > 1 else name for name in names for k in range(self.starts)]


@dataclass(frozen=True)
class ClassModelResult:
    """The optimized images.

    Attributes:
        pixels: uint8 (S, H, W, 3).
        scores: (steps + 1, S) logits at the start and after each step; fewer if it was stopped.
        norms: (steps + 1, S) squared norms of the images.
        probabilities: (S,) the probability of the class for each image; None if it was stopped.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    norms: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None = None


def search(request: ClassModelRequest) -> ClassModelResult:
    """Optimize the requested images; intermediate images are shown, and the optimization can be stopped.

    If it is stopped, the last intermediate images are the result.

    Raises:
        ValueError: invalid options, or a stop before the first step.
    """

    def picture(result: ClassModelResult, share: float) -> str:
        return pictures(request, result)

    preview = jobs.Preview(picture, lambda result, share: result, "the optimization was stopped before its first step")
    return jobs.run("search", request.key, partial(_optimize, request), "Optimizing", preview=preview)


def pictures(request: ClassModelRequest, result: ClassModelResult) -> str:
    """The images side by side with their scores, as HTML."""
    figures = []
    for index, name in enumerate(request.names):
        text = f"{name}: logit {fixed(float(result.scores[-1, index]), 1)}"
        if result.probabilities is not None:
            text += f", probability {percent(float(result.probabilities[index]), 1)}"
        figures.append(figure(result.pixels[index], text, style="flex:1 1 220px;max-width:28rem", quality=95))
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{"".join(figures)}</div>'


def _optimize(request: ClassModelRequest, job: jobs.Job[ClassModelResult]) -> ClassModelResult:
    """Optimize the images; called in a worker thread."""
    classifier, targets = request.classifier, torch.tensor(request.targets)  # (T,)
    result = class_model(
        classifier.model, targets, classifier.size, classifier.mean, classifier.std, decay=request.decay,
        rate=request.rate, steps=request.steps, jitter=request.jitter, blur=request.blur, starts=request.starts,
        seed=request.seed,
        progress=job.progress,
        preview=lambda latest: job.preview(_to_result(latest)),
    )  # fmt: skip
    with torch.inference_mode():
        output = classifier.model(result.images)
        logits = getattr(output, "logits", output).float().cpu()  # (S, classes)
    own = targets.repeat_interleave(request.starts)[:, None]  # (S, 1)
    return _to_result(result, logits.softmax(dim=1).gather(1, own)[:, 0].numpy())


def _to_result(model: ClassModel, probabilities: NDArray[np.float32] | None = None) -> ClassModelResult:
    """Convert the images to uint8, and all tensors to arrays."""
    levels = to_uint8(model.pixels).permute(0, 2, 3, 1).cpu().numpy()  # (S, H, W, 3)
    return ClassModelResult(
        levels, model.scores.float().cpu().numpy(), model.norms.float().cpu().numpy(), probabilities
    )
