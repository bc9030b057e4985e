"""Conversion of a module's output to feature maps (N, K, h, w): channels first, channels last, or tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["maps", "channels last", "tokens"]
EXTRA = 16  # maximum number of class and register tokens before the patch tokens


@dataclass(frozen=True)
class Grid:
    """The conversion between a module's output and feature maps.

    Attributes:
        kind: "maps": (N, K, h, w); "channels last": (N, h, w, K); "tokens": (N, extra + h w, K).
        shape: (K, h, w).
        extra: number of tokens before the patch tokens: class, distillation and register tokens.
    """

    kind: Kind
    shape: tuple[int, int, int]
    extra: int = 0

    def reads(self, output: object) -> bool:
        """Whether an output has the kind and size of this grid."""
        tensor = first_tensor(output)
        if tensor is None or tensor.ndim != (3 if self.kind == "tokens" else 4):
            return False
        channels, height, width = self.shape
        sizes = {
            "maps": (channels, height, width),
            "channels last": (height, width, channels),
            "tokens": (self.extra + height * width, channels),
        }
        return tuple(tensor.shape[1:]) == sizes[self.kind]

    def fold(self, tensor: Tensor) -> Tensor:
        """The output as feature maps (N, K, h, w)."""
        if self.kind == "maps":
            return tensor
        if self.kind == "channels last":
            return tensor.movedim(-1, 1)  # (N, K, h, w)
        return tensor[:, self.extra :].transpose(1, 2).reshape(len(tensor), *self.shape)  # (N, K, h, w)

    def unfold(self, maps: Tensor, like: Tensor) -> Tensor:
        """The output for feature maps (b, K, h, w), with the extra tokens of `like` (1, extra + h w, K)."""
        if self.kind == "maps":
            return maps
        if self.kind == "channels last":
            return maps.movedim(1, -1).contiguous()  # (b, h, w, K)
        extra = like[:, : self.extra].expand(len(maps), -1, -1)  # (b, extra, K)
        return torch.cat([extra, maps.flatten(2).transpose(1, 2)], dim=1)  # (b, extra + h w, K)


def first_tensor(output: object) -> Tensor | None:
    """The output, or the first entry of an output tuple, if it is a floating-point tensor."""
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def replaced(output: object, tensor: Tensor) -> object:
    """The output with its first tensor replaced."""
    return (tensor, *output[1:]) if isinstance(output, tuple) else tensor


def find_grid(module: nn.Module, output: object, images: Tensor) -> Grid | None:
    """The conversion from the output of a module to feature maps of images (N, C, H, W); None if it has none.

    Tokens form a grid if their number, minus a few extra tokens, is that of a grid with the proportions of the images.
    """
    tensor = first_tensor(output)
    if tensor is None or len(tensor) != len(images):
        return None
    height, width = images.shape[-2:]
    if tensor.ndim == 4:
        channels_first = (
            getattr(module, "data_format", "channels_last") != "channels_last"
        )  # a layer norm of channels-first maps
        last = (isinstance(module, nn.Linear | nn.LayerNorm) and not channels_first) or (
            not square_cells(tensor.shape[2:], (height, width)) and square_cells(tensor.shape[1:3], (height, width))
        )
        shape = tensor.movedim(-1, 1).shape if last else tensor.shape
        return Grid("channels last" if last else "maps", (shape[1], shape[2], shape[3]))
    if tensor.ndim != 3 or tensor.shape[2] < 2:
        return None
    tokens, channels = tensor.shape[1:]
    for extra in range(min(EXTRA, tokens - 4) + 1):
        count = tokens - extra
        rows = round(math.sqrt(count * height / width))
        if (
            rows > 1
            and count % rows == 0
            and count // rows > 1
            and square_cells((rows, count // rows), (height, width))
        ):
            return Grid("tokens", (channels, rows, count // rows), extra)
    return None


def square_cells(cells: tuple[int, ...], pixels: tuple[int, ...]) -> bool:
    """Whether a grid of (rows, columns) divides an image of (height, width) pixels into nearly square cells."""
    (rows, columns), (height, width) = cells, pixels
    return abs(rows * width - columns * height) < max(height, width)
