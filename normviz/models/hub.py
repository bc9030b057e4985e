"""Image classifiers from the Hugging Face Hub, read from folders with configuration, preprocessor and safetensors.

`transformers` is imported when the first folder is read. Code that comes with a network is never run, and pickle files
are never opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from normviz.device import device
from normviz.models.classifier import Classifier
from normviz.models.model_cache import MODEL_CACHE
from normviz.models.preparation import Preprocessor

CONFIG = "config.json"
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


class Logits(nn.Module):
    """An image classifier of `transformers` as a network that maps images to logits.

    Args:
        net: takes `pixel_values` (N, 3, H, W) and returns an object with `logits` (N, classes).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """The logits (N, classes) of images (N, 3, H, W)."""
        return self.net(pixel_values=images).logits  # type: ignore[no-any-return]


def read_folder(folder: Path, name: str, title: str) -> Classifier:
    """Read the classifier in a folder in the layout of `save_pretrained` and the Hub; its network is cached.

    Args:
        folder: contains config.json, preprocessor_config.json and model.safetensors (or its parts and their index).
        name: the name in `load_classifier`.
        title: display name.

    Raises:
        ValueError: the folder contains no image classifier, or one that is damaged, pickled or without class names.
    """
    stamps = tuple((file.name, file.stat().st_mtime_ns) for file in _network_files(folder))
    model, (classes, preprocessor) = MODEL_CACHE.get(("hub", folder.resolve(), stamps), lambda: _read(folder, name))
    return Classifier(
        name, title, model, classes, None, min(preprocessor.shape), preprocessor.mean, preprocessor.std, preprocessor
    )


def _network_files(folder: Path) -> list[Path]:
    """The files that define a network, in a fixed order."""
    return sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")])


def _read(folder: Path, name: str) -> tuple[nn.Module, tuple[tuple[str, ...], Preprocessor]]:
    """The network in a folder, its class names and its preprocessor; the cheapest checks first."""
    classes = _classes(read_json(folder / CONFIG, name), name)
    weight_files(folder, name)
    preprocessor = _preprocessor(folder, name)
    model = _network(folder, name)
    _check_output(model, preprocessor, len(classes), name)
    return model, (classes, preprocessor)


def image_classifier(config: dict[str, Any], name: str) -> None:
    """Check a network's configuration: it must be an image classifier.

    Raises:
        ValueError: it is a network of another type, or requires code of its own.
    """
    kind = config.get("model_type")
    with _quiet():
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN
    if kind in KNOWN:
        return
    if "auto_map" in config:
        raise ValueError(f"{name} requires code of its own ({kind}), which is not run here; choose another network")
    problem = f"is a network of type {kind!r}" if kind else "has a configuration without model_type"
    raise ValueError(f"{name} {problem} and does not classify images; choose an image classifier")


def weight_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The safetensors files of a folder, after checking that each can be opened.

    Raises:
        ValueError: a file is missing or damaged, or the weights are only available as pickle.
    """
    if (folder / INDEX).is_file():
        parts = sorted(set(read_json(folder / INDEX, name).get("weight_map", {}).values()))
        files = tuple(folder / Path(str(part)).name for part in parts)
    else:
        files = (folder / WEIGHTS,)
    missing = [file.name for file in files if not file.is_file()]
    if missing and any(any(folder.glob(ending)) for ending in PICKLED):
        raise ValueError(
            f"{name} stores its weights only as pickle, which can run arbitrary code; "
            "save it again with save_pretrained(..., safe_serialization=True)"
        )
    if missing or not files:
        raise ValueError(f"{name} lacks {', '.join(missing) or WEIGHTS} with its weights; download it again")
    for file in files:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file.name} of {name} is truncated or damaged ({error}); download it again") from None
    return files


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a network.

    Raises:
        ValueError: the file is missing, or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{name} has no {path.name}, so it is not the folder of a transformers network") from None
    except (OSError, ValueError):
        raise ValueError(f"{path.name} of {name} cannot be read as JSON; download it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} of {name} must contain a JSON object; it contains a {type(content).__name__}")
    return content


def _classes(config: dict[str, Any], name: str) -> tuple[str, ...]:
    """The class names; names that occur more than once get their index appended."""
    image_classifier(config, name)
    labels = config.get("id2label")
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f"{name} has no class names; its {CONFIG} needs id2label")
    try:
        by_index = {int(index): str(label) for index, label in labels.items()}
        names = [by_index[index] for index in range(len(by_index))]
    except (ValueError, KeyError):
        raise ValueError(f"id2label in {CONFIG} of {name} must have the keys 0, 1, 2, ... without gaps") from None
    repeated = {label for label in names if names.count(label) > 1} if len(set(names)) < len(names) else set()
    return tuple(f"{label} ({index})" if label in repeated else label for index, label in enumerate(names))


def _preprocessor(folder: Path, name: str) -> Preprocessor:
    if not any((folder / file).is_file() for file in PREPROCESSORS):
        raise ValueError(f"{name} has no {PREPROCESSORS[0]}, so its preprocessing is unknown; choose another network")
    with _reading(name, folder) as transformers:
        processor = transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False, local_files_only=True
        )
    try:
        return Preprocessor(processor)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _network(folder: Path, name: str) -> Logits:
    """The network in a folder: frozen, in inference mode, on the device, with all weights from its file."""
    with _reading(name, folder) as transformers:
        net, info = transformers.AutoModelForImageClassification.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            attn_implementation="eager", output_loading_info=True,
        )  # fmt: skip
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"{name} is not a complete classifier: its file lacks {len(missing)} weights ({missing[0]}, ...); "
            "choose one that was trained to classify images"
        )
    for key, values in (*net.named_parameters(), *net.named_buffers()):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise ValueError(f"the weights of {name} contain NaN or infinity ({key}); download or train it again")
    return Logits(net).eval().requires_grad_(False).to(device())


def _check_output(model: nn.Module, preprocessor: Preprocessor, classes: int, name: str) -> None:
    """Check that the network returns as many finite logits for a gray image as it has classes."""
    height, width = preprocessor.shape
    try:
        with torch.no_grad():
            logits = model(torch.zeros(1, 3, height, width, device=device()))  # (1, classes)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name} cannot process the output of its preprocessor: {reason}") from error
    if tuple(logits.shape) != (1, classes) or not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"{name} must return {classes} finite logits, one for each name in id2label; "
            f"it returned shape {tuple(logits.shape)}"
        )


@contextmanager
def _reading(name: str, folder: Path) -> Iterator[ModuleType]:
    """`transformers`; its exceptions are raised as ValueError with one sentence that hides the folder's path."""
    with _quiet() as transformers:
        try:
            yield transformers
        except ImportError as error:
            raise ValueError(f"{name} requires a package that is not installed: {_first_sentence(error)}") from error
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ValueError(f"{name} cannot be read: {_first_sentence(error).replace(str(folder), name)}") from error


def _first_sentence(error: Exception) -> str:
    """The first sentence of an error's message."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.split(". ")[0][:200]


@contextmanager
def _quiet() -> Iterator[ModuleType]:
    """`transformers`, imported on demand, without progress bars and warnings."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield transformers
