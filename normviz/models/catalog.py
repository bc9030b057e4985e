"""The catalog: which classifiers there are, and how one is loaded by its name."""

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
from normviz.models.model_cache import RESIDENT
from normviz.models.user_models import load_own, own_models
from normviz.paths import ASSETS

SIZES = (128, 160, 192, 224)  # that are offered for photos: larger ones give finer maps, up to 14 x 14
SCENE_SIZE = 64  # pixels a side of generated scenes, and of the networks that are trained on them
LOCAL = "NORMVIZ_LOCAL_MODELS"  # a folder whose subfolders are networks of transformers that visitors may use, too

__all__ = [
    "SIZE", "SIZES", "Classifier", "Entry", "Preparation", "Verdict", "alike", "load_classifier", "models",
    "network", "read_classifier",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A classifier that can be loaded.

    Attributes:
        name: what `load_classifier` takes.
        title: its name for people.
        file: its weights in assets/; "" for one of your own.
        size: pixels a side of its input, if nothing else is asked for; 0 where only the loaded network knows.
        sizes: those that it was measured at; () where nothing was measured and its own size is the only one.
        family: what it was trained on, where others were trained on the same.
        norm: its normalization in words, where it is one of a family that was trained alike; else "".
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
    *(Entry(f"twins{end}", f"photo twins, {words}", f"twins_{norm}.safetensors", family="photos", norm=words)
      for end, (norm, words) in _NORMS.items()),
    *(Entry(f"scenes{end}", f"scenes, {words}", f"scenes_{norm}.safetensors", SCENE_SIZE, (SCENE_SIZE,),
            family="scenes", norm=words)
      for end, (norm, words) in _NORMS.items()),
    Entry("clever_hans", "scenes, Clever Hans", "clever_hans.safetensors", SCENE_SIZE, (SCENE_SIZE,)),
)  # fmt: skip


def models() -> tuple[Entry, ...]:
    """The classifiers that are installed: the default first, your own last (NORMVIZ_MODELS, NORMVIZ_LOCAL_MODELS).

    Raises:
        ValueError: NORMVIZ_MODELS is not written as it must be.
    """
    installed = [entry for entry in _ENTRIES if (ASSETS / entry.file).exists()]
    own = [Entry(name, name.replace("_", " "), "", 0, ()) for name in own_models()]
    if taken := {entry.name for entry in installed} & {entry.name for entry in own}:
        raise ValueError(f"NORMVIZ_MODELS names {min(taken)!r}, which is taken; choose another name")
    local = [Entry(f"local:{folder.name}", folder.name, "", 0, ()) for folder in _local_folders()]
    return (*installed, *own, *local)


def alike(name: str) -> tuple[Entry, ...]:
    """The installed networks of a classifier's family that were trained alike and differ in their normalization only.

    Args:
        name: the name of a classifier.

    Raises:
        ValueError: it is of no such family.
    """
    found = {entry.name: entry for entry in models()}
    family = found[name].family if name in found else ""
    several = tuple(entry for entry in found.values() if family and entry.family == family and entry.norm)
    if not several:
        offer = ", ".join(entry.title for entry in found.values() if entry.norm)
        raise ValueError(f"no networks with other normalizations were trained like {name}; choose one of {offer}")
    return several


def _local_folders() -> list[Path]:
    """The subfolders of NORMVIZ_LOCAL_MODELS that hold a network."""
    place = os.environ.get(LOCAL)
    if not place or not Path(place).is_dir():
        return []
    return sorted(folder for folder in Path(place).iterdir() if (folder / CONFIG).is_file())


def read_classifier(path: Path, name: str, title: str, size: int = SIZE) -> Classifier:
    """The classifier whose weights lie at `path`, on the device; its network is read once and shared by all sizes.

    Raises:
        ValueError: the weights were never measured at this input size, so that nothing says when it does not know.
    """
    measured = _measured(path, size)
    model, classes = network(path)
    return Classifier(name, title, model, classes, measured.threshold, size, accuracy=measured.top1)


def network(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network stored at `path`, on the device, and the names of its classes; kept for all who ask."""

    def read() -> tuple[nn.Module, tuple[str, ...]]:
        model, classes = read_weights(path)
        return model.to(device()), tuple(classes)

    return RESIDENT.get(("file", path, path.stat().st_mtime_ns), read)


def _measured(path: Path, size: int) -> Measured:
    """What the weights at `path` reached at one input size."""
    for one in read_measured(path):
        if one.size == size:
            return one
    raise ValueError(
        f"{path.name} was never measured at {size} pixels; run python -m scripts.train_photos DATA --measure-only"
    )


def load_classifier(
    name: str = "photos", size: int | None = None, progress: Callable[[float], None] | None = None
) -> Classifier:
    """A classifier by its name; its network is loaded at the first call.

    Args:
        name: the name of one of models(), the folder of a network of transformers, or the id of one on the Hugging
            Face Hub ("microsoft/resnet-18" or "hub:microsoft/resnet-18"), which is downloaded once.
        size: pixels a side of its input, one of those it was measured at; None: the classifier's own.
        progress: called with the finished share of a download, 0 to 1.

    Raises:
        ValueError: there is no such classifier, it cannot be read or fetched, or it was not measured at this size.
    """
    found = {entry.name: entry for entry in models()}
    own = own_models()
    if name in own:
        return load_own(name, own[name], size)
    if name in found and found[name].file:
        entry = found[name]
        return read_classifier(ASSETS / entry.file, entry.name, entry.title, size or entry.size)
    if name in found:
        folder = next(folder for folder in _local_folders() if f"local:{folder.name}" == name)
        return _of_its_size(read_folder(folder, name, folder.name), size)
    if not name.startswith("hub:") and Path(name).is_dir():
        return _of_its_size(read_folder(Path(name), name, Path(name).name), size)
    if name.startswith("hub:") or "/" in name:
        return _of_its_size(_hub_classifier(hub_id(name), progress), size)
    raise ValueError(f"there is no classifier {name!r}; {_choices(found)}")


def _hub_classifier(name: str, progress: Callable[[float], None] | None) -> Classifier:
    """A network of the Hub, downloaded if it is not here."""
    folder = cached(name)
    if folder is None:
        offer = look_up(name)
        folder = fetch(offer, lambda done: progress(done / max(offer.bytes, 1)) if progress else None)
    return read_folder(folder, f"hub:{name}", name)


def _of_its_size(classifier: Classifier, size: int | None) -> Classifier:
    """The classifier, if the size that is asked for is its own."""
    if size not in (None, classifier.size):
        raise ValueError(
            f"{classifier.title} reads photos of {classifier.size} pixels, as its own configuration says; "
            f"received size {size}"
        )
    return classifier


def _choices(names: Iterable[str]) -> str:
    offered = ", ".join(names)
    return f"choose one of {offered}" if offered else "no weights are installed in assets/"
