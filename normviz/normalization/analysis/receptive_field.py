"""Which values of the input one result depends on, measured: for methods whose values do not fall into groups."""

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
    """Which values of the input the result in one cell depends on.

    The gradient of that result tells it, taken at random values: there it vanishes only where nothing is read.

    Args:
        method: a registered normalization of activations.
        x: the input, of which only shape, type and device matter.
        layout: the layout of `x`.
        cell: the index of the cell.
        settings: the method's knobs.
        running: running mean and variance (C,), for a method that reads them.
        sides: further tensors that the method reads.

    Returns:
        A bool tensor in the shape of `x`.
    """
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(x.shape, generator=generator).to(x).requires_grad_()  # shape of x
    given = tensors(method, layout, running, sides)
    affine = {name: x.new_ones(x.shape[2 if layout == "ntd" else 1]) for name in ("weight",) if method.takes(name)}
    result = run(method, values, layout, affine | given, settings)[cell]  # ()
    (gradient,) = torch.autograd.grad(result, values)
    return gradient != 0  # shape of x
