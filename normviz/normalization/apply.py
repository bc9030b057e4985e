"""Apply any registered normalization of activations to a tensor in one of its layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from normviz.normalization.patterns import order
from normviz.registry import Normalization, Value


@torch.no_grad()
def apply(
    method: Normalization,
    x: Tensor,
    layout: str,
    gamma: float = 1.0,
    beta: float = 0.0,
    /,
    running: tuple[Tensor, Tensor] | None = None,
    sides: Mapping[str, Tensor] | None = None,
    **settings: Value,
) -> Tensor:
    """Normalize activations in their layout, then scale and shift them.

    The axes are permuted to the order that the method expects, and back.

    Args:
        method: a registered normalization of activations.
        x: the activations, (N, C), (N, T, D), (N, C, H, W) or (N, C, D, H, W); not modified.
        layout: "nc", "ntd", "nchw" or "ncdhw".
        gamma: the scale of all values.
        beta: the shift of all values.
        running: the running mean and variance, (C,) each, for a method that uses them.
        sides: other tensor arguments by name: mask (N, T), style in the layout of `x`, scale and shift. Tensors that
            the method does not take are ignored.
        **settings: values of the knobs; other knobs have their defaults.

    Returns:
        The normalized activations, in the shape and layout of `x`.

    Raises:
        ValueError: an invalid setting, shape or layout; gamma or beta for a method without them.
    """
    if not method.takes_activations:
        raise ValueError(f"{method.name} acts on {method.acts_on}, not on a tensor of activations")
    if x.ndim != len(layout):
        raise ValueError(f"the layout {layout} needs {len(layout)} axes; received shape {tuple(x.shape)}")
    for argument, symbol, value, neutral in (("weight", "gamma", gamma, 1.0), ("bias", "beta", beta, 0.0)):
        if value != neutral and not method.takes(argument):
            raise ValueError(f"{method.name} has no {symbol}; leave it at {neutral:g}, received {value:g}")
    given = method.settings(settings)
    y = run(method, x, layout, _affine(method, x, layout, gamma, beta) | tensors(method, layout, running, sides), given)
    if method.scale and (gamma, beta) != (1.0, 0.0):
        y = torch.add(torch.tensor(beta, dtype=y.dtype, device=y.device), y, alpha=gamma, out=y)  # one pass, in place
        if sides and "mask" in sides and method.takes("mask"):
            y *= sides["mask"][..., None]  # padding stays 0
    return y  # shape of x


def run(
    method: Normalization, x: Tensor, layout: str, given: Mapping[str, Tensor], settings: Mapping[str, Value]
) -> Tensor:
    """Call a method on `x` in its layout, without the checks of `apply` and with gradients.

    The tensors `given` must have the axis order that the method expects; see `tensors`.
    """
    letters = expected_order(method, layout)
    y = method.function(x.permute([layout.index(letter) for letter in letters]), **given, **settings)
    y = y.permute([letters.index(letter) for letter in layout])
    assert isinstance(y, Tensor)
    return y  # shape of x


def tensors(
    method: Normalization, layout: str, running: tuple[Tensor, Tensor] | None, sides: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The tensor arguments of a method other than `x`: running statistics and side inputs that it takes."""
    available: dict[str, Any] = dict(sides or {})
    if running is not None:
        mean, variance = running
        available |= {"running_mean": mean, "running_var": variance}
        available["running_sq"] = variance.double() + mean.double().square()  # (C,); too large for float32 far from 0
    letters = expected_order(method, layout)
    for name in ("style", "train"):
        if name in available:
            available[name] = available[name].permute([layout.index(letter) for letter in letters])
    return {name: tensor for name, tensor in available.items() if method.takes(name)}


def expected_order(method: Normalization, layout: str) -> str:
    """The letters of the layout in the order that the method expects.

    Raises:
        ValueError: the method does not accept this layout.
    """
    patterns = method.patterns(layout).values()
    if not patterns:
        shapes = " or ".join(f"({', '.join(name.upper())})" for name in method.layouts())
        raise ValueError(f"{method.name} takes inputs {shapes}; received ({', '.join(layout.upper())})")
    return next((order(pattern) for pattern in patterns if pattern), layout)


def _affine(method: Normalization, x: Tensor, layout: str, gamma: float, beta: float) -> dict[str, Tensor]:
    """Gamma and beta as tensors (C,), for a method that does not simply scale and shift its result."""
    if method.scale:
        return {}
    channels = x.shape[2 if layout == "ntd" else 1]
    values = (("weight", gamma), ("bias", beta))
    return {name: x.new_full((channels,), value) for name, value in values if method.takes(name)}
