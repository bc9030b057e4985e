"""What is explained: a class, a class and not another, or the likeness to another photo."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from normviz.models.catalog import Classifier
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.photo import Photo

TOP, NEXT = "most probable", "next most probable"
KINDS = {"class": "A class", "difference": "One class and not another", "likeness": "Likeness to another photo"}
HELP_OF_TWO = (
    "A class: what speaks for it. One class and not another: what tells them apart, the difference of two logits."
)
HELP = f"{HELP_OF_TWO} Likeness: where the network finds what the other photo has, too; no class is asked about."
NOT = "What speaks for both classes cancels; what is left tells the first from this one."


@dataclass(frozen=True)
class Aim:
    """What is asked about.

    Attributes:
        target: the index of the class.
        other: the class that it is told from, or None.
        like: the photo that the photo is compared with, or None.
    """

    target: int
    other: int | None = None
    like: Photo | None = None


def labels(classifier: Classifier) -> tuple[str, ...]:
    """The names of the classes, each once: where several have one name, their numbers stand behind it."""
    often = Counter(classifier.classes)
    return tuple(f"{name} ({i})" if often[name] > 1 else name for i, name in enumerate(classifier.classes))


def choose(classifier: Classifier, photo: Photo) -> Aim:
    """Draw the choice, and the classes or the second photo."""
    kind = url_widgets.select("What is explained", list(KINDS), "class", "aim", text=KINDS.__getitem__, help=HELP)
    if kind == "likeness":
        best = int(map_request.probabilities(classifier, photo).argmax())
        return Aim(best, like=pick("The other photo", "like-", "coffee"))
    return _classes(classifier, photo, kind == "difference")


def choose_classes(classifier: Classifier, photo: Photo) -> Aim:
    """Draw the choice between one class and the difference of two, and the classes."""
    two = [kind for kind in KINDS if kind != "likeness"]
    kind = url_widgets.select("What is explained", two, "class", "aim", text=KINDS.__getitem__, help=HELP_OF_TWO)
    return _classes(classifier, photo, kind == "difference")


def _classes(classifier: Classifier, photo: Photo, two: bool) -> Aim:
    shares, names = map_request.probabilities(classifier, photo), labels(classifier)  # (classes,)
    target = _class("Class", names, "class", TOP, int(shares.argmax()), tooltips.CLASS)
    if not two:
        return Aim(target)
    other = _class("And not", names, "not", NEXT, _next(shares, target), NOT)
    if other == target:
        raise ValueError(f"the two classes must differ; received {names[target]} twice: choose another one")
    return Aim(target, other)


def _class(label: str, names: tuple[str, ...], key: str, usual: str, index: int, help: str) -> int:
    """Draw a list of classes; the index of the chosen one."""
    wanted = url_widgets.select(label, [usual, *names], usual, key, help=help)
    return index if wanted == usual else names.index(wanted)


def _next(shares: Tensor, target: int) -> int:
    """The most probable class but one."""
    order: list[int] = shares.argsort(descending=True).tolist()
    return next(index for index in order if index != target)
