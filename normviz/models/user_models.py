"""Networks of one's own: `NORMVIZ_MODELS="name=package.module:function, ..."` puts them beside the embedded ones.

A function takes nothing and returns a `Classifier`, or an nn.Module that maps images (N, 3, H, W) to logits
(N, classes). Of a module these attributes are read, where it has them:
    classes: the names of the classes; otherwise they are numbered.
    size: pixels a side of its input; otherwise 224.
    mean, std: of each color of pixels in [0, 1]; otherwise those of ImageNet.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normviz.device import device
from normviz.models.classifier import Classifier
from normviz.models.embedded import MEAN, STD
from normviz.models.model_cache import RESIDENT

VARIABLE = "NORMVIZ_MODELS"
SIZE = 224  # pixels a side, where the network does not say
_FORM = re.compile(r"([\w-]+)\s*=\s*([\w.]+):(\w+)", re.ASCII)


def own_models() -> dict[str, str]:
    """The networks that the environment names, as "package.module:function" by name; nothing is imported.

    Raises:
        ValueError: the variable is not written as it must be, or names a network twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        match = _FORM.fullmatch(part)
        if match is None:
            raise ValueError(f"{VARIABLE} must be written as name=package.module:function, ...; received {part!r}")
        if match[1] in found:
            raise ValueError(f"{VARIABLE} names {match[1]!r} twice; give every network a name of its own")
        found[match[1]] = f"{match[2]}:{match[3]}"
    return found


def load_own(name: str, place: str, size: int | None = None) -> Classifier:
    """A network of one's own, made at the first call.

    Args:
        name: its name in NORMVIZ_MODELS.
        place: "package.module:function".
        size: pixels a side of its input; None: what it says itself.

    Raises:
        ValueError: it cannot be imported or made, or it is no image classifier.
    """

    def make() -> tuple[nn.Module, Classifier]:
        classifier = _classifier(name, place)
        # What is kept beside the network must not keep the network: the classifier without it.
        return classifier.model, dataclasses.replace(classifier, model=_NOTHING)

    model, facts = RESIDENT.get(("own", name, place), make)
    return dataclasses.replace(facts, name=name, model=model, size=size or facts.size)


_NOTHING = nn.Identity()


def _classifier(name: str, place: str) -> Classifier:
    """Import, call and check; the network is frozen, in inference mode and on the device then."""
    module, _, function = place.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever a stranger's code raises is told in one sentence
        reason = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"the network {name!r} cannot be made by {place}: {type(error).__name__}: {reason[0]}"
        ) from error
    if isinstance(made, Classifier):
        _freeze(made.model)
        return made
    if not isinstance(made, nn.Module):
        raise ValueError(f"{place} must return an nn.Module or a Classifier; it returned a {type(made).__name__}")
    _freeze(made)
    size = getattr(made, "size", SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size of the network {name!r} must be a whole number of pixels; it is {size!r}")
    mean, std = _three(made, "mean", MEAN, name), _three(made, "std", STD, name)
    if min(std) <= 0:
        raise ValueError(f"std of the network {name!r} must be above 0; it is {std}")
    count = _count(made, size, name)
    classes = tuple(map(str, getattr(made, "classes", range(count))))
    if len(classes) != count or len(set(classes)) != count:
        raise ValueError(
            f"the network {name!r} gives {count} logits, so its classes must be {count} different names; "
            f"it has {len(classes)}"
        )
    return Classifier(name, name.replace("_", " "), made, classes, None, size, mean, std)


def _freeze(model: nn.Module) -> None:
    model.eval().requires_grad_(False).to(device())


def _three(
    model: nn.Module, attribute: str, default: tuple[float, float, float], name: str
) -> tuple[float, float, float]:
    """Three numbers that a network carries, as a sequence or a tensor of any shape."""
    values = getattr(model, attribute, default)
    values = values.flatten().tolist() if isinstance(values, Tensor) else values
    if not isinstance(values, Sequence) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ValueError(f"{attribute} of the network {name!r} must be three numbers, one a color; it is {values!r}")
    red, green, blue = map(float, values)
    return red, green, blue


def _count(model: nn.Module, size: int, name: str) -> int:
    """The number of logits that a network gives for a picture of its size."""
    rule = f"the network {name!r} must map images (1, 3, {size}, {size}) to logits (1, classes)"
    try:
        with torch.no_grad():
            output = model(torch.zeros(1, 3, size, size, device=device()))
    except Exception as error:  # whatever a stranger's code raises is told in one sentence
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{rule}; it failed: {reason[0]}") from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(f"{rule}; it returned {what}")
    return output.shape[1]
