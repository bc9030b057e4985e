"""A classifier with seeded random weights, for tests that need some network and not the trained one."""

from __future__ import annotations

from pathlib import Path

import torch

from normviz.models.catalog import SIZE
from normviz.models.embedded import Measured, write_weights
from normviz.models.residual import ResidualNet

CLASSES = ["cat", "chain saw", "French horn"]


def write_stand_in(folder: Path, threshold: float = 0.5, file: str = "photos_batch.safetensors") -> Path:
    """Write the weights of a tiny random network; returns the file."""
    torch.manual_seed(0)
    model = ResidualNet(len(CLASSES), widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).eval()
    torch.nn.init.normal_(model.fc.weight)
    path = folder / file
    write_weights(path, model, CLASSES, [Measured(SIZE, 0.9, 0.9, threshold, 0.9, 0.8)])
    return path
