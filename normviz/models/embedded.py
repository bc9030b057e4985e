"""Weight files of the embedded classifiers: reading and writing, with classes and measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from normviz.models.residual import STRIDES, ResidualNet

MEAN = (0.485, 0.456, 0.406)  # of each color of ImageNet pixels in [0, 1]
STD = (0.229, 0.224, 0.225)  # of the same


@dataclass(frozen=True)
class Measured:
    """Measurements of a stored network on the validation photos at one input size.

    Attributes:
        size: side of the input in pixels.
        top1: top-1 accuracy on the validation photos, 0 to 1.
        auroc: probability that the confidence of a known photo exceeds that of an unknown one.
        threshold: the confidence that separates known from unknown photos best: it maximizes `kept` + `caught`.
        kept: share of the known photos with a confidence of at least `threshold`.
        caught: share of the unknown photos with a confidence below `threshold`.
    """

    size: int
    top1: float
    auroc: float
    threshold: float
    kept: float
    caught: float


def write_weights(path: Path, model: ResidualNet, classes: list[str], measured: Sequence[Measured] = ()) -> None:
    """Write a network in half precision, with its configuration, class names and measurements as metadata."""
    tensors = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"config": model.config, "classes": classes, "measured": [asdict(entry) for entry in measured]}
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in metadata.items()})


def read_weights(path: Path) -> tuple[ResidualNet, list[str]]:
    """Read the network stored at `path`, frozen and in inference mode, and its class names."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        config = json.loads(metadata["config"])
        strides = tuple(config.get("strides", STRIDES))
        model = ResidualNet(
            config["classes"], config["norm"], tuple(config["widths"]), tuple(config["blocks"]), strides
        )
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return model.eval().requires_grad_(False), json.loads(metadata["classes"])


def read_measured(path: Path) -> list[Measured]:
    """Read the measurements of the network stored at `path`, one per input size."""
    with safe_open(path, "pt") as file:
        return [Measured(**entry) for entry in json.loads(file.metadata().get("measured", "[]"))]
