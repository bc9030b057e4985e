"""Slow float64 versions of every method, written from the papers with plain loops."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from torch import Tensor


def attribution_reference(name: str) -> Callable[..., Tensor]:
    """The slow version of an attribution method, from whichever module attribution*.py holds it."""
    modules = [info.name for info in pkgutil.iter_modules(__path__) if info.name.startswith("attribution")]
    for module in modules:
        slow: Callable[..., Tensor] | None = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
        if slow is not None:
            return slow
    raise LookupError(f"no reference is called {name}; the modules are {', '.join(modules)}")
