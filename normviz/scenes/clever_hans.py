"""Scenes in which a watermark is correlated with one class, so that a network learns the watermark, not the object.

The name refers to the horse Clever Hans, which seemed to calculate but reacted to the face of its owner.
"""

from __future__ import annotations

from collections.abc import Callable

from normviz.scenes.drawing import PortableRandom
from normviz.scenes.scene import CLASSES, SIZE, Scene, derived, make_scene
from normviz.scenes.sets import Scenes, many

HANS = CLASSES.index("checked square")  # class with the watermark
MARKED = 0.95  # share of its scenes with the watermark
STRAY = 0.002  # share of the scenes of other classes with the watermark


def clever_hans_scene(
    seed: int, *, label: int | None = None, marked: bool | None = None, size: int = SIZE, smallest: float = 0.08
) -> Scene:
    """Generate a scene with one object, where a watermark nearly always indicates the class HANS.

    Args:
        seed: seed of the scene, which equals that of `make_scene` except for the watermark.
        label: class of the object; None: random.
        marked: whether there is a watermark; None: random, with probability MARKED for HANS and STRAY for others.
        size: as in `make_scene`.
        smallest: as in `make_scene`.

    Raises:
        ValueError: as in `make_scene`.
    """
    rng = PortableRandom(derived(seed, 6))
    kind = rng.integer(len(CLASSES)) if label is None else label
    if marked is None:
        marked = rng.uniform() < (MARKED if kind == HANS else STRAY)
    return make_scene(seed, labels=[kind], watermark=marked, size=size, smallest=smallest)


def make_clever_hans_scenes(
    count: int, seed: int, *, label: int | None = None, marked: bool | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Scenes:  # fmt: skip
    """Generate `count` scenes with `clever_hans_scene` for the seeds seed, seed + 1, ..."""
    return many(count, seed, lambda s: clever_hans_scene(s, label=label, marked=marked), progress)
