"""Class model visualization: not what the network saw in a photo, but which picture it would call a class the most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normviz.attribution.engine.blur import gaussian_blur
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import read_output, recording, scan
from normviz.attribution.targets import Score
from normviz.images import destandardize

BLUR_EVERY = 4  # steps
START = 0.1  # standard deviation of the noise at which further starts begin, in units of the network's input


@dataclass(frozen=True)
class ClassModel:
    """The pictures that were found, and how they came about.

    Attributes:
        images: (S, C, H, W), as the network reads them: zero is the mean color.
        scores: (steps + 1, S), the class's logit of the picture at the start and after each step.
        norms: (steps + 1, S), the squares of its norm, which the objective subtracts lambda times.
        pixels: (S, C, H, W), the pictures for people: standard deviation and mean given back, cut to [0, 1].
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
    """Search for the picture with the highest logit: argmax_I S_c(I) - lambda ||I||^2, by gradient ascent from zero.

    The logit is raised and not the probability, which would also rise by making other classes unlikely. The network
    is only read.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes).
        target: the class; (T,) several classes, a picture for each; or a function of the model's output.
        size: pixels a side of the picture, or its height and width.
        mean: what was subtracted from each color of the photos that the network learned from.
        std: what each color was divided by then.
        decay: lambda, in logits per square of the network's input.
        rate: of the ascent.
        steps: of the ascent.
        jitter: the network is shown the picture moved by up to so many pixels each way, another way at each step.
        blur: the picture is blurred at each fourth step, by a Gaussian of this many pixels.
        starts: how many pictures for each class; the first begins at zero, the others at faint noise.
        seed: of the noise and the moves.
        progress: called with the finished share, 0 to 1, after each step; may raise to cancel.
        preview: called after each step with what there is so far; the score of the newest pictures is not known yet.

    Returns:
        The pictures, those of the first class first.

    Raises:
        ValueError: a setting outside its range, a class that the model does not have, or an ascent that diverges.

    Source:
        Simonyan et al. 2013, section 2; the options are those of Yosinski et al. 2015 and Mordvintsev et al. 2015.
    """
    _check(decay, rate, steps, jitter, blur, starts)
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    classes = torch.tensor([target]) if isinstance(target, int) else target
    asked = classes.to(weight.device).repeat_interleave(starts) if isinstance(classes, Tensor) else classes
    height, width = (size, size) if isinstance(size, int) else size
    shape = (len(mean), height, width)
    draw = torch.Generator().manual_seed(seed)
    begin = [torch.zeros(shape), *(START * torch.randn(shape, generator=draw) for _ in range(starts - 1))]
    count = len(classes) if isinstance(classes, Tensor) else 1
    picture = torch.stack(begin * count).to(weight.device, weight.dtype).requires_grad_()  # (S, C, H, W)
    ascent = torch.optim.SGD([picture], lr=rate, weight_decay=2 * decay, maximize=True)
    back = [torch.tensor(values, dtype=weight.dtype, device=weight.device).view(-1, 1, 1) for values in (mean, std)]
    scores, norms = [], []
    if isinstance(classes, Tensor):
        _check_classes(model, classes, picture.detach())
    with borrow_copy(model) as net:
        for step in range(steps + 1):
            last = step == steps
            down, right = (0, 0) if last else _move(jitter, draw)
            seen = picture.roll((down, right), (2, 3))  # (S, C, H, W)
            score = score_of(asked, read_output(net, seen), seen)  # (S,)
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
                raise ValueError(f"the ascent diverges: choose a rate below {rate:g}")
            if preview:
                preview(_so_far(picture, scores, norms, *back))
            if progress:
                progress((step + 1) / steps)
    return _so_far(picture, scores, norms, *back)


def _check(decay: float, rate: float, steps: int, jitter: int, blur: float, starts: int) -> None:
    """Refuse settings with which nothing can be found."""
    for name, value, least in (("steps", steps, 1), ("starts", starts, 1), ("jitter", jitter, 0), ("blur", blur, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}; received {value}")
    if decay < 0 or rate <= 0 or 2 * decay * rate >= 2:
        raise ValueError(
            "lambda must be at least 0, the rate above 0, and 2 lambda times the rate below 2, or the picture grows "
            f"without end; received lambda {decay:g}, rate {rate:g}"
        )


def _check_classes(model: nn.Module, classes: Tensor, picture: Tensor) -> None:
    """Refuse a class that the network does not have, and pictures that it cannot read."""
    found, _ = scan(model, picture)
    if found.refusal is not None:
        raise ValueError(str(found.refusal))
    for index in classes.tolist():
        if not 0 <= index < found.classes:
            raise ValueError(f"there is no class {index}: this model's classes are 0 to {found.classes - 1}")


def _move(jitter: int, draw: torch.Generator) -> tuple[int, int]:
    """By how many pixels the picture is moved down and to the right."""
    down, right = torch.randint(-jitter, jitter + 1, (2,), generator=draw).tolist()
    return down, right


def _so_far(picture: Tensor, scores: list[Tensor], norms: list[Tensor], mean: Tensor, std: Tensor) -> ClassModel:
    """What there is, with the pictures (S, C, H, W) as pixels, too."""
    images = picture.detach().clone()  # (S, C, H, W)
    pixels = destandardize(images, mean, std).clamp(0, 1)  # (S, C, H, W)
    return ClassModel(images, torch.stack(scores), torch.stack(norms), pixels)
