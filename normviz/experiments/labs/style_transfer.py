"""Style transfer by adaptive instance normalization: one photo's maps with another one's means and deviations.

The exchange itself is one formula. To see its result as a picture, a picture is searched for: by gradient descent on
its pixels, until the network sees in it what the exchange asks for. As the network's maps have a cell for every fourth
pixel only, it is shown the picture moved by 0 to 3 pixels each way: without that, a pattern of dots appears.
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
STATISTICS = 3.0  # weight of the error of means and deviations against that of the maps
RATE = 0.05  # of the descent at its start; it falls to 0
EPS = 1e-5
_MOVES = tuple(itertools.product(range(4), range(4)))  # the stem has stride 4


@dataclass(frozen=True)
class Statistics:
    """The means (C,) and standard deviations (C,) of the channels of some maps."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class Exchange:
    """The maps of one layer before and after the exchange.

    Attributes:
        content: (C, h, w) maps of the content.
        style: (C, h, w) maps of the style.
        after: (C, h, w) maps of the content with the statistics exchanged.
        of_content: statistics of the content's maps.
        of_style: statistics of the style's maps.
        of_after: statistics of the maps after the exchange.
    """

    content: NDArray[np.float32]
    style: NDArray[np.float32]
    after: NDArray[np.float32]
    of_content: Statistics
    of_style: Statistics
    of_after: Statistics


@dataclass(frozen=True)
class Painting:
    """A picture that was found, and how well it fits.

    Attributes:
        pixels: uint8 (size, size, 3).
        map_errors: (steps,) squared difference of its maps at the layer from those asked for, over their variance.
        statistics_errors: (steps,) the same of means and deviations, averaged over the layers up to that one.
        statistics: of the picture's own maps at the layer.
        map_error: the first error, of the finished picture and over all moves.
    """

    pixels: NDArray[np.uint8]
    map_errors: NDArray[np.float32]
    statistics_errors: NDArray[np.float32]
    statistics: Statistics
    map_error: float


def square(image: Tensor, size: int) -> Tensor:
    """The middle square of a photo.

    Args:
        image: uint8 (3, H, W).
        size: pixels a side of the result.

    Returns:
        float32 (1, 3, size, size) in [0, 1].
    """
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return to_batch(image[:, top : top + side, left : left + side], size)  # (1, 3, size, size)


def exchange(classifier: Classifier, content: Tensor, style: Tensor, layer: str, alpha: float = 1.0) -> Exchange:
    """Give the content's maps at one layer the style's means and standard deviations.

    Args:
        classifier: the network.
        content: (1, 3, size, size) in [0, 1].
        style: (1, 3, size, size) in [0, 1].
        layer: one of LAYERS.
        alpha: how far the content's maps go on the way to the exchanged ones, 0 to 1.

    Returns:
        The maps and their statistics.

    Raises:
        ValueError: pictures of another shape, a layer that is not offered, or an alpha outside 0 to 1.

    Source:
        Huang & Belongie 2017, Eqs. 8 and 14.
    """
    _check(content, style, layer, alpha)
    with torch.no_grad():
        before, other = (_moved_maps(classifier, picture, layer)[-1] for picture in (content, style))  # (16, C, h, w)
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
    """Search for a picture whose maps are the exchanged ones, by gradient descent on its pixels.

    It starts as the content with the exchange made on its colors. What it is to fit: at `layer` the exchanged maps,
    and there and in all layers before, down to the colors, the means and deviations after an exchange there.

    Args:
        classifier: the network, which is only read.
        content: (1, 3, size, size) in [0, 1].
        style: (1, 3, size, size) in [0, 1].
        layer: one of LAYERS; the colors alone need no search.
        alpha: how far the content's maps go on the way to the exchanged ones, 0 to 1.
        steps: of the descent.
        progress: called with the finished share, 0 to 1.
        preview: called now and then with the picture as it is, uint8 (size, size, 3).

    Returns:
        The picture and its errors.

    Raises:
        ValueError: as `exchange`, or fewer than one step.

    Source:
        Huang & Belongie 2017, Eqs. 11 to 14, with the descent of Gatys et al. 2016 (1508.06576) in place of a decoder.
    """
    _check(content, style, layer, alpha)
    if steps < 1:
        raise ValueError(f"the search needs at least one step; received {steps}")
    with torch.no_grad():
        pairs = zip(*(_moved_maps(classifier, picture, layer) for picture in (content, style)), strict=True)
        targets = [_exchanged(before, other, alpha) for before, other in pairs]  # each (16, C, h, w)
        moments = [_moments(_merged(target)) for target in targets]  # each (1, C), (1, C)
        scales = [target.var().clamp_min(EPS) for target in targets]
    canvas = _Canvas(targets[0][:1])
    count = 0 if layer == "pixels" else steps
    order = torch.randperm(len(_MOVES), generator=torch.Generator().manual_seed(0)).tolist()
    errors = []
    for step in range(count):
        move = order[step % len(order)]
        maps = _maps(classifier, canvas.picture().roll(_MOVES[move], (2, 3)), layer)
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
        found = _moved_maps(classifier, canvas.picture(), layer)[-1]  # (16, C, h, w)
        off = (found - targets[-1]).square().mean() / scales[-1]  # ()
    table = np.array(errors, dtype=np.float32).reshape(-1, 2)  # (steps, 2)
    return Painting(canvas.pixels(), table[:, 0], table[:, 1], _statistics(found), float(off))


