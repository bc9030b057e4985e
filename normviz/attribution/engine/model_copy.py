"""Private copies of a network: they share its weights, and nothing done to them reaches the original.

Hooks, gradients and modes belong to a module, and a module belongs to every thread that can run it. So a
method never touches the network it was given: it borrows a structural copy whose parameters and buffers
are the same memory. Copies are kept per network and lent to one thread at a time.
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

KEPT = 8  # idle copies of one network; a copy weighs about as much as its module objects, some hundred KB
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_INSTALLED = "_output_capturing_hooks_installed"  # transformers: says that a module has hooks, which a copy has not
_OWN = {"training", "_parameters", "_buffers", "_modules", _INSTALLED, *_HOOKS}  # compared otherwise, or not at all
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
def borrow_copy(model: nn.Module, known: nn.Module | None = None) -> Iterator[nn.Module]:
    """Borrow a copy of the network, in inference mode and without hooks, that no other thread has.

    A copy that no longer describes the network (a replaced module, parameter or setting) is dropped, and
    so is one whose use ended in an exception.

    Args:
        model: the network; it is not changed.
        known: a copy that was borrowed before and may be lent again, if it is free, as it was then.

    Raises:
        ValueError: the network cannot be copied, or depends on hooks.
    """
    with _LOCK:
        idle = _IDLE.setdefault(model, [])
        lent = known if known in idle else idle[-1] if idle else None
        if lent is not None:
            idle.remove(lent)
    if lent is None or (lent is not known and not _describes(lent, model)):
        lent = structural_copy(model)
    yield lent
    with _LOCK:
        if len(idle) < KEPT:
            idle.append(lent)


def structural_copy(model: nn.Module) -> nn.Module:
    """A copy of the network with modules of its own and the original's parameters and buffers.

    The parameters of the copy need no gradient, its hooks are gone, it is in inference mode.

    Raises:
        ValueError: the network is scripted, not initialized, depends on hooks (the old weight_norm and
            spectral_norm, pruning), or holds something that cannot be copied.
    """
    _refuse(model)
    memo = _shared(model)
    try:
        ours = copy.deepcopy(model, memo).eval()
    except _UNCOPYABLE as error:
        raise ValueError(f"the model cannot be copied: {_culprit(model)}") from error
    for module in ours.modules():
        vars(module).pop(_INSTALLED, None)
    return ours


def _shared(model: nn.Module) -> dict[int, Any]:
    """The memo for `deepcopy`: tensors stand for themselves, hooks for nothing."""
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


def _refuse(model: nn.Module) -> None:
    """Raise for networks whose modules do not say what they compute."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model must be a torch.nn.Module; received {type(model).__name__}")
    for name, module in model.named_modules():
        called = _called(name, module)
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{called} is scripted, so its layers cannot be seen: give the model before torch.jit")
        if any(is_lazy(tensor) for tensor in module._parameters.values()):
            raise ValueError(f"{called} is lazy and has no weights yet: run the model once on a batch of images")
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
                raise ValueError(
                    f"{called} computes its weight in a hook ({type(hook).__name__}), which a copy cannot share: "
                    "remove it (remove_weight_norm, remove_spectral_norm, prune.remove) "
                    "or use torch.nn.utils.parametrizations"
                )


def _culprit(model: nn.Module) -> str:
    """The module and attribute that cannot be copied, in words."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            try:
                if attribute not in _OWN:
                    copy.deepcopy(value, _shared(model))
            except _UNCOPYABLE as error:
                reason = str(error).split("\n")[0]
                return f"{_called(name, module)} holds a {type(value).__name__} in {attribute!r} ({reason})"
    return "one of its modules forbids it"


def _called(name: str, module: nn.Module) -> str:
    return f"module {name!r} ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"


def _describes(ours: nn.Module, module: nn.Module) -> bool:
    """Whether a copy still has the modules, memory and settings of its original."""
    if type(ours) is not type(module):
        return False
    for mine, theirs in ((ours._parameters, module._parameters), (ours._buffers, module._buffers)):
        if mine.keys() != theirs.keys() or not all(_same(mine[key], tensor) for key, tensor in theirs.items()):
            return False
    settings = vars(ours)
    for key, value in vars(module).items():
        other = settings.get(key, _MISSING)
        if other is value or key in _OWN:  # copying keeps numbers, text, functions and tuples of them
            continue
        if isinstance(value, Tensor) and not _same(other, value):
            return False
        if not isinstance(value, Tensor) and _plain(value) and other != value:
            return False
    parts = ours._modules
    return parts.keys() == module._modules.keys() and all(
        child is parts[key] if child is None or parts[key] is None else _describes(parts[key], child)  # type: ignore[arg-type]
        for key, child in module._modules.items()
    )


def _same(ours: object, tensor: Tensor | None) -> bool:
    """Whether two tensors are the same numbers in the same memory."""
    if not isinstance(ours, Tensor) or tensor is None:
        return ours is tensor
    return ours.dtype == tensor.dtype and ours.device == tensor.device and ours.is_set_to(tensor)


def _plain(value: object) -> bool:
    """Whether a setting can be compared: numbers, text, functions, and collections of them."""
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return all(map(_plain, value)) if isinstance(value, tuple | list) else isinstance(value, _PLAIN)
