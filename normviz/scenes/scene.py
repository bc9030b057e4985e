"""Generation of scenes: images with objects and exact masks."""

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

SIZE = 64  # side in pixels
MOST_OBJECTS = 4
SMALLEST_LIMIT = 0.12  # upper bound of the argument `smallest`
LARGEST = 0.3  # largest share of the image for one object
SHOWN = 0.6  # smallest visible share of each object
TRIES = 600  # attempts to place all objects
START_AGAIN = 20  # attempts before all objects are placed again

KINDS: tuple[tuple[str, str], ...] = (
    ("striped", "disc"), ("checked", "square"), ("dotted", "triangle"), ("grooved", "ring"),
    ("speckled", "star"), ("latticed", "cross"), ("shaded", "crescent"), ("zigzag", "wave"),
)  # fmt: skip  # texture and outline of each class
CLASSES: tuple[str, ...] = tuple(" ".join(kind) for kind in KINDS)

MARK = (  # the watermark: white (#) and dark (.); one character per pixel at 64 pixels
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
        label: class, an index of CLASSES.
        mask: bool (H, W), pixels in which it covers more than half; hidden pixels are excluded.
    """

    label: int
    mask: Tensor


@dataclass(frozen=True)
class Scene:
    """A generated image with its objects and masks.

    Attributes:
        image: uint8 (3, H, W).
        items: objects from back to front; empty for a scene with only clutter.
        watermark: bool (H, W), pixels of the watermark; None without a watermark.
    """

    image: Tensor
    items: tuple[Item, ...]
    watermark: Tensor | None

    @property
    def label(self) -> int:
        """The class of the first object."""
        if not self.items:
            raise ValueError("a scene without objects has no class: generate one with objects")
        return self.items[0].label

    def mask(self, label: int) -> Tensor:
        """Compute the mask, bool (H, W), of all objects of a class; empty if there are none."""
        found = torch.zeros(self.image.shape[1:], dtype=torch.bool)  # (H, W)
        for item in self.items:
            if item.label == label:
                found |= item.mask
        return found


@dataclass(frozen=True)
class Layout:
    """All random choices of a scene.

    Attributes:
        below: levels (H, W, 3) of the background with clutter.
        objects: from back to front.
        shown: (H, W) per object, number of visible samples (of FULL) in each pixel.
        labels: classes of the objects; -1 for an outline without a class.
        corner: pixels of the watermark, whether it is drawn or not.
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
    """Generate textured objects on a textured background with clutter, and exact masks.

    Each class has its own outline and texture. Colors, rotation, size, position and background are random, and the
    clutter has the textures of all classes. The same arguments give the same image on every machine; the watermark does
    not change other pixels.

    Args:
        seed: random seed, at least 0.
        size: side in pixels, a multiple of 32.
        objects: number of objects of different classes, 0 to 4; ignored if `labels` is given.
        labels: classes of the objects from back to front; None: random.
        smallest: smallest share of the image for each object; at most 40% of an object is hidden.
        clutter: number of small fragments without a class on the background, 0 to 20.
        watermark: whether to draw a watermark in the lower left corner.

    Returns:
        The scene.

    Raises:
        ValueError: if an argument is out of range or the objects cannot be placed.
    """
    if labels is None:
        _check(objects=objects)
        labels = PortableRandom(seed=derived(seed, 1)).choose(objects, len(KINDS))
    if not all(0 <= label < len(KINDS) for label in labels):
        raise ValueError(f"labels must be from 0 to {len(KINDS) - 1}; received {list(labels)}")
    kinds = [(KINDS[label][0], SHAPES[KINDS[label][1]]) for label in labels]
    return draw(_lay_out(derived(seed, 0), size, kinds, labels, smallest, clutter), watermark)


def make_unknown(seed: int, *, size: int = SIZE, smallest: float = 0.08, clutter: int = 6) -> Scene:
    """Generate a scene without a class: only clutter if `seed` is even, else an object with an unknown outline.

    The arguments are those of `make_scene`; the scene has no items.
    """
    rng = PortableRandom(derived(seed, 1))
    texture, outline = list(TEXTURES)[rng.integer(len(TEXTURES))], list(HELD_OUT)[rng.integer(len(HELD_OUT))]
    kinds = [] if seed % 2 == 0 else [(texture, HELD_OUT[outline])]
    return draw(_lay_out(derived(seed, 0), size, kinds, [-1] * len(kinds), smallest, clutter), False)


def make_mosaic(seed: int, labels: Sequence[int], *, size: int = 2 * SIZE) -> Scene:
    """Arrange four scenes with one object each in a square, for the grid pointing game.

    Args:
        seed: random seed.
        labels: four different classes: upper left, upper right, lower left, lower right.
        size: side of the mosaic in pixels, a multiple of 64.

    Returns:
        A scene with four items; the mask of each is its quarter of the image.

    Raises:
        ValueError: if there are not four different classes, or another argument is out of range.
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
    """Derive a different seed for each purpose."""
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


# Placement
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
    """Place objects one after the other: large enough, and sufficiently visible outside the corner."""
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
        f"{len(kinds)} objects of at least {smallest:.0%} could not be placed: use fewer or smaller objects"
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
    """Draw position, rotation, colors and period of a shape with a given area (a share of the image).

    Of `choices` random positions, the one farthest from the other objects is used.
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
    """Choose the pixels of the watermark, near the lower left corner."""
    height, width = len(MARK) * size // SIZE, len(MARK[0]) * size // SIZE
    left, gap = (1 + rng.integer(1 + 2 * size // SIZE) for _ in range(2))
    return slice(size - gap - height, size - gap), slice(left, left + width)


# Drawing
def visible(objects: Sequence[PlacedShape], size: int) -> tuple[NDArray[np.uint16], ...]:
    """Count the visible samples of each object in each pixel, (size, size) each; later objects hide earlier ones."""
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
    """Count the pixels outside `hidden` in which an object covers more than half."""
    mask = count > FULL // 2
    return int(mask.sum()) - (int(mask[hidden].sum()) if hidden else 0)


def draw(layout: Layout, watermark: bool) -> Scene:
    """Draw the scene of a layout."""
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
    """Blend levels (h, w, 3) with the watermark, which has an opacity of 5/6."""
    height, width = levels.shape[:2]
    rows, columns = (np.arange(n) * signs // n for n, signs in ((height, len(MARK)), (width, len(MARK[0]))))
    white = np.array([[sign == "#" for sign in row] for row in MARK])[rows][:, columns]  # (h, w)
    stamp = np.where(white, 245, 25)[..., None]  # (h, w, 1)
    return ((5 * stamp + levels + 3) // 6).astype(np.uint8)
