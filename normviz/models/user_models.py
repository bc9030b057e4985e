"""Classifiers defined by the user: `NORMVIZ_MODELS="name=package.module:function, ..."` adds them to the catalog.

Each function takes no arguments and returns a `Classifier`, or an nn.Module that maps images (N, 3, H, W) to logits
(N, classes). Optional attributes of such a module:
    classes: names of the classes; default: their indices.
    size: side of the input in pixels; default: 224.
    mean, std: of each color of pixels in [0, 1]; default: those of ImageNet.
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
from normviz.models.model_cache import MODEL_CACHE

VARIABLE = "NORMVIZ_MODELS"
SIZE = 224  # default input side in pixels
_FORM = re.compile(r"([\w-]+)\s*=\s*([\w.]+):(\w+)", re.ASCII)


def user_models() -> dict[str, str]:
    """The user models, as "package.module:function" by name; nothing is imported.

    Raises:
        ValueError: NORMVIZ_MODELS is malformed, or defines a name twice.
    """
    paths: dict[str, str] = {}
    for part in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        match = _FORM.fullmatch(part)
        if match is None:
            raise ValueError(f"{VARIABLE} must be written as name=package.module:function, ...; received {part!r}")
        if match[1] in paths:
            raise ValueError(f"{VARIABLE} defines {match[1]!r} twice; give each network its own name")
        paths[match[1]] = f"{match[2]}:{match[3]}"
    return paths


def load_user_model(name: str, import_path: str, size: int | None = None) -> Classifier:
    """Load a user model; the network is created by the first call and cached.

    Args:
        name: its name in NORMVIZ_MODELS.
        import_path: "package.module:function".
        size: side of the input in pixels; None: the size defined by the network.

    Raises:
        ValueError: importing or calling the function fails, or the result is not an image classifier.
    """

    def make() -> tuple[nn.Module, Classifier]:
        classifier = _classifier(name, import_path)
        # The cached metadata must not keep the network alive, so it holds the classifier without it.
        return classifier.model, dataclasses.replace(classifier, model=_NOTHING)

    model, metadata = MODEL_CACHE.get(("user", name, import_path), make)
    return dataclasses.replace(metadata, name=name, model=model, size=size or metadata.size)


_NOTHING = nn.Identity()


def _classifier(name: str, import_path: str) -> Classifier:
    """Import and call the function, and check its result; the network is frozen, in inference mode, on the device."""
    module, _, function = import_path.partition(":")
    try:
        created = getattr(importlib.import_module(module), function)()
    except Exception as error:  # user code may raise anything
        raise ValueError(
            f"the network {name!r} cannot be created by {import_path}: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if isinstance(created, Classifier):
        _freeze(created.model)
        return created
    if not isinstance(created, nn.Module):
        raise ValueError(
            f"{import_path} must return an nn.Module or a Classifier; it returned a {type(created).__name__}"
        )
    _freeze(created)
    size = getattr(created, "size", SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size of the network {name!r} must be a positive integer (pixels); received {size!r}")
    mean, std = _rgb(created, "mean", MEAN, name), _rgb(created, "std", STD, name)
    if min(std) <= 0:
        raise ValueError(f"std of the network {name!r} must be above 0; received {std}")
    count = _count(created, size, name)
    classes = tuple(map(str, getattr(created, "classes", range(count))))
    if len(classes) != count or len(set(classes)) != count:
        raise ValueError(
            f"the network {name!r} returns {count} logits, so it needs {count} distinct class names; "
            f"received {len(classes)}, {len(set(classes))} of them distinct"
        )
    return Classifier(name, name.replace("_", " "), created, classes, None, size, mean, std)


def _freeze(model: nn.Module) -> None:
    model.eval().requires_grad_(False).to(device())


def _rgb(
    model: nn.Module, attribute: str, default: tuple[float, float, float], name: str
) -> tuple[float, float, float]:
    """An attribute with one number per color, as a sequence or a tensor of any shape."""
    values = getattr(model, attribute, default)
    values = values.flatten().tolist() if isinstance(values, Tensor) else values
    if not isinstance(values, Sequence) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ValueError(
            f"{attribute} of the network {name!r} must be three numbers, one per color; received {values!r}"
        )
    red, green, blue = map(float, values)
    return red, green, blue


def _count(model: nn.Module, size: int, name: str) -> int:
    """The number of logits that a network returns for an image of its size."""
    rule = f"the network {name!r} must map images (1, 3, {size}, {size}) to logits (1, classes)"
    try:
        with torch.no_grad():
            output = model(torch.zeros(1, 3, size, size, device=device()))
    except Exception as error:  # user code may raise anything
        raise ValueError(f"{rule}; it failed: {_first_line(error)}") from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(f"{rule}; it returned {what}")
    return output.shape[1]


def _first_line(error: Exception) -> str:
    """The first line of an error's message, or the error's type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
