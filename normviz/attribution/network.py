"""What a network tells before anything is explained: its logits, and the layers that have feature maps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from normviz.attribution.private import private_copy

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Scan:
    """What one image tells of a network: the outputs of its modules in the order they finish, its classes."""

    outputs: dict[str, str]  # every module that ran: what it returns, in words
    maps: dict[str, Shape]  # those with feature maps: (K, h, w)
    classes: int


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
    try:
        output = net(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"the model cannot read images of shape {tuple(images.shape)}: {reason}") from error
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if (
        not isinstance(logits, Tensor)
        or logits.ndim != 2
        or len(logits) != len(images)
        or not logits.is_floating_point()
    ):
        raise ValueError(
            f"the model must return logits of shape ({len(images)}, classes), or an object with .logits; "
            f"it returned {in_words(output)}"
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
    if name not in found.maps:
        raise ValueError(
            f"layer {name!r} has no feature maps (N, K, h, w), it returns {found.outputs[name]}; {_offer(found, name)}"
        )
    return name


def _offer(found: Scan, asked: str) -> str:
    names = list(found.maps)
    if len(names) > 12:
        names = difflib.get_close_matches(asked, names, n=6, cutoff=0.0)
        return f"the closest of its {len(found.maps)} layers with feature maps: {', '.join(names)}"
    return f"choose one of {', '.join(names)}" if names else "none of its layers has feature maps"


def scan(model: nn.Module, images: Tensor) -> tuple[Scan, nn.Module]:
    """Run the first image and note what each module returns; also the private copy that was used, which keeps it."""
    with private_copy(model) as net:
        known = _SCANS.setdefault(net, {})
        key = (images.shape[1:], images.dtype, images.device)
        if key not in known:
            known[key] = _observe(net, images[:1])
        return known[key], net


def _observe(net: nn.Module, image: Tensor) -> Scan:
    outputs: dict[str, str] = {}
    maps: dict[str, Shape] = {}
    hooks = []
    for name, module in net.named_modules():
        if not name:
            continue

        def note(module: nn.Module, args: Any, output: object, name: str = name) -> None:
            outputs[name] = in_words(output)
            if has_maps(output):
                maps.pop(name, None)  # a module that runs again finishes later
                maps[name] = tuple(output.shape[1:])

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.inference_mode(False), torch.no_grad():
            classes = read_logits(net, image.clone()).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    return Scan(outputs, maps, classes)


def has_maps(output: object) -> TypeGuard[Tensor]:
    """Whether what a module returned is feature maps (N, K, h, w)."""
    return isinstance(output, Tensor) and output.ndim == 4 and output.is_floating_point()


def in_words(value: object) -> str:
    """What a value is, for an error sentence."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"{value!r}" if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"
