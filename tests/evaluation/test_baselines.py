"""What faithfulness is measured with: maps at the pixels, the baselines to beat, the fills."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage import filters
from torch import Tensor

from normviz.evaluation.baselines import center_map, random_map, sobel_map
from normviz.evaluation.faithfulness.assessment import black_level
from normviz.evaluation.faithfulness.replacements import BLUR, REPLACEMENTS, blurred, replacement_pixels
from normviz.evaluation.pixels import at_pixels
from tests.evaluation.test_faithfulness import BLACK
from tests.reference import evaluation as slow
from tests.support.comparison import identical

pytestmark = pytest.mark.usefixtures("one_thread")


# --- maps at the pixels, and baselines ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(12, 12), (7, 20), (3, 5)])
def test_a_coarse_map_is_enlarged_bilinearly(size: tuple[int, int]) -> None:
    heatmap = torch.randn(3, 5, dtype=torch.float64)
    expected = slow.enlarged(heatmap.numpy(), size)
    np.testing.assert_allclose(at_pixels(heatmap, size).numpy(), expected, rtol=0, atol=1e-12)


def test_colors_of_a_map_at_the_input_are_added_up() -> None:
    heatmap = torch.randn(3, 6, 7)
    torch.testing.assert_close(at_pixels(heatmap, (6, 7)), heatmap[0] + heatmap[1] + heatmap[2])


@pytest.mark.parametrize(
    ("heatmap", "size", "said"),
    [
        (torch.ones(1, 3, 4, 4), (4, 4), "received torch.float32 of shape (1, 3, 4, 4)"),
        (torch.ones(4, 4, dtype=torch.int64), (4, 4), "must be floating point"),
        (torch.full((4, 4), math.nan), (4, 4), "must be finite"),
        (torch.ones(4, 4), (0, 4), "at least 1 pixel"),
    ],
)
def test_what_is_no_map_is_refused(heatmap: Tensor, size: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match="received") as error:
        at_pixels(heatmap, size)
    assert said in str(error.value)


def test_edges_are_those_of_scikit_image() -> None:
    image = torch.rand(3, 9, 14, dtype=torch.float64)
    expected: Any = filters.sobel  # scikit-image says no types
    np.testing.assert_allclose(sobel_map(image).numpy(), expected(image.mean(dim=0).numpy()), rtol=0, atol=1e-12)
    assert not sobel_map(torch.full((3, 5, 5), 7, dtype=torch.uint8)).any()


def test_the_center_is_the_highest_and_falls_outwards() -> None:
    heatmap = center_map((9, 21))
    assert heatmap.shape == (9, 21) and int(heatmap.argmax()) == 4 * 21 + 10 and float(heatmap[4, 10]) == 1
    assert (heatmap[4, :11].diff() > 0).all() and (heatmap[:5, 10].diff() > 0).all()
    assert torch.allclose(heatmap, heatmap.flip(0, 1), rtol=1e-6) and (heatmap > 0).all()


def test_a_random_map_follows_from_its_seed_and_has_the_cells_asked_for() -> None:
    fine, coarse = random_map((40, 40), 5), random_map((40, 40), 5, (4, 4))
    assert identical(fine, random_map((40, 40), 5)) and not identical(fine, random_map((40, 40), 6))
    drawn = torch.rand(4, 4, generator=torch.Generator().manual_seed(5))
    assert identical(coarse, at_pixels(drawn, (40, 40)))
    with pytest.raises(ValueError, match="at least 1 pixel"):
        random_map((4, 4), 0, (0, 2))


# --- fills --------------------------------------------------------------------------------------------------------


def test_blur_is_a_gaussian_mean_with_weights_that_add_up_to_one() -> None:
    image = torch.randn(2, 6, 8, dtype=torch.float64)
    expected = slow.blurred(image.numpy(), BLUR * 8)
    np.testing.assert_allclose(blurred(image).numpy(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(blurred(torch.ones(1, 5, 5)), torch.ones(1, 5, 5))


def test_fills_are_the_mean_color_and_black() -> None:
    image = torch.randn(3, 6, 8)
    torch.testing.assert_close(replacement_pixels(image, "mean")[:, 2, 3], image.flatten(1).mean(dim=1))
    assert replacement_pixels(image, "black", BLACK)[:, 5, 7].tolist() == pytest.approx(BLACK)
    assert identical(replacement_pixels(image, "blur"), blurred(image))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert [v * s + m for v, s, m in zip(black_level(mean, std), std, mean, strict=True)] == pytest.approx([0, 0, 0])
    with pytest.raises(ValueError, match="one value for each of the 3 colors"):
        replacement_pixels(image, "black")
    with pytest.raises(ValueError, match="one of mean, blur, black"):
        replacement_pixels(image, "pink")  # type: ignore[arg-type]


def test_every_fill_has_words() -> None:
    assert list(REPLACEMENTS) == ["mean", "blur", "black"]
