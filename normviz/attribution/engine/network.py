"""What a network tells before anything is explained: its logits, and the layers that have feature maps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from normviz.attribution.engine.grid import Grid, find_grid, first_tensor, replaced
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.targets import logits_of

Shape = tuple[int, ...]
_UNREADABLE = (RuntimeError, TypeError, IndexError, KeyError, AttributeError, AssertionError)  # of a foreign forward
_PLAIN = (nn.Linear, nn.Dropout, nn.Identity)  # of tokens, these are no layer that one would look at by default


@dataclass(frozen=True)
class Scan:
    """What one image tells of a network.

    Attributes:
        outputs: every module that ran, in the order they finish: what it returns, in words.
        grids: those with feature maps: how they are read.
        default: the layer that is read if none is named.
        classes: the number of classes; 0 where the output is no logits.
        refusal: the error that says why the output is no logits.
    """

    outputs: dict[str, str]
    grids: dict[str, Grid]
    default: str | None
    classes: int
    refusal: ValueError | None

    @property
    def maps(self) -> dict[str, Shape]:
        """The layers with feature maps, and their shapes (K, h, w)."""
        return {name: grid.shape for name, grid in self.grids.items()}


_SCANS: WeakKeyDictionary[nn.Module, dict[object, Scan]] = WeakKeyDictionary()  # by private copy, then by input


@contextmanager
def recording() -> Iterator[None]:
    """Record gradients, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def read_logits(net: nn.Module, images: Tensor) -> Tensor:
    """The logits (N, classes) that a network returns, checked.

    Raises:
        ValueError: the network cannot read the images, returns something else, or returns NaN or infinity.
    """
    return as_logits(read_output(net, images), images)


def read_output(net: nn.Module, images: Tensor) -> object:
    """What a network returns for images, whatever that is.

    Raises:
        ValueError: the network cannot read the images, or needs something besides.
    """
    try:
        return net(images)
    except torch.OutOfMemoryError:
        raise
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        if isinstance(error, TypeError) and "required positional argument" in reason:
            raise ValueError(
                f"the model needs more than images ({reason}): give a module that binds the other inputs"
            ) from error
        raise ValueError(f"the model cannot read images of shape {tuple(images.shape)}: {reason}") from error


def as_logits(output: object, images: Tensor) -> Tensor:
    """The logits (N, classes) in what a network returned, checked.

    Raises:
        ValueError: there are none, or they hold NaN or infinity.
    """
    logits = logits_of(output)
    if (
        not isinstance(logits, Tensor)
        or logits.ndim != 2
        or len(logits) != len(images)
        or not logits.is_floating_point()
    ):
        raise ValueError(
            f"the model must return logits of shape ({len(images)}, classes), or an object with .logits; "
            f"it returned {describe_value(output)}"
        )
    if not (finite := torch.isfinite(logits)).all():
        image, index = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"the model's logits are not finite (image {image}, class {index}: {logits[image, index].item()}): "
            "its weights hold NaN, or the images are out of the range that it was trained on"
        )
    return logits


def layer_name(model: nn.Module, found: Scan, layer: str | nn.Module) -> str:
    """The name of the layer, if it ran and returned feature maps."""
    try:
        module = model.get_submodule(layer) if isinstance(layer, str) else layer
        name: str = next(name for name, other in model.named_modules() if other is module and name)
    except (AttributeError, StopIteration):
        if not isinstance(layer, str):
            raise ValueError(f"the layer {type(layer).__name__} given as a module is no part of this model") from None
        raise ValueError(f"the model has no layer {layer!r}; {_offer(found, layer)}") from None
    if name not in found.outputs:
        raise ValueError(f"layer {name!r} does not run on these images; {_offer(found, name)}")
    if name not in found.grids:
        raise ValueError(
            f"layer {name!r} has no feature maps (N, K, h, w), it returns {found.outputs[name]}; {_offer(found, name)}"
        )
    return name


def _offer(found: Scan, asked: str) -> str:
    names = list(found.grids)
    if len(names) > 12:
        names = difflib.get_close_matches(asked, names, n=6, cutoff=0.0)
        return f"the closest of its {len(found.grids)} layers with feature maps: {', '.join(names)}"
    return f"choose one of {', '.join(names)}" if names else "none of its layers has feature maps"


def scan(model: nn.Module, images: Tensor) -> tuple[Scan, nn.Module]:
    """Run the first image and note what each module returns; also the private copy that was used, which keeps it."""
    with borrow_copy(model) as net:
        known = _SCANS.setdefault(net, {})
        key = (images.shape[1:], images.dtype, images.device)
        if key not in known:
            known[key] = _observe(net, images[:1])
        return known[key], net


def _observe(net: nn.Module, image: Tensor) -> Scan:
    outputs: dict[str, str] = {}
    grids: dict[str, Grid] = {}
    hooks = []
    for name, module in net.named_modules():
        if not name:
            continue

        def note(module: nn.Module, args: Any, output: object, name: str = name) -> None:
            outputs[name] = describe_value(output)
            if (grid := find_grid(module, output, image)) is not None:
                grids.pop(name, None)  # a module that runs again finishes later
                grids[name] = grid

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.inference_mode(False), torch.no_grad():
            output = read_output(net, image.clone())
    finally:
        for hook in hooks:
            hook.remove()
    try:
        classes, refusal = as_logits(output, image).shape[1], None
    except ValueError as error:
        classes, refusal = 0, error.with_traceback(None)
    return Scan(outputs, grids, _default(net, image, grids), classes, refusal)


def _default(net: nn.Module, image: Tensor, grids: dict[str, Grid]) -> str | None:
    """The last layer with more than one cell; of tokens, the last whose cells still reach the output."""
    wide = [name for name, grid in grids.items() if grid.shape[1] * grid.shape[2] > 1]
    if not wide or not any(grids[name].extra for name in wide):
        return wide[-1] if wide else None
    reached: dict[str, Tensor] = {}
    hooks = []
    for name in wide:

        def shift(module: nn.Module, args: Any, output: object, name: str = name) -> object:
            tensor = first_tensor(output)
            if tensor is None or not grids[name].reads(output):
                return None
            reached[name] = torch.zeros_like(tensor).requires_grad_()
            return replaced(output, tensor + reached[name])

        hooks.append(net.get_submodule(name).register_forward_hook(shift))
    try:
        with recording():
            tensor = first_tensor(_largest(read_output(net, image.clone())))
    finally:
        for hook in hooks:
            hook.remove()
    if tensor is None or not tensor.requires_grad:
        return wide[-1]
    gradients = torch.autograd.grad(tensor.square().sum(), list(reached.values()), allow_unused=True)
    alive = {
        name
        for name, gradient in zip(reached, gradients, strict=True)
        if gradient is not None and grids[name].fold(gradient).any()
    }
    fitting = [name for name in wide if name in alive and not isinstance(net.get_submodule(name), _PLAIN)]
    return (fitting or wide)[-1]


def _largest(output: object) -> object:
    """The tensor of an output that stands for it: its logits, its pooled features, or the first one."""
    for name in ("logits", "pooler_output", "last_hidden_state"):
        if isinstance(found := getattr(output, name, None), Tensor):
            return found
    return next(iter(output.values()), None) if isinstance(output, dict) else output


def describe_value(value: object) -> str:
    """What a value is, for an error sentence."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"{value!r}" if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"
