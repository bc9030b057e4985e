"""Drawing of scenes: random numbers, pixel coverage, textures and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normviz.scenes.shapes import TEXTURES, Numbers, Shape, Truths

FINE = 4  # a pixel is sampled at FINE x FINE positions
FULL = FINE * FINE
Levels = NDArray[np.uint8]
Box = tuple[slice, slice]  # rows and columns of a picture


class PortableRandom:
    """Random numbers from the raw bits of PCG64, identical on all machines and library versions."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)
        self._drawn = np.empty(0)  # drawn in large blocks, which is faster

    def uniforms(self, count: int, low: float = 0.0, high: float = 1.0) -> Numbers:
        """Draw (count,) numbers from low to high."""
        if count > len(self._drawn):
            raw = self._bits.random_raw(max(count, 1024))
            self._drawn = np.concatenate([self._drawn, (raw >> np.uint64(11)) * 2.0**-53])
        taken, self._drawn = self._drawn[:count], self._drawn[count:]
        return taken * (high - low) + low

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw one number from low to high."""
        return float(self.uniforms(1, low, high)[0])

    def integer(self, count: int) -> int:
        """Draw an integer from 0 to count - 1."""
        return int(self.uniform() * count)

    def choose(self, count: int, of: int) -> list[int]:
        """Draw `count` different integers from 0 to of - 1, in random order."""
        return [int(i) for i in np.argsort(self.uniforms(of), kind="stable")[:count]]


@dataclass(frozen=True)
class PlacedShape:
    """A textured shape with position, scale and rotation.

    Attributes:
        shape: outline.
        texture: name of the texture.
        at: x and y of the center, in pixels.
        scale: pixels per unit of the outline.
        turn: cosine and sine of the rotation.
        period: pixels per period of the texture.
        colors: (2, 3) the two colors of the texture, levels from 0 to 255.
    """

    shape: Shape
    texture: str
    at: tuple[float, float]
    scale: float
    turn: tuple[float, float]
    period: float
    colors: Numbers

    def box(self, size: int) -> Box:
        """Return its bounding box, clipped to the image."""
        reach = self.shape.radius * self.scale
        ends = [(max(int(c - reach), 0), min(int(c + reach) + 1, size)) for c in self.at]
        return slice(*ends[1]), slice(*ends[0])

    def places(self, box: Box) -> Truths:
        """Compute which samples of the box it covers, FINE x FINE per pixel."""
        return self.shape.inside(*coordinates(box, FINE, self.at, self.turn, self.scale))

    def levels(self, box: Box) -> Levels:
        """Compute its texture (h, w, 3) on the pixels of the box."""
        return blend(self.colors, TEXTURES[self.texture](*coordinates(box, 1, self.at, self.turn, self.period)))


def coordinates(
    box: Box, fine: int, at: tuple[float, float], turn: tuple[float, float], unit: float
) -> tuple[Numbers, Numbers]:
    """Compute the coordinates of samples of a box in a rotated and scaled frame.

    Args:
        box: the pixels.
        fine: samples along each side of a pixel, evenly spaced.
        at: x and y of the origin of the frame, in pixels.
        turn: cosine and sine of the rotation.
        unit: pixels per unit of the frame.

    Returns:
        Two arrays of coordinates, (fine h, fine w) each.
    """
    rows = np.arange(0.5, fine * (box[0].stop - box[0].start)) * (1.0 / fine) + (box[0].start - at[1])  # (fine h,)
    columns = np.arange(0.5, fine * (box[1].stop - box[1].start)) * (1.0 / fine) + (box[1].start - at[0])  # (fine w,)
    cos, sin = turn[0] / unit, turn[1] / unit
    return (columns * cos)[None] + (rows * sin)[:, None], (rows * cos)[:, None] - (columns * sin)[None]


def random_rotation(rng: PortableRandom) -> tuple[float, float]:
    """Draw the cosine and sine of a random angle without trigonometry, whose rounding differs between machines."""
    half, side = (float(z) for z in rng.uniforms(2, -1, 1))
    sign = 1 if side < 0 else -1
    return sign * (1 - half * half) / (1 + half * half), sign * 2 * half / (1 + half * half)


def two_colors(rng: PortableRandom, apart: float) -> Numbers:
    """Draw two colors (2, 3) that differ in brightness by at least `apart` levels, at most 128."""
    while True:
        pairs = rng.uniforms(48, 0, 255).reshape(8, 2, 3)  # (8, 2, 3)
        brightness = 0.3 * pairs[..., 0] + 0.59 * pairs[..., 1] + 0.11 * pairs[..., 2]  # (8, 2)
        fitting: Numbers = pairs[abs(brightness[:, 0] - brightness[:, 1]) >= apart]  # (some, 2, 3)
        if len(fitting):
            first: Numbers = fitting[0]  # (2, 3)
            return first


def blend(colors: Numbers, share: Numbers) -> Levels:
    """Interpolate between two colors (2, 3) by the share (h, w) of the second: (h, w, 3)."""
    mixed = colors[0] + share[..., None] * (colors[1] - colors[0])  # (h, w, 3)
    levels: Levels = (mixed + 0.5).astype(np.uint8)  # (h, w, 3)
    return levels


def count_samples(places: Truths) -> NDArray[np.uint16]:
    """Count the true samples (FINE h, FINE w) of each pixel: (h, w)."""
    bits = places.view(np.uint8)
    rows = sum(bits[i::FINE] for i in range(1, FINE)) + bits[::FINE]  # (h, FINE w)
    return (sum(rows[:, i::FINE] for i in range(1, FINE)) + rows[:, ::FINE]).astype(np.uint16)  # (h, w)


def composite(below: Levels, above: Levels, places: NDArray[np.uint16]) -> Levels:
    """Composite `above` over `below` (h, w, 3), where `above` covers `places` (h, w) of FULL samples per pixel."""
    covered = places[..., None]  # (h, w, 1)
    return ((covered * above + (FULL - covered) * below + FULL // 2) // FULL).astype(np.uint8)


def smooth(rng: PortableRandom, cells: int, size: int) -> Numbers:
    """Draw a smooth random field (size, size) in [0, 1], bilinear between the knots of a grid of cells."""
    knots = rng.uniforms((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    at = (np.arange(size) + 0.5) * (cells / size)  # (size,)
    low = np.floor(at).astype(np.int64)  # (size,)
    part = at - low  # (size,)
    rows = knots[low] + part[:, None] * (knots[low + 1] - knots[low])  # (size, cells + 1)
    field: Numbers = rows[:, low] + part * (rows[:, low + 1] - rows[:, low])  # (size, size)
    return field


def background(rng: PortableRandom, size: int) -> Levels:
    """Draw a background (size, size, 3): two colors in patches and grain, half of the time with a faint pattern."""
    colors = two_colors(rng, 20)
    share = 0.75 * smooth(rng, 2 + rng.integer(4), size) + 0.25 * smooth(rng, size // 3, size)  # (size, size)
    if rng.integer(2):
        texture = TEXTURES[sorted(TEXTURES)[rng.integer(len(TEXTURES))]]
        everywhere = (slice(0, size), slice(0, size))
        period = rng.uniform(0.14, 0.3) * size
        pattern = texture(*coordinates(everywhere, 1, (0.0, 0.0), random_rotation(rng), period))  # (size, size)
        share = 0.7 * share + 0.3 * pattern
    return blend(colors, share)
