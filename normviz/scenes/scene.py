"""Scenes: generated pictures of which it is known, to the pixel, where everything is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.scenes.drawing import (
    FINE,
    FULL,
    Box,
    Levels,
    PlacedShape,
    PortableRandom,
    background,
    composite,
    count_samples,
    random_rotation,
    two_colors,
)
from normviz.scenes.shapes import FRAGMENT, HELD_OUT, SHAPES, TEXTURES, Shape

SIZE = 64  # pixels a side
MOST_OBJECTS = 4
SMALLEST_LIMIT = 0.12  # the smallest objects may not be asked to be larger than this share of the picture
LARGEST = 0.3  # share of the picture that an object may take
SHOWN = 0.6  # share of each object that neither others nor a watermark hide
TRIES = 600  # to find places where enough of every object shows
START_AGAIN = 20  # after so many tries with what lies already

KINDS: tuple[tuple[str, str], ...] = (
    ("striped", "disc"), ("checked", "square"), ("dotted", "triangle"), ("grooved", "ring"),
    ("speckled", "star"), ("latticed", "cross"), ("shaded", "crescent"), ("zigzag", "wave"),
)  # fmt: skip  # texture and outline of each class
CLASSES: tuple[str, ...] = tuple(" ".join(kind) for kind in KINDS)

MARK = (  # the watermark: white (#), dark (.), at 64 pixels one sign a pixel
    "###############",
    "#.###.#.###.###",
    "#..##.#.###.#.#",
    "#.#.#.#.###.###",
    "#.##..##.#.##.#",
    "#.###.##.#.####",
    "#.###.###.####.",
    "###############",
)


@dataclass(frozen=True)
class Item:
    """An object of a scene.

    Attributes:
        label: its class, an index of CLASSES.
        mask: bool (H, W), the pixels of which more than half show it: what hides it is left out.
    """

    label: int
    mask: Tensor


@dataclass(frozen=True)
class Scene:
    """A generated picture, and where everything in it is.

    Attributes:
        image: uint8 (3, H, W).
        items: its objects, from back to front; none in a scene of clutter.
        watermark: bool (H, W), the pixels of the watermark; None where there is none.
    """

    image: Tensor
    items: tuple[Item, ...]
    watermark: Tensor | None

    @property
    def label(self) -> int:
        """The class of the first object."""
        if not self.items:
            raise ValueError("a scene of clutter has no class; make one with objects")
        return self.items[0].label

    def mask(self, label: int) -> Tensor:
        """The pixels, bool (H, W), of all objects of a class; none where there is no such object."""
        found = torch.zeros(self.image.shape[1:], dtype=torch.bool)  # (H, W)
        for item in self.items:
            if item.label == label:
                found |= item.mask
        return found


@dataclass(frozen=True)
class Layout:
    """What is drawn where: all chance of a scene is in it.

    Attributes:
        below: levels (H, W, 3) of the background with its clutter.
        objects: from back to front.
        shown: in how many of its FULL places each pixel shows each object, (H, W) each.
        labels: their classes; -1 for an outline of no class.
        corner: the pixels where a watermark would be.
    """

    below: Levels
    objects: tuple[PlacedShape, ...]
    shown: tuple[NDArray[np.uint16], ...]
    labels: tuple[int, ...]
    corner: Box


def make_scene(
    seed: int,
    *,
    size: int = SIZE,
    objects: int = 1,
    labels: Sequence[int] | None = None,
    smallest: float = 0.08,
    clutter: int = 6,
    watermark: bool = False,
) -> Scene:
    """A generated picture of textured objects on a textured, cluttered background, with exact masks.

    Each class has its own outline and its own texture; colors, rotation, size, place and background are random, and
    the clutter carries the textures of all classes. The same arguments give the same picture on every machine, and
    with a watermark the same picture but for the watermark.

    Args:
        seed: of all rng, at least 0.
        size: pixels a side, a multiple of 32.
        objects: how many objects, of different classes, 0 to 4; with `labels` their number.
        labels: the classes of the objects, from back to front, instead of random ones.
        smallest: share of the picture that each object takes at least; at most 40 % of an object is hidden by others
            and the watermark.
        clutter: how many small fragments of no class lie on the background, 0 to 20.
        watermark: whether a watermark is stamped on the lower left corner.

    Returns:
        The scene.

    Raises:
        ValueError: an argument outside its range, or objects that found no place.
    """
    if labels is None:
        _check(objects=objects)
        labels = PortableRandom(seed=derived(seed, 1)).choose(objects, len(KINDS))
    if not all(0 <= label < len(KINDS) for label in labels):
        raise ValueError(f"labels must be from 0 to {len(KINDS) - 1}; received {list(labels)}")
    kinds = [(KINDS[label][0], SHAPES[KINDS[label][1]]) for label in labels]
    return draw(_lay_out(derived(seed, 0), size, kinds, labels, smallest, clutter), watermark)


def make_unknown(seed: int, *, size: int = SIZE, smallest: float = 0.08, clutter: int = 6) -> Scene:
    """A scene of no class: clutter alone where `seed` is even, else an outline that no class has, with any texture.

    The arguments are those of `make_scene`; the scene has no items.
    """
    rng = PortableRandom(derived(seed, 1))
    texture, outline = list(TEXTURES)[rng.integer(len(TEXTURES))], list(HELD_OUT)[rng.integer(len(HELD_OUT))]
    kinds = [] if seed % 2 == 0 else [(texture, HELD_OUT[outline])]
    return draw(_lay_out(derived(seed, 0), size, kinds, [-1] * len(kinds), smallest, clutter), False)


def make_mosaic(seed: int, labels: Sequence[int], *, size: int = 2 * SIZE) -> Scene:
    """Four scenes of one object each in a square: for the grid pointing game.

    Args:
        seed: of all rng.
        labels: four different classes: upper left, upper right, lower left, lower right.
        size: pixels a side of the whole, a multiple of 64.

    Returns:
        A scene of four items; the mask of each is its whole quarter.

    Raises:
        ValueError: not four different classes, or another argument outside its range.
    """
    if len(labels) != 4 or len(set(labels)) != 4:
        raise ValueError(f"a mosaic needs four different classes; received {list(labels)}")
    if size < 64 or size % 64:
        raise ValueError(f"the size of a mosaic must be a multiple of 64; received {size}")
    image, items, half = torch.empty(3, size, size, dtype=torch.uint8), [], size // 2
    for place, label in enumerate(labels):
        rows, columns = (slice(half * i, half * (i + 1)) for i in divmod(place, 2))
        image[:, rows, columns] = make_scene(derived(seed, 2 + place), size=half, labels=[label]).image
        mask = torch.zeros(size, size, dtype=torch.bool)  # (size, size)
        mask[rows, columns] = True
        items.append(Item(label, mask))
    return Scene(image, tuple(items), None)


def derived(seed: int, purpose: int) -> int:
    """Seeds of several purposes, all different."""
    if seed < 0:
        raise ValueError(f"seed must be at least 0; received {seed}")
    return 8 * seed + purpose


def _check(objects: int = 1, size: int = SIZE, smallest: float = 0.08, clutter: int = 0) -> None:
    if not 0 <= objects <= MOST_OBJECTS:
        raise ValueError(f"a scene has 0 to {MOST_OBJECTS} objects; received {objects}")
    if size < 32 or size % 32:
        raise ValueError(f"size must be a multiple of 32; received {size}")
    if not 0.01 <= smallest <= SMALLEST_LIMIT:
        raise ValueError(f"smallest must be from 0.01 to {SMALLEST_LIMIT}; received {smallest:g}")
    if not 0 <= clutter <= 20:
        raise ValueError(f"clutter must be from 0 to 20 fragments; received {clutter}")


# ---------------------------------------------------------------------------------------------- what is where
def _lay_out(
    seed: int,
    size: int,
    kinds: Sequence[tuple[str, Shape]],
    labels: Sequence[int],
    smallest: float,
    clutter: int,
) -> Layout:
    _check(len(kinds), size, smallest, clutter)
    rng = PortableRandom(seed)
    below = background(rng, size)  # (size, size, 3)
    names = list(TEXTURES)
    for _ in range(clutter):
        fragment = _place(rng, names[rng.integer(len(names))], FRAGMENT, size, rng.uniform(0.002, 0.01))
        box = fragment.box(size)
        below[box] = composite(below[box], fragment.levels(box), count_samples(fragment.places(box)))
    corner = _corner(rng, size)
    placed = _arrange(rng, kinds, size, smallest, corner)
    return Layout(below, placed, visible(placed, size), tuple(labels), corner)


def _arrange(
    rng: PortableRandom, kinds: Sequence[tuple[str, Shape]], size: int, smallest: float, corner: Box
) -> tuple[PlacedShape, ...]:
    """Places for objects, one after the other: each large enough, and enough of each to be seen outside the corner."""
    placed: list[PlacedShape] = []
    areas: list[int] = []
    for attempt in range(TRIES):
        if len(placed) == len(kinds):
            return tuple(placed)
        if attempt % START_AGAIN == START_AGAIN - 1:
            placed, areas = [], []
        largest = max(LARGEST * (1 - attempt / 30), 1.2 * smallest)
        area = rng.uniform(smallest, largest)
        new = _place(rng, *kinds[len(placed)], size, area, placed, 1 + attempt // 3)
        pixels = _area(visible([new], size)[0])
        shown = [_area(count, corner) for count in visible([*placed, new], size)]
        enough = all(part >= SHOWN * whole for part, whole in zip(shown, [*areas, pixels], strict=True))
        if pixels >= smallest * size * size and enough:
            placed, areas = [*placed, new], [*areas, pixels]
    raise ValueError(
        f"{len(kinds)} objects of at least {smallest:.0%} found no place; ask for fewer or for smaller ones"
    )


def _place(
    rng: PortableRandom,
    texture: str,
    shape: Shape,
    size: int,
    area: float,
    others: Sequence[PlacedShape] = (),
    choices: int = 1,
) -> PlacedShape:
    """A shape of an area, as a share of the picture, in any colors, turned any way, somewhere in the picture.

    Of so many random places it takes the one that is farthest from others: one leaves it to chance who hides whom.
    """
    scale = min(round(area / shape.area, 12) ** 0.5, round(0.49 / shape.radius, 12)) * size
    reach = shape.radius * scale
    places = rng.uniforms(2 * choices, reach, size - reach).reshape(-1, 2)  # (choices, 2)
    gaps = [
        (places[:, 0] - other.at[0]) ** 2 + (places[:, 1] - other.at[1]) ** 2  # (choices,)
        for other in others
    ]
    x, y = places[int(np.min(gaps, axis=0).argmax()) if gaps else 0]
    period = rng.uniform(0.075, 0.12) * size
    return PlacedShape(shape, texture, (float(x), float(y)), scale, random_rotation(rng), period, two_colors(rng, 90))


def _corner(rng: PortableRandom, size: int) -> Box:
    """The pixels of the watermark: near the lower left corner."""
    height, width = len(MARK) * size // SIZE, len(MARK[0]) * size // SIZE
    left, gap = (1 + rng.integer(1 + 2 * size // SIZE) for _ in range(2))
    return slice(size - gap - height, size - gap), slice(left, left + width)


# ------------------------------------------------------------------------------------------------ the drawing
def visible(objects: Sequence[PlacedShape], size: int) -> tuple[NDArray[np.uint16], ...]:
    """In how many of its FULL places each pixel shows each object: (size, size) each; later objects hide earlier."""
    owner = np.zeros((FINE * size, FINE * size), np.uint8)
    boxes = [placed.box(size) for placed in objects]
    fine = [tuple(slice(FINE * part.start, FINE * part.stop) for part in box) for box in boxes]
    for index, placed in enumerate(objects):
        owner[fine[index]][placed.places(boxes[index])] = index + 1
    shown = [np.zeros((size, size), np.uint16) for _ in objects]
    for index, count in enumerate(shown):
        count[boxes[index]] = count_samples(owner[fine[index]] == index + 1)
    return tuple(shown)


def _area(count: NDArray[np.uint16], hidden: Box | None = None) -> int:
    """The pixels of which more than half show an object, outside `hidden`."""
    mask = count > FULL // 2
    return int(mask.sum()) - (int(mask[hidden].sum()) if hidden else 0)


def draw(layout: Layout, watermark: bool) -> Scene:
    """The scene of a layout."""
    size = len(layout.below)
    pixels = layout.below.astype(np.uint16)  # (size, size, 3)
    pixels *= (FULL - sum(layout.shown, np.zeros((size, size), np.uint16)))[..., None]
    for placed, count in zip(layout.objects, layout.shown, strict=True):
        box = placed.box(size)
        pixels[box] += count[box][..., None] * placed.levels(box)
    levels = ((pixels + FULL // 2) // FULL).astype(np.uint8)  # (size, size, 3)
    masks = [count > FULL // 2 for count in layout.shown]
    mark = None
    if watermark:
        levels[layout.corner] = _stamped(levels[layout.corner])
        covered = np.zeros((size, size), np.bool_)
        covered[layout.corner] = True
        masks = [mask & ~covered for mask in masks]
        mark = torch.from_numpy(covered)  # (size, size)
    items = tuple(
        Item(label, torch.from_numpy(mask)) for label, mask in zip(layout.labels, masks, strict=True) if label >= 0
    )
    return Scene(torch.from_numpy(levels.transpose(2, 0, 1).copy()), items, mark)


def _stamped(levels: Levels) -> Levels:
    """Levels (h, w, 3) under a watermark that lets a sixth of them through."""
    height, width = levels.shape[:2]
    rows, columns = (np.arange(n) * signs // n for n, signs in ((height, len(MARK)), (width, len(MARK[0]))))
    white = np.array([[sign == "#" for sign in row] for row in MARK])[rows][:, columns]  # (h, w)
    stamp = np.where(white, 245, 25)[..., None]  # (h, w, 1)
    return ((5 * stamp + levels + 3) // 6).astype(np.uint8)
