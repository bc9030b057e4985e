"""Image classifiers: a network together with its classes, its preprocessing and the wording of its answers."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from normviz.device import device
from normviz.formatting import percent
from normviz.images import destandardize, to_batch, to_uint8
from normviz.models.embedded import MEAN, STD

SIZE = 128  # default input side in pixels: best at telling known from unknown photos; the last maps are 8 x 8
NAMED = 20  # a sentence lists the classes if there are at most this many
Box = tuple[int, int, int, int]  # top, left, height, width, in pixels of the photo


class Preparation(Protocol):
    """Preprocessing that belongs to a network."""

    def __call__(self, image: Tensor) -> Tensor:
        """The standardized input (1, 3, h, w), float32, of a photo, uint8 (3, H, W)."""

    def box(self, height: int, width: int) -> Box:
        """The part of a photo of (height, width) that reaches the network."""


@dataclass(frozen=True)
class Verdict:
    """The prediction of a classifier for one photo, with a sentence for display.

    Attributes:
        known: whether the confidence reaches the classifier's threshold; True if no threshold was measured.
        index: index of the class with the highest probability.
        probability: that probability.
        text: a sentence for display.
    """

    known: bool
    index: int
    probability: float
    text: str


@dataclass(frozen=True)
class Classifier:
    """A network with its classes and preprocessing; immutable, shared between threads.

    Attributes:
        name: its name in the catalog.
        title: display name.
        model: maps (N, 3, H, W) to logits (N, classes); frozen, in inference mode, on the device.
        classes: the names of the classes.
        threshold: confidence (maximum softmax probability) below which a photo counts as unknown; None if it was not
            measured.
        size: side of its input in pixels; the shorter side if the input is not square.
        mean: mean of each color, subtracted from pixels in [0, 1].
        std: standard deviation of each color, by which the difference is divided.
        preparation: preprocessing of its own; None: photos are resized to a square of `size` pixels.
        accuracy: top-1 accuracy measured at this size, 0 to 1; None if it was not measured.
    """

    name: str
    title: str
    model: nn.Module = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    threshold: float | None = None
    size: int = SIZE
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    preparation: Preparation | None = None
    accuracy: float | None = None

    def prepare(self, image: Tensor) -> Tensor:
        """The network's input for a photo: resized, cropped if the preprocessing crops, standardized, on the device.

        Args:
            image: uint8 (3, H, W).

        Returns:
            float32 (1, 3, size, size), or (1, 3, h, w) as defined by `preparation`.
        """
        if self.preparation is not None:
            return self.preparation(image).to(device())  # (1, 3, h, w)
        pixels = to_batch(image, self.size).to(device())  # (1, 3, size, size)
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        return (pixels - mean) / std  # (1, 3, size, size)

    def pixels(self, inputs: Tensor) -> Tensor:
        """Network inputs (..., 3, h, w) as uint8 pixels of the same shape; values outside the range are clamped."""
        return to_uint8(destandardize(inputs, self.mean, self.std))  # (..., 3, h, w)

    def view(self, image: Tensor) -> Tensor:
        """The part of a photo that reaches the network, at the photo's resolution; maps are drawn over it.

        Args:
            image: uint8 (3, H, W).

        Returns:
            uint8 (3, h, w): the whole photo, unless the preprocessing crops it.
        """
        top, left, height, width = self.box(image.shape[1], image.shape[2])
        return image[:, top : top + height, left : left + width]  # (3, h, w)

    def box(self, height: int, width: int) -> Box:
        """The position of `view` in a photo of (height, width): top, left, height, width in pixels."""
        return (0, 0, height, width) if self.preparation is None else self.preparation.box(height, width)

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """The softmax probabilities (classes,) for a photo, uint8 (3, H, W); on the CPU."""
        logits: Tensor = self.model(self.prepare(image))  # (1, classes)
        return logits[0].float().softmax(dim=0).cpu()  # (classes,)

    def index(self, name: str) -> int:
        """The index of a class by name; case, spaces, hyphens and underscores are ignored.

        One of several names of a class ("tench, Tinca tinca") suffices if no other class has it.

        Raises:
            ValueError: there is no such class.
        """
        wanted = _simplified(name)
        for index, label in enumerate(self.classes):
            if _simplified(label) == wanted:
                return index
        several = ((i, map(_simplified, label.split(","))) for i, label in enumerate(self.classes))
        matches = [i for i, names in several if wanted and wanted in names]
        if len(matches) == 1:
            return matches[0]
        raise ValueError(f"{self.name} has no class {name!r}; {self._suggest(name)}")

    def _suggest(self, name: str) -> str:
        """The classes to choose from; if there are many, those with the most similar names."""
        if len(self.classes) <= NAMED:
            return f"choose one of {', '.join(self.classes)}"
        near = [label for label in self.classes if _simplified(name) and _simplified(name) in _simplified(label)]
        near = near or difflib.get_close_matches(name, self.classes, n=5, cutoff=0.0)
        return f"it has {len(self.classes)} classes, the closest: {'; '.join(near[:5])}"

    def verdict(self, probabilities: Tensor) -> Verdict:
        """The prediction for a photo, and whether its confidence reaches the threshold.

        Args:
            probabilities: (classes,), the softmax of the logits.

        Raises:
            ValueError: wrong shape, or NaN or infinity.
        """
        if probabilities.shape != (len(self.classes),):
            raise ValueError(
                f"probabilities must have shape ({len(self.classes)},); received {tuple(probabilities.shape)}"
            )
        if not torch.isfinite(probabilities).all():
            raise ValueError("probabilities must be finite; received NaN or infinity")
        index = int(probabilities.argmax())
        highest = float(probabilities[index])
        guess, share = self.classes[index], percent(highest)
        if self.threshold is None:
            return Verdict(True, index, highest, f"best guess {guess}, {share}")
        if highest >= self.threshold:
            return Verdict(True, index, highest, f"{guess}, {share}")
        names = f" ({', '.join(self.classes)})" if len(self.classes) <= NAMED else ""
        text = (
            f"Not sure: this may be none of its {len(self.classes)} classes{names}; "
            f"the best guess is {guess}, with only {share}"
        )
        return Verdict(False, index, highest, text)


def _simplified(text: str) -> str:
    """A name in lower case, letters and digits only."""
    return "".join(character for character in text.lower() if character.isalnum())
