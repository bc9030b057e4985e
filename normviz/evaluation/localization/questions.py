"""Scenes with the question that is asked of each: where is the object of this class?"""

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
OBJECTS = 3  # in a scene of several
FIRST = 90_000_000  # seed of the first scene: networks learn from smaller ones
MOSAIC = 4  # questions of a mosaic, one for each of its cells


@dataclass(frozen=True)
class Questions:
    """Pictures, the class that is looked for in each, and where it is.

    Attributes:
        kind: one object a scene, several, or a mosaic of four scenes, each of whose cells is asked about.
        images: uint8 (N, 3, H, W); a mosaic stands there once for each of its questions.
        labels: (N,) indices of `scenes.CLASSES`.
        masks: bool (N, H, W): the object's visible pixels, or its cell of the mosaic.
    """

    kind: Kind
    images: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def each(self) -> int:
        """Questions that share a picture; their scores count as one."""
        return MOSAIC if self.kind == "grid" else 1

    @property
    def scenes(self) -> int:
        """How many different pictures there are."""
        return len(self) // self.each

    def first(self, scenes: int) -> Questions:
        """The questions of the first so many pictures."""
        end = scenes * self.each
        return Questions(self.kind, self.images[:end], self.labels[:end], self.masks[:end])


def make_questions(
    kind: Kind, scenes: int, seed: int = FIRST, progress: Callable[[float], None] = lambda share: None
) -> Questions:
    """Questions about generated scenes that no network has learned from.

    In scenes of several objects one of them is asked about, by turns the first, the second, the third: its class
    occurs once, the others are there to be confused with it.

    Args:
        kind: "one", "several" or "grid".
        scenes: how many pictures, at least 1.
        seed: of the first; more scenes begin with the same ones.
        progress: called with the finished share, 0 to 1; may raise to cancel.

    Raises:
        ValueError: an unknown kind, or no scenes.
    """
    if kind not in KINDS:
        raise ValueError(f"the scenes must be one of {', '.join(KINDS)}; received {kind!r}")
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
    """A scene, with each class that is asked about."""
    if kind == "one":
        scene = make_scene(seed)
        return [(scene, scene.label)]
    if kind == "several":
        scene = make_scene(seed, objects=OBJECTS)
        return [(scene, scene.items[seed % OBJECTS].label)]
    labels = random.Random(seed).sample(range(len(CLASSES)), MOSAIC)
    scene = make_mosaic(seed, labels, size=2 * SIZE)
    return [(scene, label) for label in labels]
