"""Test data of the localization benchmark: scenes, the class to locate in each, and its mask."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from normviz.scenes import CLASSES, SIZE, Scene, make_mosaic, make_scene

Kind = Literal["one", "several", "grid"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OBJECTS = 3  # objects in a scene of kind "several"
FIRST = 90_000_000  # seed of the first scene; training uses smaller seeds
MOSAIC = 4  # questions per mosaic, one for each cell


@dataclass(frozen=True)
class Questions:
    """Images, the class to locate in each, and its mask.

    Attributes:
        kind: scenes with one object, with several objects, or mosaics of four scenes with a question for each cell.
        images: uint8 (N, 3, H, W); a mosaic is repeated for each of its questions.
        labels: (N,) indices of `scenes.CLASSES`.
        masks: bool (N, H, W), the visible pixels of the object, or its cell of the mosaic.
    """

    kind: Kind
    images: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def each(self) -> int:
        """Number of questions per image; their scores are averaged."""
        return MOSAIC if self.kind == "grid" else 1

    @property
    def scenes(self) -> int:
        """Number of different images."""
        return len(self) // self.each

    def first(self, scenes: int) -> Questions:
        """Return the questions of the first `scenes` images."""
        end = scenes * self.each
        return Questions(self.kind, self.images[:end], self.labels[:end], self.masks[:end])


def make_questions(
    kind: Kind, scenes: int, seed: int = FIRST, progress: Callable[[float], None] = lambda share: None
) -> Questions:
    """Generate questions about scenes that are not part of any training set.

    In scenes with several objects, the question is about the first, second or third object in turn. Its class occurs
    once; the other objects are distractors.

    Args:
        kind: "one", "several" or "grid".
        scenes: number of images, at least 1.
        seed: seed of the first scene; a larger number of scenes starts with the same ones.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: if the kind is unknown or there are no scenes.
    """
    if kind not in KINDS:
        raise ValueError(f"the kind must be one of {', '.join(KINDS)}; received {kind!r}")
    if scenes < 1:
        raise ValueError(f"there must be at least one scene; received {scenes}")
    found: list[tuple[Scene, int]] = []
    for index in range(scenes):
        found += _ask(kind, seed + index)
        progress((index + 1) / scenes)
    return Questions(
        kind,
        torch.stack([scene.image for scene, _ in found]),  # (N, 3, H, W)
        torch.tensor([label for _, label in found]),  # (N,)
        torch.stack([scene.mask(label) for scene, label in found]),  # (N, H, W)
    )


def _ask(kind: Kind, seed: int) -> list[tuple[Scene, int]]:
    """Generate a scene, paired with each class that is asked about."""
    if kind == "one":
        scene = make_scene(seed)
        return [(scene, scene.label)]
    if kind == "several":
        scene = make_scene(seed, objects=OBJECTS)
        return [(scene, scene.items[seed % OBJECTS].label)]
    labels = random.Random(seed).sample(range(len(CLASSES)), MOSAIC)
    scene = make_mosaic(seed, labels, size=2 * SIZE)
    return [(scene, label) for label in labels]
