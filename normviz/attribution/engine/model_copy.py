"""Structural copies of networks, which share the weights and keep the original unmodified.

Hooks, gradients and modes belong to a module, and a module may be run by several threads. Therefore attribution never
runs the given network: it borrows a copy with its own modules and shared parameters and buffers. Copies are cached per
network, and each is used by one thread at a time.
"""

from __future__ import annotations

import copy
import pickle
import threading
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

MAX_IDLE = 8  # idle copies per network; a copy needs a few hundred KB for its module objects
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_INSTALLED = "_output_capturing_hooks_installed"  # set by transformers on modules with hooks; copies have none
_OWN = {"training", "_parameters", "_buffers", "_modules", _INSTALLED, *_HOOKS}  # not compared as settings
_MISSING = object()
_PLAIN = (
    bool, int, float, complex, str, bytes, type(None), type, types.FunctionType, types.BuiltinFunctionType,
    torch.dtype, torch.device,
)  # fmt: skip
_UNCOPYABLE = (
    TypeError, RuntimeError, AttributeError, NotImplementedError, ValueError, copy.Error, pickle.PicklingError,
)  # fmt: skip
_IDLE: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()
_LOCK = threading.Lock()  # guards the lists of idle copies, never a forward pass


@contextmanager
def borrow_copy(model: nn.Module, preferred: nn.Module | None = None) -> Iterator[nn.Module]:
    """Borrow a copy of the network, in inference mode and without hooks, for exclusive use by this thread.

    A copy is discarded if it no longer matches the network (after a module, parameter or setting was replaced), or if
    an exception occurred while it was borrowed.

    Args:
        model: the network; it is not changed.
        preferred: a copy that was borrowed before; if it is idle, it is returned without comparing it with the network.

    Raises:
        ValueError: the network cannot be copied, or depends on hooks.
    """
    with _LOCK:
        idle = _IDLE.setdefault(model, [])
        borrowed = preferred if preferred in idle else idle[-1] if idle else None
        if borrowed is not None:
            idle.remove(borrowed)
    if borrowed is None or (borrowed is not preferred and not _matches(borrowed, model)):
        borrowed = structural_copy(model)
    yield borrowed
    with _LOCK:
        if len(idle) < MAX_IDLE:
            idle.append(borrowed)


def structural_copy(model: nn.Module) -> nn.Module:
    """A copy of the network with its own modules and shared parameters and buffers.

    The copy is in inference mode, has no hooks, and its parameters do not require gradients.

    Raises:
        ValueError: the network is scripted, not initialized, depends on hooks (the old weight_norm and
            spectral_norm, pruning), or contains an attribute that cannot be copied.
    """
    _check_copyable(model)
    memo = _sharing_memo(model)
    try:
        copied = copy.deepcopy(model, memo).eval()
    except _UNCOPYABLE as error:
        raise ValueError(f"the model cannot be copied: {_uncopyable_attribute(model)}") from error
    for module in copied.modules():
        vars(module).pop(_INSTALLED, None)
    return copied


def _sharing_memo(model: nn.Module) -> dict[int, Any]:
    """The memo for `deepcopy`: tensors are shared, hooks are dropped."""
    memo: dict[int, Any] = {}
    with torch.inference_mode(False):
        for module in model.modules():
            held = vars(module)
            memo.update({id(held[name]): OrderedDict() for name in _HOOKS if name in held})
            for tensor in (*module._parameters.values(), *module._buffers.values(), *held.values()):
                if isinstance(tensor, Tensor) and id(tensor) not in memo:
                    same = tensor.clone() if tensor.is_inference() else tensor.detach()
                    memo[id(tensor)] = nn.Parameter(same, False) if isinstance(tensor, nn.Parameter) else same
    return memo


def _check_copyable(model: nn.Module) -> None:
    """Raise a ValueError for networks that cannot be copied faithfully."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model must be a torch.nn.Module; received {type(model).__name__}")
    for name, module in model.named_modules():
        label = _label(name, module)
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{label} is scripted, so its layers are not accessible: pass the model before torch.jit")
        if any(is_lazy(tensor) for tensor in module._parameters.values()):
            raise ValueError(f"{label} is lazy and has no weights yet: run the model once on a batch of images")
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
                raise ValueError(
                    f"{label} computes its weight in a hook ({type(hook).__name__}), which a copy cannot share: "
                    "remove it (remove_weight_norm, remove_spectral_norm, prune.remove) "
                    "or use torch.nn.utils.parametrizations"
                )


def _uncopyable_attribute(model: nn.Module) -> str:
    """The module and attribute that cannot be copied, as text."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            try:
                if attribute not in _OWN:
                    copy.deepcopy(value, _sharing_memo(model))
            except _UNCOPYABLE as error:
                reason = str(error).split("\n")[0]
                return f"{_label(name, module)} holds a {type(value).__name__} in {attribute!r} ({reason})"
    return "one of its modules does not support copying"


def _label(name: str, module: nn.Module) -> str:
    return f"module {name!r} ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"


def _matches(copied: nn.Module, module: nn.Module) -> bool:
    """Whether a copy still has the modules, tensors and settings of its original."""
    if type(copied) is not type(module):
        return False
    for ours, theirs in ((copied._parameters, module._parameters), (copied._buffers, module._buffers)):
        if ours.keys() != theirs.keys() or not all(_same(ours[key], tensor) for key, tensor in theirs.items()):
            return False
    settings = vars(copied)
    for key, value in vars(module).items():
        other = settings.get(key, _MISSING)
        if other is value or key in _OWN:  # deepcopy keeps numbers, strings, functions and tuples of them
            continue
        if isinstance(value, Tensor) and not _same(other, value):
            return False
        if not isinstance(value, Tensor) and _plain(value) and other != value:
            return False
    parts = copied._modules
    return parts.keys() == module._modules.keys() and all(
        child is parts[key] if child is None or parts[key] is None else _matches(parts[key], child)  # type: ignore[arg-type]
        for key, child in module._modules.items()
    )


def _same(other: object, tensor: Tensor | None) -> bool:
    """Whether two tensors are views of the same memory."""
    if not isinstance(other, Tensor) or tensor is None:
        return other is tensor
    return other.dtype == tensor.dtype and other.device == tensor.device and other.is_set_to(tensor)


def _plain(value: object) -> bool:
    """Whether a setting can be compared: numbers, strings, functions, and collections of them."""
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return all(map(_plain, value)) if isinstance(value, tuple | list) else isinstance(value, _PLAIN)
