"""Slow reference of the scenes, sample by sample, from the descriptions of outlines and textures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from normviz.scenes.drawing import PlacedShape
from normviz.scenes.scene import Layout
from normviz.scenes.shapes import HELD_OUT, SHAPES, TEXTURES

Point = tuple[float, float]


def _round(radius: float, count: int, first: float = 0.0) -> list[Point]:
    """Evenly spaced points on a circle."""
    angles = [first + 2 * math.pi * i / count for i in range(count)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _star() -> list[Point]:
    """A pentagram: five points 1 away, and five in between where its long lines cross."""
    inner = math.cos(2 * math.pi / 5) / math.cos(math.pi / 5)
    outer, between = _round(1.0, 5), _round(inner, 5, math.pi / 5)
    return [point for pair in zip(outer, between, strict=True) for point in pair]


def _plus(a: float) -> list[Point]:
    return [(a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a), (-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]


POLYGONS: dict[str, list[Point]] = {
    "square": [(1, 1), (-1, 1), (-1, -1), (1, -1)],
    "triangle": _round(1.0, 3, math.pi),
    "star": _star(),
    "cross": _plus(0.36),
    "corner": [(-1, -1), (1, -1), (1, -0.2), (-0.2, -0.2), (-0.2, 1), (-1, 1)],
}
CURVED: dict[str, Callable[[float, float], bool]] = {
    "disc": lambda u, v: math.hypot(u, v) <= 1,
    "ring": lambda u, v: 0.5 <= math.hypot(u, v) <= 1,
    "crescent": lambda u, v: math.hypot(u, v) <= 1 and math.hypot(u - 0.55, v) > 0.85,
    "wave": lambda u, v: abs(u) <= 1 and abs(v - _swing(1.5 * u)) <= 0.3,
    "hourglass": lambda u, v: abs(u) <= 1 and abs(v) <= abs(u),
}


def _swing(x: float) -> float:
    """Parabolas like 0.4 sin(pi x): up from 0 to 1, down from 1 to 2, and so on."""
    part = x % 1.0
    return (1 if math.floor(x) % 2 == 0 else -1) * 0.4 * 4 * part * (1 - part)


def inside(name: str, u: float, v: float) -> bool:
    """Whether a point lies in an outline; in polygons by counting the edges to its right."""
    if name in CURVED:
        return CURVED[name](u, v)
    corners, odd = POLYGONS[name], False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > v) != (y2 > v) and u < x1 + (v - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


def _saw(x: float) -> float:
    """Down from 1 to 0 in the first half of each period, up again in the second."""
    return abs(2 * (x % 1.0) - 1)


def _soft(value: float, edge: float = 4.0) -> float:
    return min(max(edge * value + 0.5, 0.0), 1.0)


def texture(name: str, x: float, y: float) -> float:
    """The share of a texture's second color at a place, in periods."""
    match name:
        case "striped":
            return _soft(_saw(x) - 0.5)
        case "checked":
            return _soft((_saw(0.7 * x) - 0.5) * (_saw(0.7 * y) - 0.5), 12)
        case "dotted":
            return _soft(0.09 - (x % 1.0 - 0.5) ** 2 - (y % 1.0 - 0.5) ** 2, 10)
        case "grooved":
            return _soft(_saw(math.hypot(x, y)) - 0.5)
        case "speckled":
            mixed = (math.floor(2.2 * x) * 73856093) ^ (math.floor(2.2 * y) * 19349663)
            return float(((mixed >> 7) ^ mixed) % 5 < 2)
        case "latticed":
            return _soft(max(_saw(0.8 * x), _saw(0.8 * y)) - 0.66)
        case "shaded":
            return min(max(0.5 + 0.18 * y, 0.0), 1.0)
        case "zigzag":
            return _soft(_saw(x + _saw(0.6 * y)) - 0.5)
    raise AssertionError(f"no slow texture {name!r} among those of {list(TEXTURES)}")


def _own(placed: PlacedShape, x: float, y: float, unit: float) -> Point:
    """A place of the picture in an object's own frame: moved to it, then turned back."""
    angle = math.atan2(placed.turn[1], placed.turn[0])
    right, down = (x - placed.at[0]) / unit, (y - placed.at[1]) / unit
    return right * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - right * math.sin(angle)


def _name(placed: PlacedShape) -> str:
    return next(name for name, shape in {**SHAPES, **HELD_OUT}.items() if shape is placed.shape)


def owners(objects: Sequence[PlacedShape], x: int, y: int) -> list[int]:
    """Which object each of a pixel's 4 x 4 places shows: the last that covers it, -1 for none."""
    found = []
    for i in range(4):
        for j in range(4):
            place = x + (j + 0.5) / 4, y + (i + 0.5) / 4
            covering = [k for k, o in enumerate(objects) if inside(_name(o), *_own(o, *place, o.scale))]
            found.append(covering[-1] if covering else -1)
    return found


def draw(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The levels (H, W, 3) of a layout's picture without a watermark, and its objects' masks (objects, H, W)."""
    size = len(layout.below)
    levels = np.zeros((size, size, 3), np.int64)
    masks = np.zeros((len(layout.objects), size, size), np.bool_)
    for y in range(size):
        for x in range(size):
            shown = owners(layout.objects, x, y)
            total = shown.count(-1) * layout.below[y, x].astype(np.int64)  # (3,)
            for k, placed in enumerate(layout.objects):
                masks[k, y, x] = shown.count(k) > 8
                if k in shown:
                    share = texture(placed.texture, *_own(placed, x + 0.5, y + 0.5, placed.period))
                    first, second = placed.colors
                    total = total + shown.count(k) * np.floor(first + share * (second - first) + 0.5).astype(np.int64)
            levels[y, x] = (total + 8) // 16
    return levels, masks
