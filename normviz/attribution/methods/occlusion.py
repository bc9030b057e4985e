"""Attribution by hiding parts of the image, independent of the network's structure: occlusion and RISE."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.blur import gaussian_blur
from normviz.attribution.engine.probe import Probe
from normviz.attribution.engine.scorer import Read, Scorer, Steps, check_choice
from normviz.registry import Range, attribution

__all__ = ["occlusion", "rise"]

Fill = Literal["zero", "mean", "blur"]
Report = Callable[[Tensor], None]


@attribution(
    title="Occlusion", cite="zeiler2014visualizing", level="input", unit="score",
    aliases=("occlusion sensitivity", "sliding window"),
    formula=r"M_{ij} = \underset{q \,\ni\, (i,j)}{\mathrm{mean}} \big(S_c(x) - S_c(x \text{ with } q \text{ covered})"
    r"\big), \quad q \text{: squares with sides } w, \text{ in steps of } d",
)  # fmt: skip
def occlusion(
    probe: Probe,
    window: Annotated[float, Range(0.02, 0.5, "w")] = 0.2,
    stride: Annotated[float, Range(0.01, 0.5, "d")] = 0.05,
    fill: Fill = "zero",
    score: Read = "logit",
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Report | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """The decrease of the class's score when a square of the image is replaced, for squares on a sliding grid.

    Each pixel gets the mean decrease over the squares that contain it. The last square of a row or column is aligned
    with the border, so all have the same size. Memory grows with `chunk`, not with the number of squares. The paper
    instead shows the probability of the class, for gray squares.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.
        window: side of the square, as a fraction of the image's shorter side.
        stride: distance between squares, as the same fraction; limited to one window, so that every pixel is included.
        fill: replacement values: "zero" (the mean color of standardized images), the image's own "mean" color, or a
            "blur" of the image with a standard deviation of half a square.
        score: the class's "logit" or "probability"; ignored if the target is not a class.
        chunk: modified images per forward pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map of the squares so far, in random order; 0 where there were none.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, H, W), signed: positive where hiding lowers the score; in logits or probability.

    Raises:
        ValueError: chunk below 1, window or stride not positive, or an unknown fill or score.

    Source:
        Zeiler & Fergus 2014, section 4.2 (occlusion sensitivity).
    """
    check_choice("occlusion", fill, Fill)
    check_choice("occlusion", score, Read)
    if not (window > 0 and stride > 0):
        raise ValueError(f"window and stride must be above 0; received {window} and {stride}")
    count, _, height, width = probe.images.shape
    side = _pixels(window, height, width)
    step = min(side, _pixels(stride, height, width))
    corners = list(itertools.product(_starts(height, side, step), _starts(width, side, step)))
    order = torch.randperm(len(corners), generator=torch.Generator().manual_seed(0)).tolist()
    steps = Steps(chunk, [len(corners)] * count, progress)
    scorer = Scorer(probe, score)
    drops = probe.images.new_zeros(count, height, width)  # (N, H, W), sum over the squares
    counts = torch.zeros_like(drops)  # (N, H, W), the number of squares per pixel
    for index, image in enumerate(probe.images):
        values = _replacement(image, fill, side)  # (C, H, W)
        original = scorer.scores(image[None], index)  # (1,)
        for part in _parts(order, chunk):
            squares = [(..., slice(corners[k][0], corners[k][0] + side), slice(corners[k][1], corners[k][1] + side))
                       for k in part]  # fmt: skip
            pictures = image.repeat(len(part), 1, 1, 1)  # (b, C, H, W)
            for picture, square in zip(pictures, squares, strict=True):
                picture[square] = values[square]
            for drop, square in zip(original - scorer.scores(pictures, index), squares, strict=True):
                drops[index][square] += drop
                counts[index][square] += 1
            steps.advance()
            if preview:
                preview(drops / counts.clamp(min=1))
    if note:
        note(f"{len(corners)} squares of {side} x {side} pixels, {step} apart. {scorer.sentence()}")
    return drops / counts  # (N, H, W)


@attribution(
    title="RISE", cite="petsiuk2018rise", level="input", unit="score",
    aliases=("randomized input sampling",),
    formula=r"M_{ij} = \frac{1}{n\,p} \sum_{r=1}^{n} f_c(x \odot m_r)\, m_{r,ij}, \quad m_r = \mathrm{up}(b_r), \quad "
    r"b_r \in \{0, 1\}^{g \times g}, \quad P(b = 1) = p, \quad \text{seed } s",
)  # fmt: skip
def rise(
    probe: Probe,
    masks: Annotated[int, Range(8, 10_000, "n", log=True)] = 1000,
    cells: Annotated[int, Range(2, 16, "g")] = 7,
    p: Annotated[float, Range(0.05, 0.95, "p")] = 0.5,
    shift: bool = True,
    score: Read = "probability",
    seed: Annotated[int, Range(0, 999, "s")] = 0,
    *,
    chunk: int = 32,
    progress: Callable[[float], None] | None = None,
    preview: Report | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """The mean score of randomly masked images in which a pixel is visible, by Monte Carlo.

    Masks are random binary grids, enlarged bilinearly to one cell more than the image and cropped at a random offset.
    As in the paper, the estimate divides by E[m] = p, not by the sampled masks. Without `shift`, the grid is aligned
    with the image; if `masks` is at least the number of possible grids, each grid is used once with its probability,
    and the map is exact. Memory grows with `chunk`, not with the number of masks. The authors' code reflects the grid
    at its border, where this one repeats the last cell.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.
        masks: number of masks; the paper uses 4000 to 8000.
        cells: number of rows and columns of the grid.
        p: probability that a cell is visible.
        shift: shift each mask by a random fraction of a cell.
        score: the class's "probability" (as in the paper) or "logit"; ignored if the target is not a class.
        seed: random seed of the masks, which are the same for each image.
        chunk: masked images per forward pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the estimate so far.
        note: called with a sentence that includes the standard error.

    Returns:
        (N, H, W), at least 0 for a probability, in the unit of the score.

    Raises:
        ValueError: chunk, masks or cells below 1, p outside (0, 1), or an unknown score.

    Source:
        Petsiuk et al. 2018, sections 3.1 (random masking) and 3.2 (mask generation).
    """
    check_choice("rise", score, Read)
    if masks < 1 or cells < 1 or not 0 < p < 1:
        raise ValueError(
            f"rise requires masks and cells of at least 1 and 0 < p < 1; received {masks}, {cells} and {p}"
        )
    exact = not shift and cells * cells <= math.log2(masks)
    total = 2 ** (cells * cells) if exact else masks
    count, _, height, width = probe.images.shape
    steps = Steps(chunk, [total] * count, progress)
    scorer = Scorer(probe, score)
    estimate = probe.images.new_zeros(count, height, width)  # (N, H, W)
    errors = torch.zeros_like(estimate)  # (N, H, W), squared standard errors
    for index, image in enumerate(probe.images):
        total_weight, mean, square = 0.0, torch.zeros_like(estimate[0]), torch.zeros_like(estimate[0])  # (H, W) each
        drawn = _every_grid(cells, p, chunk) if exact else _random_grids(cells, p, masks, chunk, seed)
        for grids, weights, offsets in drawn:
            mask = _masks(grids.to(image), offsets if shift else None, height, width)  # (b, 1, H, W)
            term = scorer.scores(image * mask, index)[:, None, None] * mask[:, 0] / p  # (b, H, W)
            weight = weights.to(image)[:, None, None]  # (b, 1, 1)
            total_weight += float(weights.sum())
            mean += (weight * term).sum(dim=0)
            square += (weight * term.square()).sum(dim=0)
            estimate[index] = mean / total_weight
            errors[index] = (square / total_weight - estimate[index].square()).clamp(min=0) / total_weight
            steps.advance()
            if preview:
                preview(estimate.clone())
    if note:
        spread = float((estimate.amax(dim=(1, 2)) - estimate.amin(dim=(1, 2))).amin())
        error = float(errors.sqrt().amax())
        how = (
            f"Exact: all {total} masks, weighted by their probability."
            if exact
            else f"Monte Carlo estimate from {total} random masks, seed {seed}: the standard error is at most "
            f"{error:.2g}, the map has a range of {spread:.2g}."
        )
        note(f"{how} {scorer.sentence()}")
    return estimate


def _pixels(share: float, height: int, width: int) -> int:
    """A fraction of the image's shorter side in pixels, at least 1."""
    return max(1, min(round(share * min(height, width)), height, width))


