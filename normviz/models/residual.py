"""A compact residual network for image classification with selectable normalization."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "group", "layer", "instance", "none"]
NORMS: tuple[Norm, ...] = get_args(Norm)

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))  # 1 / standard deviation of relu(z) for z ~ N(0, 1)
STRIDES = (1, 2, 2, 1)  # of the four stages, after a stem of stride 4
RESIDUAL_SCALE = 0.2  # alpha of h + alpha f(h) in the network without normalization


class ScaledStandardizedConv2d(nn.Conv2d):
    """A convolution whose weight is standardized per output channel and scaled by the ReLU's gain.

    Source: Brock et al. 2021 (2101.08692), Eq. 1: W^ = gain (W - mean) / (std sqrt(fan_in)).
    """

    def __init__(self, *args: int, **kwargs: int) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)  # (K, 1, 1, 1)
        fan_in = self.weight[0].numel()
        scale = RELU_GAIN * self.gain * torch.rsqrt(variance * fan_in + 1e-4)  # (K, 1, 1, 1)
        return F.conv2d(x, (self.weight - mean) * scale, self.bias, self.stride, self.padding)  # (N, K, h, w)


def _norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    """A constructor of normalization layers for a given number of channels."""
    layers: dict[Norm, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "group": lambda channels: nn.GroupNorm(max(1, channels // 8), channels),
        "layer": lambda channels: nn.GroupNorm(1, channels),  # over C, H, W; one gamma and beta per channel
        "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
        "none": lambda channels: nn.Identity(),
    }
    if norm not in layers:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}; received {norm!r}")
    return layers[norm]


class _ConvNorm(nn.Sequential):
    """A convolution without bias followed by a normalization, or a standardized convolution with bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: Norm) -> None:
        if norm == "none":
            conv: nn.Conv2d = ScaledStandardizedConv2d(inputs, outputs, kernel, stride, kernel // 2)
        else:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        super().__init__()
        self.conv = conv
        self.norm = _norm_layer(norm)(outputs)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + f(x)), where f consists of two 3x3 convolutions (He et al. 2015, 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs, 3, stride, norm)
        self.relu1 = nn.ReLU()
        self.conv2 = _ConvNorm(outputs, outputs, 3, 1, norm)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, _ConvNorm(inputs, outputs, 1, 1, norm))
        self.relu2 = nn.ReLU()
        self.residual_scale = RESIDUAL_SCALE if norm == "none" else 1.0

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(self.relu1(self.conv1(x)))  # (N, K, h, w)
        return self.relu2(self.shortcut(x) + self.residual_scale * residual)  # type: ignore[no-any-return]


class ResidualNet(nn.Module):
    """An image classifier: stem of stride 4, four stages, global average pooling, one linear layer.

    With the default strides the last feature maps have stride 16: 8 x 8 for 128 pixels, 14 x 14 for 224 pixels.

    Args:
        classes: number of classes.
        norm: the normalization after each convolution: batch, group (8 channels per group), layer
            (over C, H, W), instance, or none (scaled weight standardization instead).
        widths: channels of the four stages.
        blocks: residual blocks of the four stages.
        strides: stride of each of the four stages.
        generator: random generator for the initial weights; None: the global one.
    """

    def __init__(
        self,
        classes: int,
        norm: Norm = "batch",
        widths: tuple[int, int, int, int] = (48, 96, 192, 384),
        blocks: tuple[int, int, int, int] = (1, 2, 2, 1),
        strides: tuple[int, int, int, int] = STRIDES,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = {"classes": classes, "norm": norm, "widths": list(widths), "blocks": list(blocks)}
        if strides != STRIDES:  # files with default strides do not store them
            self.config["strides"] = list(strides)
        self.stem = nn.Sequential(
            _ConvNorm(3, widths[0] // 2, 3, 2, norm),
            nn.ReLU(),
            _ConvNorm(widths[0] // 2, widths[0], 3, 2, norm),
            nn.ReLU(),
        )
        inputs = widths[0]
        for index, (width, depth, stride) in enumerate(zip(widths, blocks, strides, strict=True), start=1):
            stage = nn.Sequential()
            for block in range(depth):
                stage.append(ResidualBlock(inputs, width, stride if block == 0 else 1, norm))
                inputs = width
            self.add_module(f"stage{index}", stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, classes)
        self._initialize(generator)

    def _initialize(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, ResidualBlock) and hasattr(module.conv2.norm, "weight"):
                nn.init.zeros_(module.conv2.norm.weight)  # type: ignore[arg-type]  # each block starts as its shortcut
        nn.init.normal_(self.fc.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.fc.bias)

    def features(self, x: Tensor) -> Tensor:
        """The last feature maps (N, K, h, w) of images (N, 3, H, W); with the default strides, h = H / 16."""
        x = self.stem(x)  # (N, 48, H/4, W/4)
        for index in range(1, 5):
            x = self.get_submodule(f"stage{index}")(x)
        return x  # (N, K, h, w)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of images (N, 3, H, W)."""
        return self.fc(self.flatten(self.pool(self.features(x))))  # type: ignore[no-any-return]
