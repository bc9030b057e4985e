"""Style transfer with adaptive instance normalization: the feature maps of one photo with the statistics of another.

The exchange of statistics is one formula. To show its result as an image, gradient descent on the pixels finds an image
with the resulting feature maps. The maps have one cell for every four pixels, so the image is shifted by 0 to 3 pixels
in each direction during the search; otherwise a pattern of dots appears.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.attribution.engine.network import recording
from normviz.images import to_batch, to_uint8
from normviz.models.catalog import Classifier
from normviz.normalization.methods.conditional import adaptive_instance_norm

LAYERS = ("pixels", "stem", "stage1", "stage2")  # where statistics can be exchanged
STATISTICS = 3.0  # weight of the error of means and standard deviations relative to that of the maps
RATE = 0.05  # initial learning rate; it decays to 0
EPS = 1e-5
_SHIFTS = tuple(itertools.product(range(4), range(4)))  # the stem has stride 4


@dataclass(frozen=True)
class Statistics:
    """Means (C,) and standard deviations (C,) of the channels of feature maps."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class Exchange:
    """Feature maps of one layer before and after the exchange.

    Attributes:
        content: (C, h, w) maps of the content.
        style: (C, h, w) maps of the style.
        after: (C, h, w) maps of the content with the statistics exchanged.
        of_content: statistics of `content`.
        of_style: statistics of `style`.
        of_after: statistics of `after`.
    """

    content: NDArray[np.float32]
    style: NDArray[np.float32]
    after: NDArray[np.float32]
    of_content: Statistics
    of_style: Statistics
    of_after: Statistics


@dataclass(frozen=True)
class Painting:
    """The image found by the search, and its errors.

    Attributes:
        pixels: uint8 (size, size, 3).
        map_errors: (steps,) mean squared error of the maps at the layer, divided by the variance of the target.
        statistics_errors: (steps,) the same for means and standard deviations, averaged over the layers up to it.
        statistics: statistics of the maps of the image at the layer.
        map_error: error of the maps of the final image, over all shifts.
    """

    pixels: NDArray[np.uint8]
    map_errors: NDArray[np.float32]
    statistics_errors: NDArray[np.float32]
    statistics: Statistics
    map_error: float


def square(image: Tensor, size: int) -> Tensor:
    """Crop the central square of a photo and resize it.

    Args:
        image: uint8 (3, H, W).
        size: side of the result in pixels.

    Returns:
        float32 (1, 3, size, size) in [0, 1].
    """
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return to_batch(image[:, top : top + side, left : left + side], size)  # (1, 3, size, size)


def exchange(classifier: Classifier, content: Tensor, style: Tensor, layer: str, alpha: float = 1.0) -> Exchange:
    """Give the content's feature maps at one layer the means and standard deviations of the style.

    Args:
        classifier: the network.
        content: (1, 3, size, size) in [0, 1].
        style: (1, 3, size, size) in [0, 1].
        layer: one of LAYERS.
        alpha: interpolation weight, from 0 (content unchanged) to 1 (full exchange).

    Returns:
        The maps and their statistics.

    Raises:
        ValueError: if the shapes do not fit, the layer is unknown, or alpha is outside 0 to 1.

    Source:
        Huang & Belongie 2017, Eqs. 8 and 14.
    """
    _check(content, style, layer, alpha)
    with torch.no_grad():
        before, other = (_shifted_maps(classifier, picture, layer)[-1] for picture in (content, style))  # (16, C, h, w)
        after = _exchanged(before, other, alpha)  # (16, C, h, w)
    first = [maps[0].float().cpu().numpy() for maps in (before, other, after)]  # each (C, h, w)
    return Exchange(first[0], first[1], first[2], _statistics(before), _statistics(other), _statistics(after))


@recording()
def paint(
    classifier: Classifier,
    content: Tensor,
    style: Tensor,
    layer: str,
    alpha: float = 1.0,
    steps: int = 150,
    progress: Callable[[float], None] = lambda share: None,
    preview: Callable[[NDArray[np.uint8]], None] = lambda pixels: None,
) -> Painting:
    """Find an image with the exchanged feature maps by gradient descent on its pixels.

    The search starts from the content with exchanged color statistics. The image has to match the exchanged maps at
    `layer`, and the means and standard deviations after an exchange at this and all earlier layers.

    Args:
        classifier: the network; it is not changed.
        content: (1, 3, size, size) in [0, 1].
        style: (1, 3, size, size) in [0, 1].
        layer: one of LAYERS; "pixels" needs no search.
        alpha: interpolation weight, from 0 (content unchanged) to 1 (full exchange).
        steps: number of gradient steps.
        progress: called with the finished share, 0 to 1.
        preview: called every five steps with the current image, uint8 (size, size, 3).

    Returns:
        The image and its errors.

    Raises:
        ValueError: as in `exchange`, or if steps is below 1.

    Source:
        Huang & Belongie 2017, Eqs. 11 to 14; optimization instead of a decoder: Gatys et al. 2016 (1508.06576).
    """
    _check(content, style, layer, alpha)
    if steps < 1:
        raise ValueError(f"the search needs at least one step; received {steps}")
    with torch.no_grad():
        pairs = zip(*(_shifted_maps(classifier, picture, layer) for picture in (content, style)), strict=True)
        targets = [_exchanged(before, other, alpha) for before, other in pairs]  # each (16, C, h, w)
        moments = [_moments(_merged(target)) for target in targets]  # each (1, C), (1, C)
        scales = [target.var().clamp_min(EPS) for target in targets]
    canvas = _Canvas(targets[0][:1])
    count = 0 if layer == "pixels" else steps
    order = torch.randperm(len(_SHIFTS), generator=torch.Generator().manual_seed(0)).tolist()
    errors = []
    for step in range(count):
        move = order[step % len(order)]
        maps = _maps(classifier, canvas.picture().roll(_SHIFTS[move], (2, 3)), layer)
        of_maps = (maps[-1] - targets[-1][move : move + 1]).square().mean() / scales[-1]
        of_moments = [
            sum((a - b).square().mean() for a, b in zip(_moments(m.flatten(2)), moment, strict=True)) / scale
            for m, moment, scale in zip(maps, moments, scales, strict=True)
        ]
        of_statistics = torch.stack(of_moments).mean()
        canvas.improve(of_maps + STATISTICS * of_statistics, RATE * (1 - step / count))
        errors.append((of_maps.item(), of_statistics.item()))
        progress((step + 1) / count)
        if step % 5 == 0:
            preview(canvas.pixels())
    with torch.no_grad():
        found = _shifted_maps(classifier, canvas.picture(), layer)[-1]  # (16, C, h, w)
        error = (found - targets[-1]).square().mean() / scales[-1]  # ()
    table = np.array(errors, dtype=np.float32).reshape(-1, 2)  # (steps, 2)
    return Painting(canvas.pixels(), table[:, 0], table[:, 1], _statistics(found), float(error))


