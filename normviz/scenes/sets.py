"""Many scenes at once: what a network learns from, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.scenes.scene import SIZE, Scene, make_scene, make_unknown


@dataclass(frozen=True)
class Scenes:
    """Scenes of one object each.

    Attributes:
        images: uint8 (N, 3, H, W).
        labels: (N,) classes; -1 where there is no object of a class.
        masks: bool (N, H, W), the visible pixels of the object.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def gather(scenes: list[Scene]) -> Scenes:
    """Scenes of at most one object each, stacked."""
    first = [scene.items[0] if scene.items else None for scene in scenes]
    nothing = torch.zeros(scenes[0].image.shape[1:], dtype=torch.bool)  # (H, W)
    return Scenes(
        torch.stack([scene.image for scene in scenes]),  # (N, 3, H, W)
        torch.tensor([item.label if item else -1 for item in first]),  # (N,)
        torch.stack([item.mask if item else nothing for item in first]),  # (N, H, W)
    )


def make_scenes(
    count: int, seed: int, *, objects: int = 1, size: int = SIZE, smallest: float = 0.08, clutter: int = 6,
    progress: Callable[[float], None] = lambda share: None,
) -> Scenes:  # fmt: skip
    """`count` scenes of one object each, or of none: those that `make_scene` makes of seed, seed + 1, ...

    Args:
        count: how many, at least 1.
        seed: of the first.
        objects: 1, or 0 for scenes of clutter alone.
        size: as in `make_scene`.
        smallest: as in `make_scene`.
        clutter: as in `make_scene`.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: no scenes, or an argument outside its range.
    """
    if objects not in (0, 1):
        raise ValueError(f"scenes are stacked by one class each: objects must be 0 or 1; received {objects}")

    def make(number: int) -> Scene:
        return make_scene(number, objects=objects, size=size, smallest=smallest, clutter=clutter)

    return many(count, seed, make, progress)


def make_unknowns(
    count: int, seed: int, *, size: int = SIZE, progress: Callable[[float], None] = lambda share: None
) -> Scenes:
    """`count` scenes of no class: those that `make_unknown` makes of seed, seed + 1, ...; labels -1, masks empty.

    Args and errors are those of `make_scenes`.
    """
    return many(count, seed, lambda s: make_unknown(s, size=size), progress)


def many(count: int, seed: int, make: Callable[[int], Scene], progress: Callable[[float], None]) -> Scenes:
    """The scenes that `make` makes of seed, seed + 1, ..., stacked; `progress` as in `make_scenes`."""
    if count < 1:
        raise ValueError(f"there must be at least one scene; received {count}")
    scenes = []
    for index in range(count):
        scenes.append(make(seed + index))
        if index % 50 == 49:
            progress((index + 1) / count)
    return gather(scenes)
