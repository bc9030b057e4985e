"""Outlines and textures of scenes, as functions of coordinates.

They use only +, -, *, /, sqrt, floor and comparisons, which are rounded identically on all machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]

TAU = 2 * math.pi


@dataclass(frozen=True)
class Shape:
    """An outline around the origin.

    Attributes:
        inside: function of (u, v), broadcast to (h, w), that is true for points inside.
        area: area of the shape.
        radius: largest distance of a point of the shape from the origin.
    """

    inside: Callable[[Numbers, Numbers], Truths]
    area: float
    radius: float


def _directions(count: int) -> list[tuple[float, float]]:
    """Compute evenly spaced unit vectors, rounded so that they are identical on all machines."""
    return [(round(math.cos(TAU * i / count), 12), round(math.sin(TAU * i / count), 12)) for i in range(count)]


def _edges_kept(u: Numbers, v: Numbers, sides: int, apothem: float) -> NDArray[np.uint8]:
    """Count the edges of a regular polygon that have a point on their inner side."""
    kept = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.uint8)
    for x, y in _directions(sides):
        kept += u * x + v * y <= apothem
    return kept


def _disc(u: Numbers, v: Numbers) -> Truths:
    return u * u + v * v <= 1.0


def _square(u: Numbers, v: Numbers) -> Truths:
    return (abs(u) <= 1.0) & (abs(v) <= 1.0)


def _triangle(u: Numbers, v: Numbers) -> Truths:
    return np.equal(_edges_kept(u, v, 3, 0.5), 3)


HOLE = 0.5  # radius of the hole of the ring


def _ring(u: Numbers, v: Numbers) -> Truths:
    far = u * u + v * v
    return (far <= 1.0) & (far >= HOLE * HOLE)


PENTAGON = round(math.cos(TAU / 5), 12)  # apothem of the inner pentagon of a star with radius 1


def _star(u: Numbers, v: Numbers) -> Truths:
    return np.greater_equal(_edges_kept(u, v, 5, PENTAGON), 4)  # a tip lies outside one edge of the pentagon


ARM = 0.36  # half the width of the arms of the cross


def _cross(u: Numbers, v: Numbers) -> Truths:
    along, across = abs(u), abs(v)
    return ((along <= 1.0) & (across <= ARM)) | ((along <= ARM) & (across <= 1.0))


BITE, AWAY = 0.85, 0.55  # radius and center offset of the disc cut out of the crescent


def _crescent(u: Numbers, v: Numbers) -> Truths:
    off = u - AWAY
    return _disc(u, v) & (off * off + v * v > BITE * BITE)


def _lens(a: float, b: float, distance: float) -> float:
    """Compute the area of the intersection of two discs of radius a and b."""
    x = (distance**2 + a**2 - b**2) / (2 * distance)
    y = math.sqrt(a**2 - x**2)
    return a**2 * math.acos(x / a) + b**2 * math.acos((distance - x) / b) - distance * y


SWING, THICK = 0.4, 0.3  # amplitude and half thickness of the wave


def _wave(u: Numbers, v: Numbers) -> Truths:
    phase = 1.5 * u - 2.0 * np.floor((1.5 * u + 1.0) / 2.0)  # in [-1, 1): one and a half waves from u = -1 to 1
    middle = SWING * 4.0 * phase * (1.0 - abs(phase))  # parabolas instead of a sine
    return (abs(u) <= 1.0) & (abs(v - middle) <= THICK)


def _hourglass(u: Numbers, v: Numbers) -> Truths:
    return (abs(u) <= 1.0) & (abs(v) <= abs(u))


def _corner(u: Numbers, v: Numbers) -> Truths:
    return _square(u, v) & ((u <= -0.2) | (v <= -0.2))


CUT = 0.25  # distance from the center at which the clutter discs are cut


def _cut_disc(u: Numbers, v: Numbers) -> Truths:
    return _disc(u, v) & (v <= CUT)


SHAPES = {
    "disc": Shape(_disc, math.pi, 1.0),
    "square": Shape(_square, 4.0, math.sqrt(2)),
    "triangle": Shape(_triangle, 0.75 * math.sqrt(3), 1.0),
    "ring": Shape(_ring, math.pi * (1 - HOLE**2), 1.0),
    "star": Shape(_star, 10 * math.tan(TAU / 20) / (3 - math.tan(TAU / 20) ** 2), 1.0),
    "cross": Shape(_cross, 8 * ARM - 4 * ARM**2, math.hypot(1, ARM)),
    "crescent": Shape(_crescent, math.pi - _lens(1.0, BITE, AWAY), 1.0),
    "wave": Shape(_wave, 4 * THICK, math.hypot(1, SWING + THICK)),
}
HELD_OUT = {  # outlines without a class, unknown to a network trained on the classes
    "hourglass": Shape(_hourglass, 2.0, math.sqrt(2)),
    "corner": Shape(_corner, 4.0 - 1.2**2, math.sqrt(2)),
}
FRAGMENT = Shape(_cut_disc, math.pi - math.acos(CUT) + CUT * math.sqrt(1 - CUT**2), 1.0)  # shape of the clutter


def _zigzag(x: Numbers) -> Numbers:
    """Compute a triangle wave of period 1 from 1 to 0 and back."""
    return abs(2.0 * (x - np.floor(x)) - 1.0)


def _sharp(value: Numbers, edge: float = 4.0) -> Numbers:
    """Compute a step from 0 to 1 at 0 with a soft edge."""
    return np.minimum(np.maximum(edge * value + 0.5, 0.0), 1.0)


def _stripes(x: Numbers, y: Numbers) -> Numbers:
    return _sharp(_zigzag(x) - 0.5) + 0.0 * y


def _checks(x: Numbers, y: Numbers) -> Numbers:
    return _sharp((_zigzag(0.7 * x) - 0.5) * (_zigzag(0.7 * y) - 0.5), 12.0)


def _dots(x: Numbers, y: Numbers) -> Numbers:
    off, over = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    return _sharp(0.09 - off * off - over * over, 10.0)


def _grooves(x: Numbers, y: Numbers) -> Numbers:
    return _sharp(_zigzag(np.sqrt(x * x + y * y)) - 0.5)


def _speckles(x: Numbers, y: Numbers) -> Numbers:
    column, row = (np.floor(2.2 * z).astype(np.int64) for z in (x, y))
    mixed = (column * 73856093) ^ (row * 19349663)
    return (((mixed >> 7) ^ mixed) % 5 < 2).astype(np.float64)


def _lattice(x: Numbers, y: Numbers) -> Numbers:
    return _sharp(np.maximum(_zigzag(0.8 * x), _zigzag(0.8 * y)) - 0.66)


def _shading(x: Numbers, y: Numbers) -> Numbers:
    return np.minimum(np.maximum(0.5 + 0.18 * y, 0.0), 1.0) + 0.0 * x


def _chevrons(x: Numbers, y: Numbers) -> Numbers:
    return _sharp(_zigzag(x + _zigzag(0.6 * y)) - 0.5)


Texture = Callable[[Numbers, Numbers], Numbers]  # share (h, w) of the second color at coordinates in periods
TEXTURES: dict[str, Texture] = {
    "striped": _stripes, "checked": _checks, "dotted": _dots, "grooved": _grooves, "speckled": _speckles,
    "latticed": _lattice, "shaded": _shading, "zigzag": _chevrons,
}  # fmt: skip
