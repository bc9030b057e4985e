"""Input checks, dtype promotion and broadcasting that the normalization methods share."""

from __future__ import annotations

import torch
from torch import Tensor


def check_input(name: str, x: Tensor, lowest_rank: int = 2) -> None:
    """Check the rank, dtype and size of an input.

    Args:
        name: the name of the method, for the error message.
        x: the input, (N, C, ...).
        lowest_rank: the smallest number of axes that the method accepts.

    Raises:
        ValueError: too few axes, an empty tensor, or a dtype that is not floating point.
    """
    shape = tuple(x.shape)
    if x.ndim < lowest_rank:
        least = "(N, C)" if lowest_rank == 2 else "(N, C, L) or (N, C, H, W)"
        raise ValueError(f"{name} needs an input of at least {lowest_rank} axes, {least}; received shape {shape}")
    if not x.is_floating_point():
        raise ValueError(
            f"{name} needs floating-point values; received {x.dtype} of shape {shape}: call .float() first"
        )
    if x.numel() == 0:
        raise ValueError(f"{name} needs at least one value; received the empty shape {shape}")


def check_parameters(name: str, shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    """Check the shape of parameters or statistics; None is always valid.

    Args:
        name: the name of the method, for the error message.
        shape: the required shape of each tensor.
        **tensors: the tensors, by the name of the argument.

    Raises:
        ValueError: a tensor has another shape.
    """
    for argument, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} needs {argument} of shape {shape} here; received {tuple(tensor.shape)}")


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32, so that statistics are exact enough; float32 and float64 are unchanged."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()  # shape of x


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Append axes of size 1 to values (C,) or (N, C), so that they broadcast over the positions of `x` (N, C, ...)."""
    return values.reshape(*values.shape, *[1] * (x.ndim - 2))  # (C, 1, ...) or (N, C, 1, ...)
