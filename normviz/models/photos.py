"""The embedded photo classifier: where its weights lie, and how they are read and written."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from normviz.models.residual import ResidualNet

ASSETS = Path(__file__).resolve().parents[2] / "assets"
MEAN = (0.485, 0.456, 0.406)  # mean of each colour channel that the network expects, of pixels in [0, 1]
STD = (0.229, 0.224, 0.225)  # standard deviation of the same


def write_weights(path: Path, model: ResidualNet, classes: list[str]) -> None:
    """Write a network in half precision, its construction and class names beside the weights."""
    tensors = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"config": json.dumps(model.config), "classes": json.dumps(classes)})


def read_weights(path: Path) -> tuple[ResidualNet, list[str]]:
    """The network stored at `path`, frozen and in inference mode, and the names of its classes."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        config = json.loads(metadata["config"])
        model = ResidualNet(config["classes"], config["norm"], tuple(config["widths"]), tuple(config["blocks"]))
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return model.eval().requires_grad_(False), json.loads(metadata["classes"])
