"""The embedded photo classifier: where its weights lie, and how they are read and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from normviz.models.residual import STRIDES, ResidualNet

MEAN = (0.485, 0.456, 0.406)  # mean of each color channel that the network expects, of pixels in [0, 1]
STD = (0.229, 0.224, 0.225)  # standard deviation of the same


@dataclass(frozen=True)
class Measured:
    """What the stored network reached on the validation photos at one input size.

    Attributes:
        size: pixels a side.
        top1: share of the validation photos that are recognized.
        auroc: probability that a known photo's confidence exceeds an unknown one's.
        threshold: the confidence that best tells known from unknown photos: `kept` + `caught` is largest.
        kept: share of the known photos whose confidence is not below `threshold`.
        caught: share of the unknown photos whose confidence is below `threshold`.
    """

    size: int
    top1: float
    auroc: float
    threshold: float
    kept: float
    caught: float


def write_weights(path: Path, model: ResidualNet, classes: list[str], measured: Sequence[Measured] = ()) -> None:
    """Write a network in half precision; beside the weights its construction, class names and measurements."""
    tensors = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"config": model.config, "classes": classes, "measured": [asdict(one) for one in measured]}
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in facts.items()})


def read_weights(path: Path) -> tuple[ResidualNet, list[str]]:
    """The network stored at `path`, frozen and in inference mode, and the names of its classes."""
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
    """What was measured on the network stored at `path`, one entry per input size."""
    with safe_open(path, "pt") as file:
        return [Measured(**one) for one in json.loads(file.metadata().get("measured", "[]"))]
