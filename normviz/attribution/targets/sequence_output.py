"""Targets for models that return a sequence of logits: detectors (boxes) and language models (tokens)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.targets.image_output import logits_of


def _rows(output: object, what: str) -> Tensor:
    """The logits (N, rows, columns) in a model's output."""
    logits = logits_of(output)
    if not isinstance(logits, Tensor) or logits.ndim != 3:
        received = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"this target requires logits (N, {what}); the model returned {received}")
    return logits


def _row(logits: Tensor, index: int, what: str) -> Tensor:
    """The logits (N, columns) of one row."""
    count = logits.shape[1]
    if not -count <= index < count:
        raise ValueError(f"there is no {what} {index}: the model returned {count}, 0 to {count - 1}")
    return logits[:, index]


def _check_column(logits: Tensor, index: int, last: int, what: str) -> None:
    if not 0 <= index <= last:
        raise ValueError(f"there is no {what} {index}: this model's are 0 to {last}")


@dataclass(frozen=True)
class BoxScore:
    """The probability of a class in one of a detector's boxes.

    For detectors such as DETR (Carion et al. 2020, 2005.12872): each query returns a box and logits (classes + 1) for a
    softmax, where the last class means "no object".

    Attributes:
        box: index of the query.
        class_index: the class.
    """

    box: int
    class_index: int

    def __call__(self, output: object) -> Tensor:
        logits = _rows(output, "boxes, classes + 1")  # (N, Q, classes + 1)
        _check_column(logits, self.class_index, logits.shape[2] - 2, "class")
        return _row(logits, self.box, "box").softmax(dim=1)[:, self.class_index]  # (N,)

    def __str__(self) -> str:
        return f"class {self.class_index} in box {self.box}"


@dataclass(frozen=True)
class TokenLogProbability:
    """The log-probability of a token, given the image and the previous tokens.

    Attributes:
        token: id of the token.
        position: output position whose logits predict it, usually that of the previous token; -1: the last.
    """

    token: int
    position: int = -1

    def __call__(self, output: object) -> Tensor:
        logits = _rows(output, "positions, tokens")  # (N, T, V)
        _check_column(logits, self.token, logits.shape[2] - 1, "token")
        return _row(logits, self.position, "position").log_softmax(dim=1)[:, self.token]  # (N,)

    def __str__(self) -> str:
        return f"token {self.token} " + ("next" if self.position == -1 else f"at position {self.position}")


@torch.no_grad()
def strongest_box(output: object) -> BoxScore:
    """The box and class with the highest score in the first image of a detector's output.

    Args:
        output: contains logits (N, Q, classes + 1).

    Raises:
        ValueError: the output contains no such logits.
    """
    scores = _rows(output, "boxes, classes + 1")[0].softmax(dim=1)[:, :-1]  # (Q, classes)
    return BoxScore(*divmod(int(scores.argmax()), scores.shape[1]))
