"""A residual network of bottleneck blocks with the layout of ResNet-50, without trained weights; for benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """relu(shortcut(x) + f(x)), where f is a 1x1, a 3x3 and a 1x1 convolution; ReLUs and the sum are in-place."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))  # (N, K, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # (N, K, h', w')
        out = self.bn3(self.conv3(out))  # (N, 4K, h', w')
        out += self.shortcut(x)
        return self.relu(out)  # type: ignore[no-any-return]


class BottleneckNet(nn.Module):
    """ResNet-50 (He et al. 2015, 1512.03385, table 1) with strides on the 3x3 convolutions; random weights.

    Args:
        classes: number of classes.
        width: channels of the first stage; 64 for ResNet-50.
        blocks: number of residual blocks in each of the four stages.
    """

    def __init__(self, classes: int = 1000, width: int = 64, blocks: tuple[int, int, int, int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for index, depth in enumerate(blocks, start=1):
            stage, size = nn.Sequential(), width * 2 ** (index - 1)
            for block in range(depth):
                stage.append(Bottleneck(inputs, size, 2 if index > 1 and block == 0 else 1))
                inputs = 4 * size
            self.add_module(f"layer{index}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.bn3.weight, 0.25)  # small residual branches, as in trained networks

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of images (N, 3, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, K, H/4, W/4)
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def calibrate_batch_norm(model: nn.Module, images: Tensor) -> nn.Module:
    """Set the running statistics of all batch norms to those of `images`, so that activations keep their scale.

    Returns:
        The model, in inference mode.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()
