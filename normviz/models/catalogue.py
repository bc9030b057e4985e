"""The catalogue: which classifiers there are, and what an application needs to know of one."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from normviz.device import device
from normviz.images import to_batch
from normviz.models.photos import ASSETS, MEAN, STD, Measured, read_measured, read_weights

SIZE = 128  # pixels a side of the classifiers' input: best at telling known from unknown; the last maps are 8 x 8
SIZES = (128, 160, 192, 224)  # that are offered: larger ones give finer maps, up to 14 x 14


@dataclass(frozen=True)
class Entry:
    """A classifier that can be loaded: its name, its title for people, and the file of its weights in assets/."""

    name: str
    title: str
    file: str


_ENTRIES = (
    Entry("photos", "11 kinds of photos, batch norm", "photos_batch.safetensors"),
    Entry("photos_group", "11 kinds of photos, group norm", "photos_group.safetensors"),
    Entry("photos_layer", "11 kinds of photos, layer norm", "photos_layer.safetensors"),
    Entry("photos_instance", "11 kinds of photos, instance norm", "photos_instance.safetensors"),
    Entry("photos_none", "11 kinds of photos, no normalization", "photos_none.safetensors"),
)


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of a photo, in words.

    Attributes:
        known: whether the confidence is that of a photo of a known class.
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
        name: its name in the catalogue.
        title: its name for people.
        model: maps (N, 3, H, W) to logits (N, classes); frozen, in inference mode, on the device.
        classes: the names of the classes.
        threshold: the confidence (maximum softmax probability) below which it does not know, as measured.
        size: pixels a side of its input.
        mean: what is subtracted from each colour of pixels in [0, 1].
        std: what each colour is divided by then.
    """

    name: str
    title: str
    model: nn.Module = field(repr=False)
    classes: tuple[str, ...]
    threshold: float
    size: int = SIZE
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def prepare(self, image: Tensor) -> Tensor:
        """The network's input for a photo: squashed to a square, standardized per colour, on the device.

        Args:
            image: uint8 (3, H, W).

        Returns:
            float32 (1, 3, size, size).
        """
        pixels = to_batch(image, self.size).to(device())  # (1, 3, size, size)
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
        return (pixels - mean) / std  # (1, 3, size, size)

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """The probability (classes,) of each class for a photo, uint8 (3, H, W); on the CPU."""
        logits: Tensor = self.model(self.prepare(image))  # (1, classes)
        return logits[0].float().softmax(dim=0).cpu()  # (classes,)

    def index(self, name: str) -> int:
        """The index of a class by its name; case, spaces, hyphens and underscores do not matter.

        Raises:
            ValueError: the classifier does not know that class.
        """

        def plain(text: str) -> str:
            return "".join(character for character in text.lower() if character.isalnum())

        for index, known in enumerate(self.classes):
            if plain(known) == plain(name):
                return index
        raise ValueError(f"{self.name} knows no class {name!r}; choose one of {', '.join(self.classes)}")

    def verdict(self, probabilities: Tensor) -> Verdict:
        """What it says of a photo, and whether it knows at all.

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
        guess, share = self.classes[index], _percent(highest)
        if highest >= self.threshold:
            return Verdict(True, index, highest, f"{guess}, {share}")
        text = (
            f"Not sure: this may be none of the {len(self.classes)} classes it knows ({', '.join(self.classes)}); "
            f"its best guess is {guess}, at only {share}"
        )
        return Verdict(False, index, highest, text)


def _percent(share: float) -> str:
    """A probability in words of percent, never rounded up to certainty."""
    return "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def models() -> tuple[Entry, ...]:
    """The classifiers whose weights are installed, the default first."""
    return tuple(entry for entry in _ENTRIES if (ASSETS / entry.file).exists())


def read_classifier(path: Path, name: str, title: str, size: int = SIZE) -> Classifier:
    """The classifier whose weights lie at `path`, on the device; its network is read once and shared by all sizes.

    Raises:
        ValueError: the weights were never measured at this input size, so that nothing says when it does not know.
    """
    threshold = _measured(path, size).threshold
    model, classes = network(path)
    return Classifier(name, title, model, classes, threshold, size)


@functools.cache
def network(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network stored at `path`, on the device, and the names of its classes; kept for all who ask."""
    model, classes = read_weights(path)
    return model.to(device()), tuple(classes)


def _measured(path: Path, size: int) -> Measured:
    """What the weights at `path` reached at one input size."""
    for one in read_measured(path):
        if one.size == size:
            return one
    raise ValueError(
        f"{path.name} was never measured at {size} pixels; run scripts/train_photos.py DATA --measure-only"
    )


def load_classifier(name: str = "photos", size: int = SIZE) -> Classifier:
    """A classifier of the catalogue; its network is loaded at the first call.

    Args:
        name: the name of one of models().
        size: pixels a side of its input, one of those it was measured at.

    Raises:
        ValueError: no such classifier is installed, or it was not measured at this size.
    """
    for entry in models():
        if entry.name == name:
            return read_classifier(ASSETS / entry.file, entry.name, entry.title, size)
    raise ValueError(f"there is no classifier {name!r}; {_choices(entry.name for entry in models())}")


def _choices(names: Iterable[str]) -> str:
    offered = ", ".join(names)
    return f"choose one of {offered}" if offered else "no weights are installed in assets/"
