"""A forward pass that is cut at the layers to read; probes of the same images share it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from normviz.attribution.engine.downstream import Downstream
from normviz.attribution.engine.grid import Grid, first_tensor, replaced
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import (
    as_logits,
    describe_value,
    layer_name,
    read_logits,
    read_output,
    recording,
    scan,
)
from normviz.attribution.targets import Score


class Forward:
    """A forward pass of a network over images, run on demand; thread-safe.

    Args:
        model: the network; it is not changed.
        images: (N, C, H, W).
        layers: the layers to read, as dotted names or modules; None: the default layer.

    Attributes:
        layers: their names; empty if the network has no layer with feature maps.
    """

    def __init__(self, model: nn.Module, images: Tensor, layers: Sequence[str | nn.Module] | None) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)  # unwrap torch.compile
        self.images = checked_images(self.model, images)
        self.scan, self._net = scan(self.model, self.images)
        self.layers: tuple[str, ...] = (self.scan.default,) if self.scan.default else ()
        if layers is not None:
            self.layers = tuple(layer_name(self.model, self.scan, layer) for layer in layers)
        self._lock = threading.RLock()
        self._logits: Tensor | None = None
        self._output: object = None  # of the pass with the autograd graph from the layers on
        self._read: dict[str, Tensor] = {}  # outputs by layer: leaves or nodes of that graph
        self._downstream: dict[tuple[str, int], Downstream] = {}

    def net(self) -> AbstractContextManager[nn.Module]:
        """Borrow a copy of the network as it was when the probe was created, preferably the one that was scanned."""
        return borrow_copy(self.model, self._net)

    def grid(self, layer: str) -> Grid:
        """The conversion between the layer's output and feature maps."""
        return self.scan.grids[layer]

    def logits(self) -> Tensor:
        """The logits (N, classes), detached."""
        with self._lock:
            if self._logits is None:
                if self.scan.refusal is not None:
                    raise ValueError(str(self.scan.refusal))
                if self.layers:
                    self.run()
                else:
                    with self.net() as net, torch.inference_mode(False), torch.no_grad():
                        self._logits = read_logits(net, self.images.clone())  # (N, classes)
            assert self._logits is not None  # the pass sets it
            return self._logits

    def store_logits(self, logits: Tensor) -> None:
        """Store the logits of another pass over the same images, unless they are known already."""
        with self._lock:
            self._logits = logits if self._logits is None else self._logits

    def run(self) -> None:
        """Run the network once, cut at the layers; no graph is kept before the first of them."""
        with self._lock:
            if self._output is not None:
                return
            with self.net() as net, recording():
                hooks = [
                    net.get_submodule(name).register_forward_hook(self._cut(name))
                    for name in dict.fromkeys(self.layers)
                ]
                try:
                    output = read_output(net, self.images.clone())
                finally:
                    for hook in hooks:
                        hook.remove()
                if self.scan.refusal is None:
                    self.store_logits(as_logits(output, self.images).detach())
            self._output = output

    def _cut(self, name: str) -> Any:
        """A hook that stores a layer's output and passes on a copy, because later modules may write to it in place."""
        grid, alone = self.grid(name), len(set(self.layers)) == 1

        def cut(module: nn.Module, args: Any, output: object) -> object:
            tensor = first_tensor(output)
            if tensor is None or not grid.reads(output):
                return None
            if alone or not tensor.requires_grad:
                self._read[name] = tensor.detach().clone().requires_grad_()
            else:
                self._read[name] = tensor.clone()
            return replaced(output, self._read[name].clone())

        return cut

    def activations(self, layer: str) -> Tensor:
        """The layer's output (N, K, h, w), detached."""
        self.run()
        return self.grid(layer).fold(self._read[layer].detach())  # (N, K, h, w)

    def scores(self, target: Tensor | Score) -> Tensor:
        """The score (N,) of each image, detached."""
        if isinstance(target, Tensor):
            return self.logits().gather(1, target[:, None])[:, 0]  # (N,)
        if not self.layers:
            with self.net() as net, torch.inference_mode(False), torch.no_grad():
                return checked_score(target, read_output(net, self.images.clone()), len(self.images))  # (N,)
        self.run()
        with torch.no_grad():
            return checked_score(target, self._output, len(self.images)).detach()  # (N,)

    def gradients(self, target: Tensor | Score) -> dict[str, Tensor]:
        """The gradient (N, K, h, w) of the score by layer; only the part after the layers is differentiated."""
        self.run()
        with self._lock, recording():
            scores = score_of(target, self._output, self.images)  # (N,)
            gradients = gradients_of(scores, [self._read[name] for name in self.layers], f"layer {self.layers[0]!r}")
        return {
            name: self.grid(name).fold(gradient) for name, gradient in zip(self.layers, gradients, strict=True)
        }  # (N, K, h, w) each

    def class_gradients(self, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """The gradients (T, N, K, h, w) of T targets (N,) by layer, from one batched backward pass."""
        self.run()
        with self._lock, recording():
            logits = as_logits(self._output, self.images)  # (N, classes)
            chosen = torch.stack([torch.zeros_like(logits).scatter(1, t[:, None], 1.0) for t in targets])  # (T, N, C)
            sources = [self._read[name] for name in self.layers]
            gradients = gradients_of(logits, sources, f"layer {self.layers[0]!r}", chosen)
        return {
            name: torch.stack([self.grid(name).fold(one) for one in gradient])
            for name, gradient in zip(self.layers, gradients, strict=True)
        }  # (T, N, K, h, w) each

    def downstream(self, layer: str, index: int) -> Downstream:
        """The part after a layer for image `index`; only the last one requested is cached."""
        self.run()
        with self._lock:
            if (layer, index) not in self._downstream:
                image = self.images[index : index + 1]  # (1, C, H, W)
                self._downstream = {(layer, index): Downstream(self.model, image, layer, self.grid(layer))}
            return self._downstream[layer, index]


def score_of(target: Tensor | Score, output: object, images: Tensor) -> Tensor:
    """The score (N,) computed from the model's output for N images.

    Args:
        target: (N,), the class of each image, or a function of the output.
        output: the model's output.
        images: (N, C, H, W).
    """
    if isinstance(target, Tensor):
        return as_logits(output, images).gather(1, target[:, None])[:, 0]  # (N,)
    return checked_score(target, output, len(images))  # (N,)


def checked_score(target: Score, output: object, count: int) -> Tensor:
    """The score that a target computes from an output, checked: one finite number for each of `count` images."""
    score = target(output)
    if not isinstance(score, Tensor) or score.shape != (count,) or not score.is_floating_point():
        raise ValueError(f"a target must return one number per image, ({count},); it returned {describe_value(score)}")
    if not torch.isfinite(score).all():
        raise ValueError("the score is not finite: the model's weights or its output contain NaN or infinity")
    return score  # (N,)


def gradients_of(scores: Tensor, sources: Sequence[Tensor], name: str, weights: Tensor | None = None) -> list[Tensor]:
    """The gradients of the sum of scores with respect to each source.

    Args:
        scores: (N,), or any shape if `weights` are given.
        sources: tensors to differentiate with respect to.
        name: name of the first source, for the error message.
        weights: (T, *scores.shape), weights of T weighted sums of the scores; the gradients get T as first dimension.

    Raises:
        ValueError: the scores do not depend on the sources.
    """
    found: Sequence[Tensor | None] = [None] * len(sources)
    if scores.requires_grad:
        if weights is None:
            found = torch.autograd.grad(scores.sum(), sources, retain_graph=True, allow_unused=True)
        else:
            found = torch.autograd.grad(
                scores, sources, weights, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
    if all(gradient is None for gradient in found):
        raise ValueError(
            f"no gradient flows from the logits to {name}: the logits do not depend on it, "
            "or the model's forward method disables gradients"
        )
    count = () if weights is None else (len(weights),)
    return [
        source.new_zeros(count + source.shape) if gradient is None else gradient.detach()
        for source, gradient in zip(sources, found, strict=True)
    ]


def checked_images(model: nn.Module, images: Tensor) -> Tensor:
    """A detached copy of the images, checked.

    Raises:
        ValueError: the model is not a module, or the images have an unsupported shape, type or device.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model must be a torch.nn.Module; received {type(model).__name__}")
    if not isinstance(images, Tensor) or images.ndim != 4 or images.numel() == 0:
        raise ValueError(
            f"images must have shape (N, C, H, W) with every size at least 1; received {describe_value(images)}"
        )
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point, normalized as the model expects; received {images.dtype}")
    if not torch.isfinite(images).all():
        raise ValueError("images must be finite; received NaN or infinity")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is not None and (weight.device, weight.dtype) != (images.device, images.dtype):
        raise ValueError(
            f"images must have the dtype and device of the model's weights ({weight.dtype} on {weight.device}); "
            f"received {images.dtype} on {images.device}"
        )
    with torch.inference_mode(False):
        return images.detach().clone()  # (N, C, H, W)
