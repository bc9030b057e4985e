"""Inspection of a network: its output, its logits, and its layers with feature maps."""

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
_UNREADABLE = (
    RuntimeError, TypeError, IndexError, KeyError, AttributeError, AssertionError,
)  # fmt: skip  # raised by a forward method on unsuitable input
_PLAIN = (nn.Linear, nn.Dropout, nn.Identity)  # not chosen as the default layer of a transformer


@dataclass(frozen=True)
class Scan:
    """The structure of a network, observed with one image.

    Attributes:
        outputs: a description of the output of every module that ran, in the order in which they finish.
        grids: the conversion to feature maps, for modules that have them.
        default: the default layer.
        classes: the number of classes; 0 if the output is not logits.
        refusal: the error that explains why the output is not logits.
    """

    outputs: dict[str, str]
    grids: dict[str, Grid]
    default: str | None
    classes: int
    refusal: ValueError | None

    @property
    def maps(self) -> dict[str, Shape]:
        """The shapes (K, h, w) of the layers with feature maps."""
        return {name: grid.shape for name, grid in self.grids.items()}


_SCANS: WeakKeyDictionary[nn.Module, dict[object, Scan]] = WeakKeyDictionary()  # by copy, then by input


@contextmanager
def recording() -> Iterator[None]:
    """Enable gradients, even inside `no_grad` or `inference_mode`."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def read_logits(net: nn.Module, images: Tensor) -> Tensor:
    """Run the network and return its logits (N, classes), checked.

    Raises:
        ValueError: the network cannot process the images, returns something else, or returns NaN or infinity.
    """
    return as_logits(read_output(net, images), images)


def read_output(net: nn.Module, images: Tensor) -> object:
    """Run the network and return its output, of any type.

    Raises:
        ValueError: the network cannot process the images, or requires other inputs.
    """
    try:
        return net(images)
    except torch.OutOfMemoryError:
        raise
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        if isinstance(error, TypeError) and "required positional argument" in reason:
            raise ValueError(
                f"the model requires inputs besides images ({reason}): wrap it in a module that fixes the other "
                "inputs, such as normviz.models.fixed_inputs.FixedInputs"
            ) from error
        raise ValueError(f"the model cannot process images of shape {tuple(images.shape)}: {reason}") from error


def as_logits(output: object, images: Tensor) -> Tensor:
    """The logits (N, classes) in a network's output, checked.

    Raises:
        ValueError: the output contains no logits, or they contain NaN or infinity.
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
            "its weights contain NaN, or the images are outside the range of the training data"
        )
    return logits


def layer_name(model: nn.Module, structure: Scan, layer: str | nn.Module) -> str:
    """The name of a layer, checked: it must run and return feature maps."""
    try:
        module = model.get_submodule(layer) if isinstance(layer, str) else layer
        name: str = next(name for name, other in model.named_modules() if other is module and name)
    except (AttributeError, StopIteration):
        if not isinstance(layer, str):
            raise ValueError(
                f"the module {type(layer).__name__} given as the layer is not part of this model"
            ) from None
        raise ValueError(f"the model has no layer {layer!r}; {_suggest(structure, layer)}") from None
    if name not in structure.outputs:
        raise ValueError(f"layer {name!r} does not run on these images; {_suggest(structure, name)}")
    if name not in structure.grids:
        raise ValueError(
            f"layer {name!r} has no feature maps (N, K, h, w); it returns {structure.outputs[name]}; "
            f"{_suggest(structure, name)}"
        )
    return name


def _suggest(structure: Scan, requested: str) -> str:
    """The layers to choose from; if there are many, those with the most similar names."""
    names = list(structure.grids)
    if len(names) > 12:
        names = difflib.get_close_matches(requested, names, n=6, cutoff=0.0)
        return f"the closest of its {len(structure.grids)} layers with feature maps: {', '.join(names)}"
    return f"choose one of {', '.join(names)}" if names else "none of its layers has feature maps"


def scan(model: nn.Module, images: Tensor) -> tuple[Scan, nn.Module]:
    """Observe the first image's pass; return the structure and the copy that was used, to which it is attached."""
    with borrow_copy(model) as net:
        scans = _SCANS.setdefault(net, {})
        key = (images.shape[1:], images.dtype, images.device)
        if key not in scans:
            scans[key] = _observe(net, images[:1])
        return scans[key], net


def _observe(net: nn.Module, image: Tensor) -> Scan:
    outputs: dict[str, str] = {}
    grids: dict[str, Grid] = {}
    hooks = []
    for name, module in net.named_modules():
        if not name:
            continue

        def observe(module: nn.Module, args: Any, output: object, name: str = name) -> None:
            outputs[name] = describe_value(output)
            if (grid := find_grid(module, output, image)) is not None:
                grids.pop(name, None)  # a module that runs again finishes later
                grids[name] = grid

        hooks.append(module.register_forward_hook(observe))
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
    """The last layer with more than one cell; in a transformer, the last whose cells influence the output."""
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
            tensor = first_tensor(_main_tensor(read_output(net, image.clone())))
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


def _main_tensor(output: object) -> object:
    """The main tensor of an output: its logits, its pooled features, or the first entry."""
    for name in ("logits", "pooler_output", "last_hidden_state"):
        if isinstance(found := getattr(output, name, None), Tensor):
            return found
    return next(iter(output.values()), None) if isinstance(output, dict) else output


def describe_value(value: object) -> str:
    """A description of a value, for error messages."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"{value!r}" if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"
