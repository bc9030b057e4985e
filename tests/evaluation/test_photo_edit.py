"""Filled regions: what stays, and the closed forms of each fill."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normviz.evaluation.photo_edit import BLUR, FILLS, Fill, enlarge, fill, strongest
from tests.support.comparison import identical


def picture(height: int = 24, width: int = 30, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def box(image: Tensor, top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(image.shape[1:], dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("how", FILLS)
def test_outside_the_region_nothing_changes_and_inside_something_does(how: Fill) -> None:
    image = picture()
    kept = image.clone()
    mask = box(image, 0, 5, 9, 20)  # touches the picture's border
    filled = fill(image, mask, how)
    assert filled.dtype == torch.uint8 and identical(filled[:, ~mask], image[:, ~mask])
    assert (filled[:, mask] != image[:, mask]).float().mean() > 0.9
    assert identical(image, kept)
    assert identical(fill(image, torch.zeros_like(mask), how), image)


@pytest.mark.parametrize("how", FILLS)
def test_a_constant_picture_stays_constant(how: Fill) -> None:
    image = torch.tensor([7, 130, 255], dtype=torch.uint8)[:, None, None].expand(3, 20, 16).contiguous()
    assert identical(fill(image, box(image, 0, 2, 15, 16), how), image)


def test_the_mean_is_that_of_the_pixels_outside() -> None:
    image = picture()
    mask = box(image, 3, 3, 20, 25)
    expected = image[:, ~mask].double().mean(dim=1).round()
    assert identical(fill(image, mask, "mean")[:, mask].double(), expected[:, None].expand(3, int(mask.sum())))


def ramp(height: int, width: int, down: int, right: int) -> Tensor:
    values = 20 + down * torch.arange(height)[:, None] + right * torch.arange(width)
    return torch.stack([values, 255 - values, values]).to(torch.uint8)


def test_inpainting_continues_a_ramp_exactly() -> None:
    image = ramp(24, 30, 3, 4)
    hole = box(image, 4, 5, 20, 27) & ~box(image, 8, 9, 11, 12)
    image_with_hole = image.clone()
    image_with_hole[:, hole] = 0
    assert identical(fill(image_with_hole, hole, "inpaint"), image)


def test_inpainting_at_the_border_has_no_flow_through_it() -> None:
    image = ramp(24, 30, 0, 5)
    hole = box(image, 0, 4, 24, 25)  # from the upper to the lower border, along which the ramp is constant
    image_with_hole = image.clone()
    image_with_hole[:, hole] = 0
    assert identical(fill(image_with_hole, hole, "inpaint"), image)
    corner = box(image, 0, 0, 24, 10)  # one side known only: its column goes on
    expected = image[:, :, 10:11].expand(3, 24, 10)
    assert identical(fill(image, corner, "inpaint")[:, :, :10], expected)


def test_each_inpainted_pixel_is_the_mean_of_its_neighbors() -> None:
    image = picture(20, 20)
    mask = torch.rand(20, 20, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[[0, -1]] = mask[:, [0, -1]] = False
    filled = fill(image, mask, "inpaint").double()
    around = (filled[:, :-2, 1:-1] + filled[:, 2:, 1:-1] + filled[:, 1:-1, :-2] + filled[:, 1:-1, 2:]) / 4
    off = (filled[:, 1:-1, 1:-1] - around)[:, mask[1:-1, 1:-1]].abs()
    assert off.max() <= 1  # half a level of rounding here, and at most half in the mean of the neighbors


def test_the_blur_of_a_point_is_a_gaussian() -> None:
    size, at = 80, 40
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    image[:, at - 20 : at + 21, at] = 255  # a line, so that what is left of it exceeds a level
    sigma = BLUR * size
    filled = fill(image, box(image, at, 0, at + 1, size), "blur")[0, at].double()
    offsets = torch.arange(size, dtype=torch.float64) - at
    expected = 255 * (-(offsets**2) / (2 * sigma**2)).exp() / (sigma * (2 * torch.pi) ** 0.5)
    assert (filled - expected).abs().max() <= 0.6  # of a level, by rounding and by the kernel's end at 4 sigma


def test_the_strongest_part_of_a_map() -> None:
    heatmap = torch.arange(100.0).view(10, 10) - 90
    assert identical(strongest(heatmap, 0.05), heatmap > 4)
    assert identical(strongest(heatmap, 0.5), heatmap > 0)  # evidence against is never part of it
    assert identical(strongest(heatmap, 1e-9), heatmap == 9)
    assert strongest(torch.ones(10, 10), 0.2).sum() == 20


@pytest.mark.parametrize(("size", "cells"), [((8, 12), (4, 6)), ((7, 9), (7, 9)), ((5, 3), (2, 2))])
def test_cells_at_pixels(size: tuple[int, int], cells: tuple[int, int]) -> None:
    painted = torch.rand(cells, generator=torch.Generator().manual_seed(1)) < 0.5
    mask = enlarge(painted, size)
    for i in range(size[0]):
        for j in range(size[1]):
            row, column = int((i + 0.5) / size[0] * cells[0]), int((j + 0.5) / size[1] * cells[1])
            assert mask[i, j] == painted[row, column]


def test_what_is_refused() -> None:
    image = picture()
    mask = box(image, 0, 0, 5, 5)
    wrongs: list[tuple[Callable[[], Tensor], str]] = [
        (lambda: fill(image, mask, "erase"), "mean, blur, inpaint; received 'erase'"),  # type: ignore[arg-type]
        (lambda: fill(image.float(), mask, "mean"), "uint8 (3, H, W); received torch.float32"),
        (lambda: fill(image, mask[1:], "mean"), "bool (24, 30), the size of the image"),
        (lambda: fill(image, mask.float(), "mean"), "received torch.float32"),
        (lambda: fill(image, torch.ones_like(mask), "mean"), "the whole image"),
        (lambda: strongest(torch.zeros(4, 4), 0.1), "no evidence"),
        (lambda: strongest(torch.ones(4, 4), 0.0), "received 0.0"),
        (lambda: strongest(torch.ones(1, 4, 4), 0.5), "received shape (1, 4, 4)"),
        (lambda: enlarge(torch.ones(4, 4), (8, 8)), "must be bool (r, c)"),
    ]
    for wrong, words in wrongs:
        with pytest.raises(ValueError) as error:
            wrong()
        assert words in str(error.value)