def _starts(length: int, side: int, step: int) -> list[int]:
    """The offsets of the squares along one side of the image; the last one ends at the border."""
    return [*range(0, length - side, step), length - side]


def _replacement(image: Tensor, fill: Fill, side: int) -> Tensor:
    """The replacement values (C, H, W)."""
    if fill == "zero":
        return torch.zeros_like(image)
    if fill == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image)
    return gaussian_blur(image[None], side / 2)[0]


def _parts(order: list[int], chunk: int) -> Iterator[list[int]]:
    """Indices in chunks of at most `chunk`."""
    return (order[start : start + chunk] for start in range(0, len(order), chunk))


def _random_grids(cells: int, p: float, masks: int, chunk: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Random grids (b, 1, g, g) with P(1) = p, weights (b,) of 1, and offsets (b, 2) in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, masks, chunk):
        drawn = torch.rand(min(chunk, masks - start), cells * cells + 2, generator=generator)  # (b, g g + 2)
        grids = (drawn[:, 2:] < p).reshape(-1, 1, cells, cells)
        yield grids, torch.ones(len(grids)), drawn[:, :2]


def _every_grid(cells: int, p: float, chunk: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every grid once (b, 1, g, g), its probability (b,), in random order; the offsets (b, 2) are 0."""
    count = cells * cells
    order = torch.randperm(2**count, generator=torch.Generator().manual_seed(0))
    for codes in torch.split(order, chunk):
        bits = (codes[:, None] >> torch.arange(count)) & 1  # (b, g g)
        visible = bits.sum(dim=1).double()  # (b,)
        weights = p**visible * (1 - p) ** (count - visible)  # (b,)
        yield bits.bool().reshape(-1, 1, cells, cells), weights, torch.zeros(len(codes), 2)


def _masks(grids: Tensor, offsets: Tensor | None, height: int, width: int) -> Tensor:
    """Grids (b, 1, g, g) enlarged to masks (b, 1, H, W), shifted by offsets (b, 2) in cells; None: not shifted."""
    if offsets is None:
        return F.interpolate(grids, size=(height, width), mode="bilinear", align_corners=False)
    rows, columns = (-(-length // grids.shape[2]) for length in (height, width))  # pixels of a cell
    size = ((grids.shape[2] + 1) * rows, (grids.shape[3] + 1) * columns)  # one cell of margin for the shift
    larger = F.interpolate(grids, size=size, mode="bilinear", align_corners=False)  # (b, 1, ...)
    tops, lefts = (offsets * torch.tensor([rows, columns])).long().unbind(dim=1)  # (b,) each
    cut = [
        one[:, top : top + height, left : left + width]
        for one, top, left in zip(larger, tops.tolist(), lefts.tolist(), strict=True)
    ]
    return torch.stack(cut)  # (b, 1, H, W)
