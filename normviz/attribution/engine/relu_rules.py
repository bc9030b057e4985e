"""Modified backward rules for ReLUs, applied to all kinds of ReLU during one forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Rule = Literal["deconvnet", "guided"]

_RELU = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_RELU6 = {F.relu6}
_HARDTANH = {F.hardtanh}  # nn.ReLU6 arrives as hardtanh between 0 and 6
_CLAMP = {torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_}
_SMOOTH = {
    F.gelu: "GELU", F.silu: "SiLU", F.mish: "Mish", F.hardswish: "Hardswish", F.elu: "ELU", F.selu: "SELU",
    F.celu: "CELU", F.leaky_relu: "LeakyReLU", F.prelu: "PReLU", F.rrelu: "RReLU", F.softplus: "Softplus",
}  # fmt: skip


class ReluRule(TorchFunctionMode):
    """While active, ReLUs in this thread propagate gradients by a modified rule.

    `F.relu`, `torch.relu`, `x.relu_()`, `nn.ReLU`, ReLU6 and clamps at 0 are recognized, in-place or not.

    Attributes:
        found: number of ReLUs that depend on the input.
        others: names of other activation functions, for which the rule is not defined.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.found = 0
        self.others: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SMOOTH:
            self.others.add(_SMOOTH[func])
        ceiling = _ceiling(func, args, kwargs)
        x = args[0] if args else kwargs.get("input")
        if ceiling is None or not isinstance(x, Tensor) or not x.requires_grad:
            return func(*args, **kwargs)
        self.found += 1
        inplace = func.__name__.endswith("_") or kwargs.get("inplace", False)
        return _RuledRelu.apply(x, self.rule == "guided", ceiling, inplace)  # type: ignore[no-untyped-call]


def _ceiling(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float | None:
    """The value at which the ReLU of this call saturates (infinity for a plain one); None for any other call."""
    if func in _RELU:
        return math.inf
    if func in _RELU6:
        return 6.0
    low, high = None, None
    if func in _HARDTANH:
        low, high = kwargs.get("min_val", -1.0), kwargs.get("max_val", 1.0)
    elif func in _CLAMP:
        bounds = dict(zip(("min", "max"), args[1:], strict=False)) | dict(kwargs)
        low, high = bounds.get("min"), bounds.get("max")
    if not isinstance(low, int | float) or low != 0 or isinstance(high, Tensor):
        return None
    return math.inf if high is None else float(high)


class _RuledRelu(torch.autograd.Function):
    """min(max(x, 0), ceiling), with backward relu(R) for deconvnet and relu(R) 1[0 < x < ceiling] for guided."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, guided: bool, ceiling: float, inplace: bool) -> Tensor:
        if guided:
            ctx.save_for_backward((x > 0) & (x < ceiling))
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(0, ceiling)
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None, None]:
        positive = relevance.clamp(min=0)  # shape of x
        for passed in ctx.saved_tensors:
            positive = positive * passed  # shape of x
        return positive, None, None, None
