"""Slow float64 reference of the faithfulness measures, one pixel at a time, from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Score = Callable[[Array], float]  # score of an image (C, H, W)


def order(heatmap: Array, shuffled: list[int]) -> list[int]:
    """Order the pixel indices from most to least relevant; ties keep the order of `shuffled`."""
    values = heatmap.ravel()
    return sorted(shuffled, key=lambda pixel: -values[pixel])  # sorted() is stable


def deletion(
    score: Score, image: Array, heatmap: Array, fill: Array, shuffled: list[int], at: list[int]
) -> list[float]:
    """Petsiuk et al. 2018: remove the most relevant pixels one by one; score after each count in `at`."""
    return _walk(score, image, fill, order(heatmap, shuffled), at)


def insertion(
    score: Score, image: Array, heatmap: Array, blur: Array, shuffled: list[int], at: list[int]
) -> list[float]:
    """Petsiuk et al. 2018: put the most relevant pixels into the blurred image one by one."""
    return _walk(score, blur, image, order(heatmap, shuffled), at)


def _walk(score: Score, start: Array, goal: Array, pixels: list[int], at: list[int]) -> list[float]:
    picture, width, scores = start.copy(), start.shape[2], []
    for done in range(len(pixels) + 1):
        if done in at:
            scores.append(score(picture))
        if done < len(pixels):
            row, column = divmod(pixels[done], width)
            for color in range(len(picture)):
                picture[color, row, column] = goal[color, row, column]
    return scores


def trapezoid(x: list[float], y: list[float]) -> float:
    """Compute the area by the trapezoidal rule."""
    return sum((x[i + 1] - x[i]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1))


def masked_by_map(image: Array, heatmap: Array, dark: Array) -> Array:
    """Chattopadhay et al. 2018: the photo times its map, clipped at 0 and divided by its maximum."""
    top = max(float(heatmap.max()), 0.0)
    picture = dark.copy()
    for color, row, column in np.ndindex(*image.shape):
        light = max(float(heatmap[row, column]), 0.0) / top if top else 0.0
        picture[color, row, column] = light * image[color, row, column] + (1 - light) * dark[color, row, column]
    return picture


def impute(image: Array, hole: NDArray[np.bool_]) -> Array:
    """Rong et al. 2022 without the noise: every removed pixel is the weighted mean of its neighbors; dense solve."""
    colors, height, width = image.shape
    system, known = np.zeros((height * width, height * width)), np.zeros((height * width, colors))
    for row in range(height):
        for column in range(width):
            pixel = row * width + column
            if not hole[row, column]:
                system[pixel, pixel] = 1
                known[pixel] = image[:, row, column]
                continue
            inside = [
                (row + i, column + j, 1 / 6 if i == 0 or j == 0 else 1 / 12)
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
                if (i or j) and 0 <= row + i < height and 0 <= column + j < width
            ]
            total = sum(weight for _, _, weight in inside)
            system[pixel, pixel] = 1
            for i, j, weight in inside:
                system[pixel, i * width + j] -= weight / total
    return np.linalg.solve(system, known).T.reshape(colors, height, width)


def enlarged(heatmap: Array, size: tuple[int, int]) -> Array:
    """Enlarge bilinearly, as with `align_corners=False`."""
    rows, columns = heatmap.shape
    result = np.zeros(size)

    def between(place: int, cells: int, pixels: int) -> tuple[int, int, float]:
        at = min(max((place + 0.5) * cells / pixels - 0.5, 0.0), cells - 1.0)
        return int(at), min(int(at) + 1, cells - 1), at - int(at)

    for row in range(size[0]):
        for column in range(size[1]):
            r0, r1, down = between(row, rows, size[0])
            c0, c1, right = between(column, columns, size[1])
            above = (1 - right) * heatmap[r0, c0] + right * heatmap[r0, c1]
            below = (1 - right) * heatmap[r1, c0] + right * heatmap[r1, c1]
            result[row, column] = (1 - down) * above + down * below
    return result


def blurred(image: Array, std: float) -> Array:
    """Compute the Gaussian mean over all pixels, with weights that add up to 1."""
    colors, height, width = image.shape
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            weight = np.array(
                [
                    [math.exp(-((row - i) ** 2 + (column - j) ** 2) / (2 * std**2)) for j in range(width)]
                    for i in range(height)
                ]
            )
            for color in range(colors):
                result[color, row, column] = (weight * image[color]).sum() / weight.sum()
    return result
