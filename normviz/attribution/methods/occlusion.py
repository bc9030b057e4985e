"""Attribution by covering parts of the image, with no look inside the network: occlusion and RISE."""

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
from normviz.registry import Range, register

Fill = Literal["zero", "mean", "blur"]
Report = Callable[[Tensor], None]


@register(
    title="Occlusion", kind="attribution", cite="zeiler2014visualizing", level="input", unit="score",
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
    """How far the class's score drops when a square of the image is covered, for squares that slide over it.

    A pixel gets the mean drop of the squares that cover it. The last square of a row or column is moved inwards until
    it ends with the image, so all have the same size. Memory grows with `chunk`, not with the number of squares. The
    paper draws the class's probability itself, lowest where the covered part matters most, for a gray square.

    Args:
        probe: network, images (N, C, H, W) and class; the layer plays no part.
        window: side of the square, as a share of the image's shorter side.
        stride: from one square to the next, as the same share; at most one window, so that no pixel is left out.
        fill: what covers: "zero" (the gray or mean color of images that are normalized to mean 0), the image's own
            "mean" color, or a "blur" of the image as wide as half a square.
        score: the class's "logit" or its "probability"; a target that is no class has one score of its own.
        chunk: covered images in one forward pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the map of the squares so far, in scattered order, after each chunk; 0 where none was.
        note: called with a sentence that says how the map was computed.

    Returns:
        (N, H, W), signed: positive where covering lowers the score; in logits or probability.

    Raises:
        ValueError: chunk below 1, a window or stride that is not positive, or an unknown fill or score.

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
    drops = probe.images.new_zeros(count, height, width)  # (N, H, W), the sum of the squares' drops
    covered = torch.zeros_like(drops)  # (N, H, W), how many they are
    for index, image in enumerate(probe.images):
        cover = _cover(image, fill, side)  # (C, H, W)
        whole = scorer.scores(image[None], index)  # (1,)
        for part in _parts(order, chunk):
            squares = [(..., slice(corners[k][0], corners[k][0] + side), slice(corners[k][1], corners[k][1] + side))
                       for k in part]  # fmt: skip
            pictures = image.repeat(len(part), 1, 1, 1)  # (b, C, H, W)
            for picture, square in zip(pictures, squares, strict=True):
                picture[square] = cover[square]
            for drop, square in zip(whole - scorer.scores(pictures, index), squares, strict=True):
                drops[index][square] += drop
                covered[index][square] += 1
            steps.advance()
            if preview:
                preview(drops / covered.clamp(min=1))
    if note:
        note(f"{len(corners)} squares of {side} x {side} pixels, {step} apart. {scorer.sentence()}")
    return drops / covered  # (N, H, W)


@register(
    title="RISE", kind="attribution", cite="petsiuk2018rise", level="input", unit="score",
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
    """The mean score of randomly masked images in which a pixel is seen: a Monte-Carlo estimate.

    Masks are grids of zeros and ones, enlarged bilinearly by a cell more than the image and cut out at a random place.
    The estimate divides by E[m] = p, not by the masks that were drawn, as the paper does. Without `shift`, the grid
    lies on the image exactly; if `masks` are then at least as many as the grids there are, each grid is taken once,
    with its probability, and the map is exact. Memory grows with `chunk`, not with the number of masks. The authors'
    code reflects the grid at its border where this one repeats the last cell.

    Args:
        probe: network, images (N, C, H, W) and class; the layer plays no part.
        masks: how many are drawn; the paper takes 4000 to 8000.
        cells: rows and columns of the grid.
        p: how likely a cell is seen.
        shift: whether each mask is moved by a random part of a cell.
        score: the class's "probability" (the paper) or its "logit"; a target that is no class has one score of its own.
        seed: of the masks, which are the same for each image.
        chunk: masked images in one forward pass; changes speed and memory, not the map.
        progress: called with the finished share, 0 to 1, after each chunk; may raise to cancel.
        preview: called with the estimate from the masks so far after each chunk.
        note: called with a sentence that names the standard error.

    Returns:
        (N, H, W), at least 0 for a probability, in the unit of the score.

    Raises:
        ValueError: chunk, masks or cells below 1, p outside (0, 1), or an unknown score.

    Source:
        Petsiuk et al. 2018, sections 3.1 (random masking) and 3.2 (mask generation).
    """
    check_choice("rise", score, Read)
    if masks < 1 or cells < 1 or not 0 < p < 1:
        raise ValueError(f"rise needs masks and cells of at least 1 and 0 < p < 1; received {masks}, {cells} and {p}")
    exact = not shift and cells * cells <= math.log2(masks)
    total = 2 ** (cells * cells) if exact else masks
    count, _, height, width = probe.images.shape
    steps = Steps(chunk, [total] * count, progress)
    scorer = Scorer(probe, score)
    estimate = probe.images.new_zeros(count, height, width)  # (N, H, W)
    errors = torch.zeros_like(estimate)  # (N, H, W), squared standard errors
    for index, image in enumerate(probe.images):
        weighed, mean, square = 0.0, torch.zeros_like(estimate[0]), torch.zeros_like(estimate[0])  # (H, W) each
        drawn = _every_grid(cells, p, chunk) if exact else _random_grids(cells, p, masks, chunk, seed)
        for grids, weights, places in drawn:
            mask = _masks(grids.to(image), places if shift else None, height, width)  # (b, 1, H, W)
            term = scorer.scores(image * mask, index)[:, None, None] * mask[:, 0] / p  # (b, H, W)
            weight = weights.to(image)[:, None, None]  # (b, 1, 1)
            weighed += float(weights.sum())
            mean += (weight * term).sum(dim=0)
            square += (weight * term.square()).sum(dim=0)
            estimate[index] = mean / weighed
            errors[index] = (square / weighed - estimate[index].square()).clamp(min=0) / weighed
            steps.advance()
            if preview:
                preview(estimate.clone())
    if note:
        spread = float((estimate.amax(dim=(1, 2)) - estimate.amin(dim=(1, 2))).amin())
        error = float(errors.sqrt().amax())
        how = (
            f"Exact: all {total} masks, each with its probability."
            if exact
            else f"A Monte-Carlo estimate from {total} random masks, seed {seed}: its standard error is at most "
            f"{error:.2g}, the map spans {spread:.2g}."
        )
        note(f"{how} {scorer.sentence()}")
    return estimate


def _pixels(share: float, height: int, width: int) -> int:
    """A share of the image's shorter side in whole pixels, at least 1."""
    return max(1, min(round(share * min(height, width)), height, width))


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where squares begin along one side of the image; the last one ends with it."""
    return [*range(0, length - side, step), length - side]


def _cover(image: Tensor, fill: Fill, side: int) -> Tensor:
    """The image (C, H, W) that is seen where a square covers the original."""
    if fill == "zero":
        return torch.zeros_like(image)
    if fill == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image)
    return gaussian_blur(image[None], side / 2)[0]


def _parts(order: list[int], chunk: int) -> Iterator[list[int]]:
    """Numbers in parts of at most `chunk`."""
    return (order[start : start + chunk] for start in range(0, len(order), chunk))


def _random_grids(cells: int, p: float, masks: int, chunk: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Grids (b, 1, g, g) whose cells are 1 with probability p, weights (b,) of 1, and places (b, 2) in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, masks, chunk):
        drawn = torch.rand(min(chunk, masks - start), cells * cells + 2, generator=generator)  # (b, g g + 2)
        grids = (drawn[:, 2:] < p).reshape(-1, 1, cells, cells)
        yield grids, torch.ones(len(grids)), drawn[:, :2]


def _every_grid(cells: int, p: float, chunk: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every grid once (b, 1, g, g), with its probability (b,), in scattered order; the places (b, 2) are 0."""
    count = cells * cells
    order = torch.randperm(2**count, generator=torch.Generator().manual_seed(0))
    for codes in torch.split(order, chunk):
        bits = (codes[:, None] >> torch.arange(count)) & 1  # (b, g g)
        seen = bits.sum(dim=1).double()  # (b,)
        weights = p**seen * (1 - p) ** (count - seen)  # (b,)
        yield bits.bool().reshape(-1, 1, cells, cells), weights, torch.zeros(len(codes), 2)


def _masks(grids: Tensor, places: Tensor | None, height: int, width: int) -> Tensor:
    """Grids (b, 1, g, g) enlarged to masks (b, 1, H, W), moved by places (b, 2) of a cell, or exactly on the image."""
    if places is None:
        return F.interpolate(grids, size=(height, width), mode="bilinear", align_corners=False)
    rows, columns = (-(-length // grids.shape[2]) for length in (height, width))  # pixels of a cell
    size = ((grids.shape[2] + 1) * rows, (grids.shape[3] + 1) * columns)  # a cell to move in
    larger = F.interpolate(grids, size=size, mode="bilinear", align_corners=False)  # (b, 1, ...)
    tops, lefts = (places * torch.tensor([rows, columns])).long().unbind(dim=1)  # (b,) each
    cut = [
        one[:, top : top + height, left : left + width]
        for one, top, left in zip(larger, tops.tolist(), lefts.tolist(), strict=True)
    ]
    return torch.stack(cut)  # (b, 1, H, W)
