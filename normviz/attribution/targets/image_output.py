"""What can be explained besides a class: any scalar that is computed from the model's output.

A target is a callable: it takes what the model returns for b images and gives b numbers. The classes here are
frozen, so that a target can be a key, and say in words what they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

Score = Callable[[Any], Tensor]


def logits_of(output: object) -> object:
    """What a model's output holds as `logits`, or the output itself."""
    return output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)


def _tensor(output: object, ndim: int, shape: str) -> Tensor:
    logits = logits_of(output)
    if not isinstance(logits, Tensor) or logits.ndim != ndim:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"this target needs an output of shape {shape}; the model returned {found}")
    return logits


@dataclass(frozen=True)
class Difference:
    """Why one class and not another: the difference of two logits.

    Attributes:
        a: the class that is explained.
        b: the class that it is told from.
    """

    a: int
    b: int

    def __call__(self, output: object) -> Tensor:
        logits = _tensor(output, 2, "(N, classes)")
        for index in (self.a, self.b):
            if not 0 <= index < logits.shape[1]:
                raise ValueError(f"there is no class {index}: this model's classes are 0 to {logits.shape[1] - 1}")
        return logits[:, self.a] - logits[:, self.b]  # (N,)

    def __str__(self) -> str:
        return f"class {self.a} and not class {self.b}"


@dataclass(frozen=True, eq=False)
class Region:
    """A class in a segmentation: the sum of its logit over pixels (Seg-Grad-CAM, Vinogradova et al. 2020, Eq. 2).

    Attributes:
        class_index: the class.
        mask: (h, w), bool, in the size of the output: the pixels that count; None: those where the class is the
            strongest.
    """

    class_index: int
    mask: Tensor | None = None

    def __call__(self, output: object) -> Tensor:
        logits = _tensor(output, 4, "(N, classes, h, w)")
        if not 0 <= self.class_index < logits.shape[1]:
            raise ValueError(
                f"there is no class {self.class_index}: this model's classes are 0 to {logits.shape[1] - 1}"
            )
        if self.mask is not None and self.mask.shape != logits.shape[2:]:
            raise ValueError(
                f"the mask must have the size of the output, {tuple(logits.shape[2:])}; "
                f"received {tuple(self.mask.shape)}"
            )
        chosen = logits.argmax(dim=1) == self.class_index if self.mask is None else self.mask.to(logits.device)
        return (logits[:, self.class_index] * chosen).sum(dim=(1, 2))  # (N,)

    def __str__(self) -> str:
        return f"the pixels of class {self.class_index}"


@dataclass(frozen=True, eq=False)
class Similarity:
    """Why two pictures look alike to the network: the cosine of its output with that of another picture.

    Attributes:
        embedding: (D,), the other picture's output.
    """

    embedding: Tensor

    def __call__(self, output: object) -> Tensor:
        found = embedding_of(output)  # (N, D)
        if found.shape[1:] != self.embedding.shape:
            raise ValueError(
                f"the embedding must have {found.shape[1]} numbers, as the model's; "
                f"received {tuple(self.embedding.shape)}"
            )
        return F.cosine_similarity(found, self.embedding[None].to(found), dim=1)  # (N,)

    def __str__(self) -> str:
        return "similarity to the other picture"


def embedding_of(output: object) -> Tensor:
    """What a model says of each image as one vector (N, D): its pooled features, or its output where that is flat.

    Raises:
        ValueError: the output holds neither.
    """
    for name in ("image_embeds", "pooler_output"):
        held = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(held, Tensor):
            return held.flatten(1)  # (N, D)
    return _tensor(output, 2, "(N, D), or an object with pooler_output")