class _Canvas:
    """An image parametrized by scaled Fourier coefficients, so that coarse and fine structures change equally fast."""

    def __init__(self, start: Tensor) -> None:
        self.size = start.shape[-1]
        down, across = torch.fft.fftfreq(self.size)[:, None], torch.fft.rfftfreq(self.size)[None]
        lengths = (down.square() + across.square()).sqrt().clamp_min(1 / self.size)  # (size, size / 2 + 1)
        self.weights = (lengths.reciprocal() / lengths.reciprocal().mean()).to(start.device)  # the same shape
        waves = torch.fft.rfft2(start.clamp(0.02, 0.98).logit(), norm="ortho") / self.weights
        self.waves = torch.view_as_real(waves).clone().requires_grad_()  # (1, 3, size, size / 2 + 1, 2)
        self.optimizer = torch.optim.Adam([self.waves])

    def picture(self) -> Tensor:
        """Return the image (1, 3, size, size) in [0, 1]."""
        waves = torch.view_as_complex(self.waves) * self.weights
        logits: Tensor = torch.fft.irfft2(waves, s=(self.size, self.size), norm="ortho")  # (1, 3, size, size)
        return logits.sigmoid()

    def improve(self, error: Tensor, rate: float) -> None:
        """Make one gradient step."""
        (self.waves.grad,) = torch.autograd.grad(error, self.waves)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def pixels(self) -> NDArray[np.uint8]:
        """Return the image as uint8 (size, size, 3)."""
        with torch.no_grad():
            levels = to_uint8(self.picture()[0])  # (3, size, size)
        return levels.permute(1, 2, 0).cpu().numpy()


def _check(content: Tensor, style: Tensor, layer: str, alpha: float) -> None:
    shape = tuple(content.shape)
    if (
        content.ndim != 4
        or shape[:2] != (1, 3)
        or shape[2] != shape[3]
        or shape[2] % 16
        or style.shape != content.shape
    ):
        raise ValueError(
            "content and style must be (1, 3, size, size) with a size divisible by 16; "
            f"received {shape} and {tuple(style.shape)}"
        )
    if layer not in LAYERS:
        raise ValueError(f"the layer must be one of {', '.join(LAYERS)}; received {layer!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1; received {alpha:g}")


def _maps(classifier: Classifier, pictures: Tensor, layer: str) -> list[Tensor]:
    """Return the images (N, 3, size, size) and their feature maps in each layer up to `layer`."""
    mean, std = (torch.tensor(t, device=pictures.device).view(1, 3, 1, 1) for t in (classifier.mean, classifier.std))
    x, maps = (pictures - mean) / std, [pictures]
    for name in LAYERS[1 : LAYERS.index(layer) + 1]:
        x = classifier.model.get_submodule(name)(x)  # (N, C, h, w)
        maps.append(x)
    return maps


def _shifted_maps(classifier: Classifier, picture: Tensor, layer: str) -> list[Tensor]:
    """Compute the feature maps of all shifts of the image, each (16, C, h, w)."""
    weight = next(classifier.model.parameters())
    return _maps(classifier, torch.cat([picture.to(weight).roll(move, (2, 3)) for move in _SHIFTS]), layer)


def _merged(maps: Tensor) -> Tensor:
    """Merge all shifts (16, C, h, w) of an image into one sample (1, C, 16 h w)."""
    return maps.transpose(0, 1).flatten(1)[None]


def _exchanged(content: Tensor, style: Tensor, alpha: float) -> Tensor:
    """Apply AdaIN to all shifts together and interpolate: (16, C, h, w)."""
    before = _merged(content)  # (1, C, 16 h w)
    after = torch.lerp(before, adaptive_instance_norm(before, _merged(style), EPS), alpha)  # (1, C, 16 h w)
    return after.view(content.transpose(0, 1).shape).transpose(0, 1)  # (16, C, h, w)


def _moments(values: Tensor, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """Compute the means and standard deviations (1, C) of values (1, C, P); eps is added to the variance."""
    mean = values.mean(2, keepdim=True)  # (1, C, 1)
    variance = (values - mean).square().mean(2)  # (1, C)
    return mean[..., 0], (variance + eps).sqrt()


def _statistics(maps: Tensor) -> Statistics:
    mean, std = (part[0].float().cpu().numpy() for part in _moments(_merged(maps).double(), 0.0))
    return Statistics(mean, std)
