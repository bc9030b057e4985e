"""Targets for models with one output per image: logits, segmentation maps or embeddings.

A target is a callable that maps a model's output for b images to b numbers. The classes here are frozen dataclasses,
so that they can serve as keys, and their string describes the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

Score = Callable[[Any], Tensor]


def logits_of(output: object) -> object:
    """The attribute or entry `logits` of a model's output, or the output itself."""
    return output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)


def check_class(index: int, count: int) -> None:
    """Check that a model with `count` classes has a class of this index.

    Raises:
        ValueError: it has not.
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no class {index}: this model's classes are 0 to {count - 1}")


def _tensor(output: object, ndim: int, shape: str) -> Tensor:
    logits = logits_of(output)
    if not isinstance(logits, Tensor) or logits.ndim != ndim:
        received = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"this target requires an output of shape {shape}; the model returned {received}")
    return logits


@dataclass(frozen=True)
class Difference:
    """The difference of two logits: why one class and not the other?

    Attributes:
        a: the class that is explained.
        b: the class to compare with.
    """

    a: int
    b: int

    def __call__(self, output: object) -> Tensor:
        logits = _tensor(output, 2, "(N, classes)")
        for index in (self.a, self.b):
            check_class(index, logits.shape[1])
        return logits[:, self.a] - logits[:, self.b]  # (N,)

    def __str__(self) -> str:
        return f"class {self.a} and not class {self.b}"


@dataclass(frozen=True, eq=False)
class Region:
    """The logit of a class summed over pixels of a segmentation (Seg-Grad-CAM, Vinogradova et al. 2020, Eq. 2).

    Attributes:
        class_index: the class.
        mask: (h, w), bool, at the resolution of the output: the pixels to sum over; None: those where the class has the
            highest logit.
    """

    class_index: int
    mask: Tensor | None = None

    def __call__(self, output: object) -> Tensor:
        logits = _tensor(output, 4, "(N, classes, h, w)")
        check_class(self.class_index, logits.shape[1])
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
    """The cosine similarity between the embeddings of an image and another image.

    Attributes:
        embedding: (D,), the other image's embedding.
    """

    embedding: Tensor

    def __call__(self, output: object) -> Tensor:
        embeddings = embedding_of(output)  # (N, D)
        if embeddings.shape[1:] != self.embedding.shape:
            raise ValueError(
                f"the embedding must have {embeddings.shape[1]} numbers, like the model's output; "
                f"received {tuple(self.embedding.shape)}"
            )
        return F.cosine_similarity(embeddings, self.embedding[None].to(embeddings), dim=1)  # (N,)

    def __str__(self) -> str:
        return "similarity to the other image"


def embedding_of(output: object) -> Tensor:
    """The embedding (N, D) of each image in a model's output: its pooled features, or the output itself if (N, D).

    Raises:
        ValueError: the output contains neither.
    """
    for name in ("image_embeds", "pooler_output"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value.flatten(1)  # (N, D)
    return _tensor(output, 2, "(N, D), or an object with pooler_output")
