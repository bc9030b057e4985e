"""Measures of localization: against loops over pixels, and their closed forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normviz.evaluation.baselines import center_map
from normviz.evaluation.localization.measures import best_iou, energy_inside, grid_pointing, pointing
from tests.reference import localization as reference

SIZE = (12, 16)


def cases() -> list[tuple[Tensor, Tensor]]:
    """Maps and masks: smooth, rough, signed, with ties, tiny, huge."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for index in range(12):
        heatmap = torch.randn(SIZE, generator=generator, dtype=torch.float64)
        if index % 3 == 1:
            heatmap = heatmap.round()  # ties
        if index % 4 == 2:
            heatmap = heatmap.relu()
        mask = torch.rand(SIZE, generator=generator) < (0.1, 0.4, 0.9)[index % 3]
        found.append((heatmap * 10.0 ** (index - 6), mask))
    return found


def box(top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("index", range(12))
def test_against_loops_over_pixels(index: int) -> None:
    heatmap, mask = cases()[index]
    values, there = heatmap.numpy(), mask.numpy()
    for tolerance in (0.0, 1.0, 1.5, 3.0, 40.0):
        assert float(pointing(heatmap, mask, tolerance)) == pytest.approx(
            reference.pointing(values, there, tolerance), abs=1e-6
        )
    assert float(energy_inside(heatmap, mask)) == pytest.approx(reference.energy_inside(values, there), abs=1e-12)
    iou, threshold = best_iou(heatmap, mask)
    assert (float(iou), float(threshold)) == pytest.approx(reference.best_iou(values, there), abs=1e-6)
    for side in (1, 2, 4):
        for cell in range(side * side):
            expected = reference.grid_pointing(values, cell, side)
            assert float(grid_pointing(heatmap, cell, side)) == pytest.approx(expected, abs=1e-12)


def test_a_batch_is_its_maps_one_by_one() -> None:
    maps, masks = (torch.stack(part) for part in zip(*cases(), strict=True))
    measures: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
        pointing, lambda a, b: pointing(a, b, 2.0), energy_inside, lambda a, b: best_iou(a, b).iou,
        lambda a, b: best_iou(a, b).threshold,
    )  # fmt: skip
    for measure in measures:
        one_by_one = torch.stack([measure(a, b) for a, b in cases()])
        torch.testing.assert_close(measure(maps, masks), one_by_one)
        torch.testing.assert_close(measure(maps.view(3, 4, *SIZE), masks.view(3, 4, *SIZE)).flatten(), one_by_one)
        for one, expected in zip(measure(maps, masks[0]), (measure(a, masks[0]) for a, _ in cases()), strict=True):
            torch.testing.assert_close(one, expected)
    cells = torch.arange(12) % 4
    expected = torch.stack([grid_pointing(a, int(cell)) for (a, _), cell in zip(cases(), cells, strict=True)])
    torch.testing.assert_close(grid_pointing(maps, cells), expected)


def test_the_perfect_map_scores_one() -> None:
    mask = box(2, 3, 7, 9)
    heatmap = mask.double() - 3 * (~mask).double()  # evidence against the rest changes nothing
    assert pointing(heatmap, mask) == 1 and float(energy_inside(heatmap, mask)) == pytest.approx(1)
    assert float(best_iou(heatmap, mask).iou) == pytest.approx(1) and best_iou(heatmap, mask).threshold == 1
    for cell in range(4):
        row, column = divmod(cell, 2)
        quarter = box(6 * row, 8 * column, 6 * row + 6, 8 * column + 8)
        expected = [float(other == cell) for other in range(4)]
        assert [float(grid_pointing(quarter.double(), other)) for other in range(4)] == pytest.approx(expected)


def test_the_map_of_everything_but_the_object_scores_nothing() -> None:
    mask = box(2, 3, 7, 9)
    heatmap = (~mask).float()
    assert pointing(heatmap, mask) == energy_inside(heatmap, mask) == best_iou(heatmap, mask).iou == 0


