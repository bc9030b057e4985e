"""The target picker: a class, the difference between two classes, or the similarity to another photo."""

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
KINDS = {
    "class": "A class",
    "difference": "Difference between two classes",
    "similarity": "Similarity to another photo",
}
HELP_CLASSES = (
    "A class: the evidence for it. Difference between two classes: what distinguishes them, as the difference of their "
    "logits."
)
HELP = f"{HELP_CLASSES} Similarity to another photo: where the photo has features of the other one; no class is needed."
OTHER = "Evidence for both classes cancels; what remains distinguishes the first class from this one."


@dataclass(frozen=True)
class Aim:
    """What a map explains.

    Attributes:
        target: the index of the class.
        other: the index of the class whose logit is subtracted, or None.
        like: the photo to compare with, or None.
    """

    target: int
    other: int | None = None
    like: Photo | None = None


def labels(classifier: Classifier) -> tuple[str, ...]:
    """The names of the classes; a name that several classes have is followed by the index of the class."""
    counts = Counter(classifier.classes)
    return tuple(f"{name} ({i})" if counts[name] > 1 else name for i, name in enumerate(classifier.classes))


def choose(classifier: Classifier, photo: Photo) -> Aim:
    """Draw the list of targets and the lists of classes or the picker of the other photo; return the target."""
    kind = url_widgets.select("Explain", list(KINDS), "class", "aim", text=KINDS.__getitem__, help=HELP)
    if kind == "similarity":
        best = int(map_request.probabilities(classifier, photo).argmax())
        return Aim(best, like=pick("Other photo", "like-", "coffee"))
    return _classes(classifier, photo, kind == "difference")


def choose_classes(classifier: Classifier, photo: Photo) -> Aim:
    """Draw the choice between a class and a difference of two, and the lists of classes; return the target."""
    kinds = [kind for kind in KINDS if kind != "similarity"]
    kind = url_widgets.select("Explain", kinds, "class", "aim", text=KINDS.__getitem__, help=HELP_CLASSES)
    return _classes(classifier, photo, kind == "difference")


def _classes(classifier: Classifier, photo: Photo, two: bool) -> Aim:
    shares, names = map_request.probabilities(classifier, photo), labels(classifier)  # (classes,)
    target = _class("Class", names, "class", TOP, int(shares.argmax()), tooltips.CLASS)
    if not two:
        return Aim(target)
    other = _class("Other class", names, "not", NEXT, _next(shares, target), OTHER)
    if other == target:
        raise ValueError(f"the two classes must differ; received {names[target]} twice: choose another one")
    return Aim(target, other)


def _class(label: str, names: tuple[str, ...], key: str, usual: str, index: int, help: str) -> int:
    """Draw a list of classes whose default, `usual`, stands for `index`; return the index of the chosen class."""
    name = url_widgets.select(label, [usual, *names], usual, key, help=help)
    return index if name == usual else names.index(name)


def _next(shares: Tensor, target: int) -> int:
    """The index of the most probable class other than `target`."""
    order: list[int] = shares.argsort(descending=True).tolist()
    return next(index for index in order if index != target)
