"""Sets of scenes for training and testing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.scenes.scene import SIZE, Scene, make_scene, make_unknown


@dataclass(frozen=True)
class Scenes:
    """Scenes with one object each.

    Attributes:
        images: uint8 (N, 3, H, W).
        labels: (N,) classes; -1 without an object.
        masks: bool (N, H, W), visible pixels of the object.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def gather(scenes: list[Scene]) -> Scenes:
    """Stack scenes with at most one object each."""
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
    """Generate `count` scenes with one object or none, by `make_scene` with the seeds seed, seed + 1, ...

    Args:
        count: number of scenes, at least 1.
        seed: seed of the first scene.
        objects: 1, or 0 for scenes with only clutter.
        size: as in `make_scene`.
        smallest: as in `make_scene`.
        clutter: as in `make_scene`.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: if count is below 1 or an argument is out of range.
    """
    if objects not in (0, 1):
        raise ValueError(f"objects must be 0 or 1, because each scene has one label; received {objects}")

    def make(number: int) -> Scene:
        return make_scene(number, objects=objects, size=size, smallest=smallest, clutter=clutter)

    return many(count, seed, make, progress)


def make_unknowns(
    count: int, seed: int, *, size: int = SIZE, progress: Callable[[float], None] = lambda share: None
) -> Scenes:
    """Generate `count` scenes without a class by `make_unknown`, with labels -1 and empty masks.

    Arguments and errors are those of `make_scenes`.
    """
    return many(count, seed, lambda s: make_unknown(s, size=size), progress)


def many(count: int, seed: int, make: Callable[[int], Scene], progress: Callable[[float], None]) -> Scenes:
    """Stack the scenes that `make` returns for seed, seed + 1, ...; `progress` as in `make_scenes`."""
    if count < 1:
        raise ValueError(f"there must be at least one scene; received {count}")
    scenes = []
    for index in range(count):
        scenes.append(make(seed + index))
        if index % 50 == 49:
            progress((index + 1) / count)
    return gather(scenes)
