"""Run any registered normalization on activations in their own layout."""

from __future__ import annotations

import torch
from torch import Tensor

from normviz.normalization.statistics import order
from normviz.registry import Method, Value


@torch.no_grad()
def apply(
    method: Method,
    x: Tensor,
    layout: str,
    gamma: float = 1.0,
    beta: float = 0.0,
    running: tuple[Tensor, Tensor] | None = None,
    **settings: Value,
) -> Tensor:
    """Normalize activations: move the axes as the method expects, call it, move them back, then scale and shift.

    Args:
        method: a registered normalization.
        x: the activations, (N, C), (N, T, D) or (N, C, H, W); they are not changed.
        layout: "nc", "ntd" or "nchw".
        gamma: one scale for all values.
        beta: one shift for all values.
        running: running mean and variance, (C,) each, for a method that reads them.
        **settings: the method's knobs; the others have their defaults.

    Returns:
        The normalized activations, shape and layout of `x`.

    Raises:
        ValueError: a setting, shape or layout that the method does not take; a gamma or beta where it has none.
    """
    if x.ndim != len(layout):
        raise ValueError(f"the layout {layout} needs {len(layout)} axes; received shape {tuple(x.shape)}")
    for argument, symbol, value, neutral in (("weight", "gamma", gamma, 1.0), ("bias", "beta", beta, 0.0)):
        if value != neutral and not method.takes(argument):
            raise ValueError(f"{method.name} has no {symbol}; leave it at {neutral:g}, received {value:g}")
    state = {}
    if running is not None and method.takes("running_mean"):
        state = {"running_mean": running[0], "running_var": running[1]}
    letters = _order(method, layout)
    y = method.function(x.permute([layout.index(letter) for letter in letters]), **state, **method.settings(settings))
    y = y.permute([letters.index(letter) for letter in layout])
    if (gamma, beta) != (1.0, 0.0):
        y = torch.add(torch.tensor(beta, dtype=y.dtype, device=y.device), y, alpha=gamma, out=y)  # one pass, in place
    assert isinstance(y, Tensor)
    return y  # shape of x


def _order(method: Method, layout: str) -> str:
    """The layout's letters in the order that the method expects, with and without shared axes."""
    patterns = [pattern for key, pattern in method.axes.items() if key.split(" ")[0] == layout]
    return order(patterns[0]) if patterns else layout
