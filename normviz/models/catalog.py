"""The catalog of classifiers: lists the installed ones and loads them by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from normviz.device import device
from normviz.models.classifier import SIZE, Classifier, Preparation, Verdict
from normviz.models.download import cached, fetch, hub_id, look_up
from normviz.models.embedded import Measured, read_measured, read_weights
from normviz.models.hub import CONFIG, read_folder
from normviz.models.model_cache import MODEL_CACHE
from normviz.models.user_models import load_user_model, user_models
from normviz.paths import ASSETS

SIZES = (128, 160, 192, 224)  # offered for photos; larger inputs give finer maps, up to 14 x 14
SCENE_SIZE = 64  # side of generated scenes and of the input of networks trained on them, in pixels
LOCAL = "NORMVIZ_LOCAL_MODELS"  # environment variable: a folder whose subfolders are saved transformers networks

__all__ = [
    "SIZE", "SIZES", "Classifier", "Entry", "Preparation", "Verdict", "load_classifier", "models", "network",
    "norm_variants", "read_classifier",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A classifier that can be loaded.

    Attributes:
        name: the name to pass to `load_classifier`.
        title: display name.
        file: file name of the weights in assets/; "" for a user model.
        size: default side of the input in pixels; 0 if only the loaded network defines it.
        sizes: input sizes at which it was measured; () if it only supports its own size.
        family: name of the training data, shared by networks trained on the same data; else "".
        norm: name of its normalization, if it is one of a family that differs in normalization only; else "".
    """

    name: str
    title: str
    file: str
    size: int = SIZE
    sizes: tuple[int, ...] = SIZES
    family: str = ""
    norm: str = ""


_NORMS = {
    "": ("batch", "batch norm"),
    "_group": ("group", "group norm"),
    "_layer": ("layer", "layer norm"),
    "_instance": ("instance", "instance norm"),
    "_none": ("none", "no normalization"),
}
_ENTRIES = (
    Entry("photos", "photos, batch norm", "photos_batch.safetensors", family="photos"),
    *(Entry(f"twins{suffix}", f"photo twins, {title}", f"twins_{norm}.safetensors", family="photos", norm=title)
      for suffix, (norm, title) in _NORMS.items()),
    *(Entry(f"scenes{suffix}", f"scenes, {title}", f"scenes_{norm}.safetensors", SCENE_SIZE, (SCENE_SIZE,),
            family="scenes", norm=title)
      for suffix, (norm, title) in _NORMS.items()),
    Entry("clever_hans", "scenes, Clever Hans", "clever_hans.safetensors", SCENE_SIZE, (SCENE_SIZE,)),
)  # fmt: skip


def models() -> tuple[Entry, ...]:
    """The installed classifiers: the default first, user models last (NORMVIZ_MODELS, NORMVIZ_LOCAL_MODELS).

    Raises:
        ValueError: NORMVIZ_MODELS is malformed, or names a classifier that exists already.
    """
    installed = [entry for entry in _ENTRIES if (ASSETS / entry.file).exists()]
    user = [Entry(name, name.replace("_", " "), "", 0, ()) for name in user_models()]
    if taken := {entry.name for entry in installed} & {entry.name for entry in user}:
        raise ValueError(f"NORMVIZ_MODELS defines {min(taken)!r}, which already exists; choose another name")
    local = [Entry(f"local:{folder.name}", folder.name, "", 0, ()) for folder in _local_folders()]
    return (*installed, *user, *local)


def norm_variants(name: str) -> tuple[Entry, ...]:
    """The installed networks of a classifier's family, which differ in their normalization only.

    Args:
        name: the name of a classifier.

    Raises:
        ValueError: the classifier does not belong to such a family.
    """
    entries = {entry.name: entry for entry in models()}
    family = entries[name].family if name in entries else ""
    variants = tuple(entry for entry in entries.values() if family and entry.family == family and entry.norm)
    if not variants:
        offer = ", ".join(entry.title for entry in entries.values() if entry.norm)
        raise ValueError(f"no variants of {name} with other normalizations are installed; choose one of {offer}")
    return variants


def _local_folders() -> list[Path]:
    """The subfolders of NORMVIZ_LOCAL_MODELS that contain a network."""
    root = os.environ.get(LOCAL)
    if not root or not Path(root).is_dir():
        return []
    return sorted(folder for folder in Path(root).iterdir() if (folder / CONFIG).is_file())


def read_classifier(path: Path, name: str, title: str, size: int = SIZE) -> Classifier:
    """The classifier stored at `path`, on the device; all input sizes share one network in memory.

    Raises:
        ValueError: the weights were not measured at this input size, so the confidence threshold is unknown.
    """
    measured = _measured(path, size)
    model, classes = network(path)
    return Classifier(name, title, model, classes, measured.threshold, size, accuracy=measured.top1)


def network(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network stored at `path`, on the device, and its class names; cached in memory."""

    def read() -> tuple[nn.Module, tuple[str, ...]]:
        model, classes = read_weights(path)
        return model.to(device()), tuple(classes)

    return MODEL_CACHE.get(("file", path, path.stat().st_mtime_ns), read)


def _measured(path: Path, size: int) -> Measured:
    """The measurements of the weights at `path` for one input size."""
    for measured in read_measured(path):
        if measured.size == size:
            return measured
    raise ValueError(
        f"{path.name} was not measured at {size} pixels; run python -m scripts.train_photos DATA --measure-only"
    )


def load_classifier(
    name: str = "photos", size: int | None = None, progress: Callable[[float], None] | None = None
) -> Classifier:
    """Load a classifier by name; the network is cached.

    Args:
        name: a name from models(), the path of a folder with a transformers network, or an id on the Hugging Face Hub
            ("microsoft/resnet-18" or "hub:microsoft/resnet-18"), which is downloaded once.
        size: side of the input in pixels, one of the measured sizes; None: the classifier's default.
        progress: called with the downloaded fraction, 0 to 1.

    Raises:
        ValueError: unknown name, unreadable or unreachable network, or a size that was not measured.
    """
    entries = {entry.name: entry for entry in models()}
    user = user_models()
    if name in user:
        return load_user_model(name, user[name], size)
    if name in entries and entries[name].file:
        entry = entries[name]
        return read_classifier(ASSETS / entry.file, entry.name, entry.title, size or entry.size)
    if name in entries:
        folder = next(folder for folder in _local_folders() if f"local:{folder.name}" == name)
        return _check_size(read_folder(folder, name, folder.name), size)
    if not name.startswith("hub:") and Path(name).is_dir():
        return _check_size(read_folder(Path(name), name, Path(name).name), size)
    if name.startswith("hub:") or "/" in name:
        return _check_size(_hub_classifier(hub_id(name), progress), size)
    raise ValueError(f"there is no classifier {name!r}; {_choices(entries)}")


def _hub_classifier(name: str, progress: Callable[[float], None] | None) -> Classifier:
    """A network from the Hub, downloaded if it is not in the cache."""
    folder = cached(name)
    if folder is None:
        offer = look_up(name)
        folder = fetch(offer, lambda done: progress(done / max(offer.bytes, 1)) if progress else None)
    return read_folder(folder, f"hub:{name}", name)


def _check_size(classifier: Classifier, size: int | None) -> Classifier:
    """The classifier, if `size` is None or its own size."""
    if size not in (None, classifier.size):
        raise ValueError(
            f"{classifier.title} requires an input of {classifier.size} pixels, as set in its configuration; "
            f"received size {size}"
        )
    return classifier


def _choices(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"choose one of {listed}" if listed else "no weights are installed in assets/"
