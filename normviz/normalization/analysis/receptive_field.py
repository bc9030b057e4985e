"""The receptive field of an output value, measured by its gradient; for methods without groups."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from normviz.normalization.apply import run, tensors
from normviz.registry import Normalization, Value


def reads(
    method: Normalization,
    x: Tensor,
    layout: str,
    cell: tuple[int, ...],
    settings: Mapping[str, Value],
    running: tuple[Tensor, Tensor] | None = None,
    sides: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Find the values of the input that the result in one cell depends on.

    They are the values with a gradient other than 0, computed at a random input.

    Args:
        method: a registered normalization of activations.
        x: the input; only its shape, dtype and device are used.
        layout: the layout of `x`.
        cell: the index of the cell.
        settings: the values of the knobs.
        running: running mean and variance (C,), for a method that uses them.
        sides: other tensor arguments, by name.

    Returns:
        A bool tensor with the shape of `x`.
    """
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(x.shape, generator=generator).to(x).requires_grad_()  # shape of x
    given = tensors(method, layout, running, sides)
    affine = {name: x.new_ones(x.shape[2 if layout == "ntd" else 1]) for name in ("weight",) if method.takes(name)}
    result = run(method, values, layout, affine | given, settings)[cell]  # ()
    (gradient,) = torch.autograd.grad(result, values)
    return gradient != 0  # shape of x