class _Canvas:
    """A picture as a sum of waves, coarse ones larger: so that large areas change as easily as fine detail."""

    def __init__(self, start: Tensor) -> None:
        self.size = start.shape[-1]
        down, across = torch.fft.fftfreq(self.size)[:, None], torch.fft.rfftfreq(self.size)[None]
        lengths = (down.square() + across.square()).sqrt().clamp_min(1 / self.size)  # (size, size / 2 + 1)
        self.weights = (lengths.reciprocal() / lengths.reciprocal().mean()).to(start.device)  # the same shape
        waves = torch.fft.rfft2(start.clamp(0.02, 0.98).logit(), norm="ortho") / self.weights
        self.waves = torch.view_as_real(waves).clone().requires_grad_()  # (1, 3, size, size / 2 + 1, 2)
        self.descent = torch.optim.Adam([self.waves])

    def picture(self) -> Tensor:
        """The picture (1, 3, size, size) in [0, 1]."""
        waves = torch.view_as_complex(self.waves) * self.weights
        logits: Tensor = torch.fft.irfft2(waves, s=(self.size, self.size), norm="ortho")  # (1, 3, size, size)
        return logits.sigmoid()

    def improve(self, error: Tensor, rate: float) -> None:
        """One step of the descent."""
        (self.waves.grad,) = torch.autograd.grad(error, self.waves)
        for group in self.descent.param_groups:
            group["lr"] = rate
        self.descent.step()

    def pixels(self) -> NDArray[np.uint8]:
        """The picture as levels (size, size, 3) from 0 to 255."""
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
            "content and style must be squares (1, 3, size, size), the size a multiple of 16; "
            f"received {shape} and {tuple(style.shape)}"
        )
    if layer not in LAYERS:
        raise ValueError(f"the layer must be one of {', '.join(LAYERS)}; received {layer!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha, the share of the way to the style, must be from 0 to 1; received {alpha:g}")


def _maps(classifier: Classifier, pictures: Tensor, layer: str) -> list[Tensor]:
    """The pictures (N, 3, size, size) themselves and their maps in each layer up to `layer`."""
    mean, std = (torch.tensor(t, device=pictures.device).view(1, 3, 1, 1) for t in (classifier.mean, classifier.std))
    x, maps = (pictures - mean) / std, [pictures]
    for name in LAYERS[1 : LAYERS.index(layer) + 1]:
        x = classifier.model.get_submodule(name)(x)  # (N, C, h, w)
        maps.append(x)
    return maps


def _moved_maps(classifier: Classifier, picture: Tensor, layer: str) -> list[Tensor]:
    """The maps of the picture in all its moves, each (16, C, h, w)."""
    weight = next(classifier.model.parameters())
    return _maps(classifier, torch.cat([picture.to(weight).roll(move, (2, 3)) for move in _MOVES]), layer)


def _merged(maps: Tensor) -> Tensor:
    """All moves (16, C, h, w) of one picture as one example (1, C, 16 h w)."""
    return maps.transpose(0, 1).flatten(1)[None]


def _exchanged(content: Tensor, style: Tensor, alpha: float) -> Tensor:
    """AdaIN of all moves together, in part: shape of `content`, (16, C, h, w)."""
    before = _merged(content)  # (1, C, 16 h w)
    after = torch.lerp(before, adaptive_instance_norm(before, _merged(style), EPS), alpha)  # (1, C, 16 h w)
    return after.view(content.transpose(0, 1).shape).transpose(0, 1)  # (16, C, h, w)


def _moments(values: Tensor, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """The means (1, C) of values (1, C, P), and their standard deviations (1, C), eps added under the root."""
    mean = values.mean(2, keepdim=True)  # (1, C, 1)
    variance = (values - mean).square().mean(2)  # (1, C)
    return mean[..., 0], (variance + eps).sqrt()


def _statistics(maps: Tensor) -> Statistics:
    mean, std = (part[0].float().cpu().numpy() for part in _moments(_merged(maps).double(), 0.0))
    return Statistics(mean, std)