@pytest.mark.parametrize("level", [1e-30, 1.0, 1e30])
def test_a_uniform_map_scores_the_objects_share_of_the_picture(level: float) -> None:
    mask, heatmap = box(2, 3, 7, 9), torch.full(SIZE, level)
    share = pytest.approx(30 / 192, rel=1e-6)
    assert float(energy_inside(heatmap, mask)) == share
    assert float(pointing(heatmap, mask)) == share
    assert float(best_iou(heatmap, mask).iou) == share and best_iou(heatmap, mask).threshold == 1
    assert [float(grid_pointing(heatmap, cell)) for cell in range(4)] == pytest.approx([0.25] * 4, rel=1e-6)


@pytest.mark.parametrize("heatmap", [torch.zeros(SIZE), -torch.ones(SIZE)])
def test_a_map_without_evidence_for_the_class_scores_nothing(heatmap: Tensor) -> None:
    mask = box(0, 0, 12, 15)
    assert pointing(heatmap, mask) == pointing(heatmap, mask, 5.0) == energy_inside(heatmap, mask) == 0
    assert best_iou(heatmap, mask).iou == best_iou(heatmap, mask).threshold == grid_pointing(heatmap, 0) == 0


def test_no_measure_depends_on_the_maps_unit() -> None:
    heatmap, mask = cases()[3]
    assert pointing(7 * heatmap, mask) == pointing(heatmap, mask)
    assert torch.allclose(energy_inside(7 * heatmap, mask), energy_inside(heatmap, mask))
    assert torch.allclose(torch.stack(best_iou(7 * heatmap, mask)), torch.stack(best_iou(heatmap, mask)))


def test_the_tolerance_is_a_circle() -> None:
    mask = box(6, 8, 7, 9)
    for offset, distance in (((0, 3), 3.0), ((3, 4), 5.0), ((2, 2), 8**0.5)):
        heatmap = torch.zeros(SIZE)
        heatmap[6 - offset[0], 8 - offset[1]] = 1
        assert pointing(heatmap, mask, distance - 1e-3) == 0
        assert pointing(heatmap, mask, distance + 1e-3) == 1


def test_a_single_bright_pixel_reaches_its_share_of_the_object() -> None:
    mask, heatmap = box(2, 3, 7, 9), torch.zeros(SIZE)
    heatmap[3, 4] = 5.0
    assert float(best_iou(heatmap, mask).iou) == pytest.approx(1 / 30)
    heatmap[3, 5] = 2.0
    assert tuple(map(float, best_iou(heatmap, mask))) == pytest.approx((2 / 30, 0.4))


def test_the_center_map_finds_what_is_in_the_center() -> None:
    heatmap = center_map(SIZE)
    assert pointing(heatmap, box(4, 6, 8, 10)) == 1 and pointing(heatmap, box(0, 0, 4, 6)) == 0
    assert energy_inside(heatmap, box(4, 6, 8, 10)) > 16 / 192


def test_what_is_refused() -> None:
    heatmap, mask = cases()[0]
    wrongs: list[tuple[Callable[[], object], str]] = [
        (lambda: pointing(heatmap, mask[:6]), "both (..., H, W); received torch.float64 of shape (12, 16)"),
        (lambda: energy_inside(heatmap, mask.float()), "torch.float32 of shape (12, 16)"),
        (lambda: best_iou(heatmap[0], mask[0]), "received torch.float64 of shape (16,)"),
        (lambda: pointing(heatmap, mask & False), "no object is visible"),
        (lambda: pointing(heatmap, mask, -1.0), "at least 0 pixels; received -1.0"),
        (lambda: grid_pointing(heatmap, 4), "from 0 to 3; received 4"),
        (lambda: grid_pointing(heatmap, 0, 5), "5 x 5 cells; received shape (12, 16)"),
    ]
    for wrong, words in wrongs:
        with pytest.raises(ValueError) as error:
            wrong()
        assert words in str(error.value)
