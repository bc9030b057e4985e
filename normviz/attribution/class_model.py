"""Class model visualization: gradient ascent to an image that maximizes the logit of a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normviz.attribution.engine.blur import gaussian_blur
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import read_output, recording, scan
from normviz.attribution.targets import Score, check_class
from normviz.images import destandardize

BLUR_EVERY = 4  # steps
START = 0.1  # standard deviation of the initial noise of all starts but the first, in units of the network's input


@dataclass(frozen=True)
class ClassModel:
    """The optimized images and the course of the optimization.

    Attributes:
        images: (S, C, H, W), as network input: 0 is the mean color.
        scores: (steps + 1, S), the logit of the class before the first and after each step.
        norms: (steps + 1, S), the squared norm of each image; the objective subtracts lambda times it.
        pixels: (S, C, H, W), the images as pixels: de-standardized and clamped to [0, 1].
    """

    images: Tensor
    scores: Tensor
    norms: Tensor
    pixels: Tensor


@recording()
def class_model(
    model: nn.Module,
    target: int | Tensor | Score,
    size: int | tuple[int, int],
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    decay: float = 1e-3,
    rate: float = 10.0,
    steps: int = 100,
    jitter: int = 0,
    blur: float = 0.0,
    starts: int = 1,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    preview: Callable[[ClassModel], None] | None = None,
) -> ClassModel:
    """Find the image with the highest logit, argmax_I S_c(I) - lambda ||I||^2, by gradient ascent from zero.

    The logit is maximized, not the probability, which also rises when other classes become unlikely. The network is not
    modified.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes).
        target: the class; (T,) several classes, each with its own images; or a function of the model's output.
        size: side of the image in pixels, or (height, width).
        mean: mean of each color that standardizes the network's input.
        std: standard deviation of each color that standardizes the network's input.
        decay: lambda, in logits per squared unit of the network's input.
        rate: step size.
        steps: number of steps.
        jitter: at each step the image is shifted by a random offset of at most this many pixels in each direction.
        blur: every fourth step the image is blurred by a Gaussian of this standard deviation in pixels; 0: never.
        starts: number of images per class; the first starts at zero, the others at weak noise.
        seed: random seed of the noise and the shifts.
        progress: called after each step with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each step with the intermediate result; it has no score for the newest images yet.

    Returns:
        The images, ordered by class.

    Raises:
        ValueError: an option outside its range, a class that the model does not have, or divergence.

    Source:
        Simonyan et al. 2013, section 2; the options are those of Yosinski et al. 2015 and Mordvintsev et al. 2015.
    """
    _check(decay, rate, steps, jitter, blur, starts)
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    classes = torch.tensor([target]) if isinstance(target, int) else target
    objective = classes.to(weight.device).repeat_interleave(starts) if isinstance(classes, Tensor) else classes
    height, width = (size, size) if isinstance(size, int) else size
    shape = (len(mean), height, width)
    draw = torch.Generator().manual_seed(seed)
    begin = [torch.zeros(shape), *(START * torch.randn(shape, generator=draw) for _ in range(starts - 1))]
    count = len(classes) if isinstance(classes, Tensor) else 1
    picture = torch.stack(begin * count).to(weight.device, weight.dtype).requires_grad_()  # (S, C, H, W)
    ascent = torch.optim.SGD([picture], lr=rate, weight_decay=2 * decay, maximize=True)
    scores, norms = [], []
    if isinstance(classes, Tensor):
        _check_classes(model, classes, picture.detach())
    with borrow_copy(model) as net:
        for step in range(steps + 1):
            last = step == steps
            down, right = (0, 0) if last else _random_shift(jitter, draw)
            shifted = picture.roll((down, right), (2, 3))  # (S, C, H, W)
            score = score_of(objective, read_output(net, shifted), shifted)  # (S,)
            scores.append(score.detach())
            norms.append(picture.detach().square().sum(dim=(1, 2, 3)))  # (S,)
            if last:
                break
            (picture.grad,) = torch.autograd.grad(score.sum(), picture)
            ascent.step()
            with torch.no_grad():
                if blur and (step + 1) % BLUR_EVERY == 0:
                    picture.copy_(gaussian_blur(picture, blur))
            if not torch.isfinite(picture).all():
                raise ValueError(f"the optimization diverges; choose a rate below {rate:g}")
            if preview:
                preview(_result(picture, scores, norms, mean, std))
            if progress:
                progress((step + 1) / steps)
    return _result(picture, scores, norms, mean, std)


def _check(decay: float, rate: float, steps: int, jitter: int, blur: float, starts: int) -> None:
    """Check the options."""
    for name, value, least in (("steps", steps, 1), ("starts", starts, 1), ("jitter", jitter, 0), ("blur", blur, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}; received {value}")
    if decay < 0 or rate <= 0 or 2 * decay * rate >= 2:
        raise ValueError(
            "lambda must be at least 0, the rate above 0, and 2 lambda times the rate below 2, or the optimization "
            f"diverges; received lambda {decay:g}, rate {rate:g}"
        )


def _check_classes(model: nn.Module, classes: Tensor, picture: Tensor) -> None:
    """Check that the network has the classes and can read the images."""
    structure, _ = scan(model, picture)
    if structure.refusal is not None:
        raise ValueError(str(structure.refusal))
    for index in classes.tolist():
        check_class(index, structure.classes)


def _random_shift(jitter: int, draw: torch.Generator) -> tuple[int, int]:
    """Number of pixels by which the image is shifted down and to the right."""
    down, right = torch.randint(-jitter, jitter + 1, (2,), generator=draw).tolist()
    return down, right


def _result(
    picture: Tensor, scores: list[Tensor], norms: list[Tensor], mean: Sequence[float], std: Sequence[float]
) -> ClassModel:
    """The result so far, for images (S, C, H, W)."""
    images = picture.detach().clone()  # (S, C, H, W)
    pixels = destandardize(images, mean, std).clamp(0, 1)  # (S, C, H, W)
    return ClassModel(images, torch.stack(scores), torch.stack(norms), pixels)
