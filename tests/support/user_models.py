"""Networks as somebody might name them in NORMVIZ_MODELS, good and bad."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normviz.models.catalog import Classifier


class Small(nn.Module):
    """Says its classes, size, mean and standard deviation itself."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = ["cat", "dog", "neither"]
        self.size = 32
        self.mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
        self.std = (0.25, 0.25, 0.5)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(images)).relu().mean(dim=(2, 3)))  # type: ignore[no-any-return]


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().train()


def plain() -> nn.Module:
    """Says nothing of itself."""
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def finished() -> Classifier:
    return Classifier("another name", "My own", small(), ("a", "b", "c"), 0.5, 32)


def failing() -> nn.Module:
    raise RuntimeError("no such file\nsecond line")


def nothing() -> str:
    return "a network"


def features() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


def few_names() -> nn.Module:
    net = Small()
    net.classes = ["cat", "cat", "dog"]
    return net


def flat() -> nn.Module:
    net = Small()
    net.std = (0.0, 1.0, 1.0)
    return net


def gray() -> nn.Module:
    net = Small()
    net.std = (1.0,)  # type: ignore[assignment]
    return net


def sizeless() -> nn.Module:
    net = Small()
    net.size = 32.5  # type: ignore[assignment]
    return net
