"""Attention computed step by step: the fused kernels that networks call have no second derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


def plain(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, or for fused attention the same in single steps."""
    if func is not F.scaled_dot_product_attention:
        return func
    return lambda *args, **kwargs: torch.ops.aten._scaled_dot_product_attention_math(*args, **kwargs)[0]


class PlainAttention(TorchFunctionMode):
    """While active, this thread's attention is computed step by step."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return plain(func)(*args, **(kwargs or {}))
