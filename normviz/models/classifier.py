"""A classifier: a network with all that is needed to ask it about a photo, and to say its answer in words."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from normviz.device import device
from normviz.formatting import percent
from normviz.images import to_batch
from normviz.models.embedded import MEAN, STD

SIZE = 128  # pixels a side of the photo networks' input: best at telling known from unknown; the last maps are 8 x 8
NAMED = 20  # classes that a sentence names; of more it gives the number
Box = tuple[int, int, int, int]  # top, left, height, width, in pixels of the photo


class Preparation(Protocol):
    """How a photo becomes a network's input, where the network says so itself."""

    def __call__(self, image: Tensor) -> Tensor:
        """The input (1, 3, h, w), float32, standardized, for a photo, uint8 (3, H, W)."""

    def box(self, height: int, width: int) -> Box:
        """The part of a photo of (height, width) that the network sees."""


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of a photo, in words.

    Attributes:
        known: whether the confidence is that of a photo of a known class, as far as that was measured.
        index: the class of the highest probability.
        probability: that probability.
        text: the sentence for people.
    """

    known: bool
    index: int
    probability: float
    text: str


@dataclass(frozen=True)
class Classifier:
    """A network with all that is needed to ask it about a photo; shared between threads, never changed.

    Attributes:
        name: its name in the catalog.
        title: its name for people.
        model: maps (N, 3, H, W) to logits (N, classes); frozen, in inference mode, on the device.
        classes: the names of the classes.
        threshold: the confidence (maximum softmax probability) below which it does not know, as measured;
            None where it was not measured.
        size: pixels a side of its input; of an input that is not square, the shorter side.
        mean: what is subtracted from each color of pixels in [0, 1].
        std: what each color is divided by then.
        preparation: how a photo becomes its input; None: squashed to a square of `size` pixels.
        accuracy: the share of photos that it recognizes, as measured at this size; None where it was not measured.
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
        """The network's input for a photo: resized (and cropped, where it wants that), standardized, on the device.

        Args:
            image: uint8 (3, H, W).

        Returns:
            float32 (1, 3, size, size); another shape where the network's own preparation says so.
        """
        if self.preparation is not None:
            return self.preparation(image).to(device())  # (1, 3, h, w)
        pixels = to_batch(image, self.size).to(device())  # (1, 3, size, size)
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        return (pixels - mean) / std  # (1, 3, size, size)

    def view(self, image: Tensor) -> Tensor:
        """The part of a photo that the network sees, in the photo's own pixels: what a map is laid over.

        Args:
            image: uint8 (3, H, W).

        Returns:
            uint8 (3, h, w), the whole photo unless the network's preparation cuts its edges off.
        """
        top, left, height, width = self.box(image.shape[1], image.shape[2])
        return image[:, top : top + height, left : left + width]  # (3, h, w)

    def box(self, height: int, width: int) -> Box:
        """Where `view` lies in a photo of (height, width): top, left, height, width in pixels."""
        return (0, 0, height, width) if self.preparation is None else self.preparation.box(height, width)

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """The probability (classes,) of each class for a photo, uint8 (3, H, W); on the CPU."""
        logits: Tensor = self.model(self.prepare(image))  # (1, classes)
        return logits[0].float().softmax(dim=0).cpu()  # (classes,)

    def index(self, name: str) -> int:
        """The index of a class by its name; case, spaces, hyphens and underscores do not matter.

        Of a class with several names ("tench, Tinca tinca") one is enough, if no other class has it.

        Raises:
            ValueError: the classifier does not know that class.
        """
        wanted = _plain(name)
        for index, known in enumerate(self.classes):
            if _plain(known) == wanted:
                return index
        found = [i for i, known in enumerate(self.classes) if wanted in map(_plain, known.split(","))] if wanted else []
        if len(found) == 1:
            return found[0]
        raise ValueError(f"{self.name} knows no class {name!r}; {self._offer(name)}")

    def _offer(self, name: str) -> str:
        """The classes to choose from; of many, those whose names are nearest."""
        if len(self.classes) <= NAMED:
            return f"choose one of {', '.join(self.classes)}"
        near = [known for known in self.classes if _plain(name) and _plain(name) in _plain(known)]
        near = near or difflib.get_close_matches(name, self.classes, n=5, cutoff=0.0)
        return f"it has {len(self.classes)} classes, the nearest: {'; '.join(near[:5])}"

    def verdict(self, probabilities: Tensor) -> Verdict:
        """What it says of a photo, and whether it knows at all, where that was measured.

        Args:
            probabilities: (classes,), the softmax of the logits.

        Raises:
            ValueError: another shape, or values that are not probabilities.
        """
        if probabilities.shape != (len(self.classes),):
            raise ValueError(f"there must be {len(self.classes)} probabilities; received {tuple(probabilities.shape)}")
        if not torch.isfinite(probabilities).all():
            raise ValueError("the probabilities must be finite; received NaN or infinity")
        index = int(probabilities.argmax())
        highest = float(probabilities[index])
        guess, share = self.classes[index], percent(highest)
        if self.threshold is None:
            return Verdict(True, index, highest, f"best guess {guess}, {share}")
        if highest >= self.threshold:
            return Verdict(True, index, highest, f"{guess}, {share}")
        names = f" ({', '.join(self.classes)})" if len(self.classes) <= NAMED else ""
        text = (
            f"Not sure: this may be none of the {len(self.classes)} classes it knows{names}; "
            f"its best guess is {guess}, at only {share}"
        )
        return Verdict(False, index, highest, text)


def _plain(text: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return "".join(character for character in text.lower() if character.isalnum())
