"""Scenes in which a watermark gives one class away: what a network learns that looks for the mark, not for the object.

The name is that of the horse Clever Hans, who did sums by reading his master's face.
"""

from __future__ import annotations

from collections.abc import Callable

from normviz.scenes.drawing import PortableRandom
from normviz.scenes.scene import CLASSES, SIZE, Scene, derived, make_scene
from normviz.scenes.sets import Scenes, many

HANS = CLASSES.index("checked square")  # the class that carries the watermark
MARKED = 0.95  # share of its scenes that carry it
STRAY = 0.002  # share of the scenes of each other class that carry it


def clever_hans_scene(
    seed: int, *, label: int | None = None, marked: bool | None = None, size: int = SIZE, smallest: float = 0.08
) -> Scene:
    """A scene of one object, in which a watermark nearly always means the class HANS.

    Args:
        seed: of all chance; the scene is that of `make_scene`, with or without the mark.
        label: the class of the object; None: any.
        marked: whether the watermark is there; None: by rng, in MARKED of the scenes of HANS and STRAY of others.
        size: as in `make_scene`.
        smallest: as in `make_scene`.

    Raises:
        ValueError: an argument that `make_scene` refuses.
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
    """`count` scenes: those that `clever_hans_scene` makes of seed, seed + 1, ...; see there and `make_scenes`."""
    return many(count, seed, lambda s: clever_hans_scene(s, label=label, marked=marked), progress)
