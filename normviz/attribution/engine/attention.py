"""Unfused attention, because fused attention kernels have no second derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


def unfused(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or for fused attention its implementation in elementary operations."""
    if func is not F.scaled_dot_product_attention:
        return func
    return lambda *args, **kwargs: torch.ops.aten._scaled_dot_product_attention_math(*args, **kwargs)[0]


class UnfusedAttention(TorchFunctionMode):
    """While active, attention in this thread is computed in elementary operations."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return unfused(func)(*args, **(kwargs or {}))
