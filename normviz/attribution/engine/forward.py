"""One forward pass through a network, cut at the layers that are read; probes of the same images share it."""

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
    """A network's pass over images; its lock is its own, the model has none.

    Args:
        model: the network; it is never changed.
        images: (N, C, H, W).
        layers: the layers to read, as dotted names or modules; None: the default one.

    Attributes:
        layers: their names; empty where the network has no layer with feature maps.
    """

    def __init__(self, model: nn.Module, images: Tensor, layers: Sequence[str | nn.Module] | None) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
        self.images = checked_images(self.model, images)
        self.scan, self._net = scan(self.model, self.images)
        self.layers: tuple[str, ...] = (self.scan.default,) if self.scan.default else ()
        if layers is not None:
            self.layers = tuple(layer_name(self.model, self.scan, layer) for layer in layers)
        self._lock = threading.RLock()
        self._logits: Tensor | None = None
        self._output: object = None  # of the pass that remembers how it follows from the layers
        self._read: dict[str, Tensor] = {}  # by layer: what the module returned, the leaf or a node of that graph
        self._downstream: dict[tuple[str, int], Downstream] = {}

    def net(self) -> AbstractContextManager[nn.Module]:
        """Borrow a private copy, if possible the one that was scanned: the network as it is when a probe is made."""
        return borrow_copy(self.model, self._net)

    def grid(self, layer: str) -> Grid:
        """How the layer's output is read."""
        return self.scan.grids[layer]

    def logits(self) -> Tensor:
        """The logits (N, classes), outside of any graph."""
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

    def offer(self, logits: Tensor) -> None:
        """Keep the logits of another pass over the same images, if none are known yet."""
        with self._lock:
            self._logits = logits if self._logits is None else self._logits

    def run(self) -> None:
        """Run the network, once, cut at the layers: before the first of them no graph is kept."""
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
                    self.offer(as_logits(output, self.images).detach())
            self._output = output

    def _cut(self, name: str) -> Any:
        """A hook that keeps what a layer returns; what follows may write into its input, so it gets a copy."""
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
        """The layer's output (N, K, h, w), outside of any graph."""
        self.run()
        return self.grid(layer).fold(self._read[layer].detach())  # (N, K, h, w)

    def scores(self, target: Tensor | Score) -> Tensor:
        """The target's scalar (N,) of each image, outside of any graph."""
        if isinstance(target, Tensor):
            return self.logits().gather(1, target[:, None])[:, 0]  # (N,)
        if not self.layers:
            with self.net() as net, torch.inference_mode(False), torch.no_grad():
                return checked_score(target, read_output(net, self.images.clone()), len(self.images))  # (N,)
        self.run()
        with torch.no_grad():
            return checked_score(target, self._output, len(self.images)).detach()  # (N,)

    def gradients(self, target: Tensor | Score) -> dict[str, Tensor]:
        """By layer, the gradient (N, K, h, w) of the target's scalar; only what follows is differentiated."""
        self.run()
        with self._lock, recording():
            scores = score_of(target, self._output, self.images)  # (N,)
            found = gradients_of(scores, [self._read[name] for name in self.layers], f"layer {self.layers[0]!r}")
        return {
            name: self.grid(name).fold(gradient) for name, gradient in zip(self.layers, found, strict=True)
        }  # (N, K, h, w) each

    def class_gradients(self, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """By layer, the gradients (T, N, K, h, w) of T targets (N,), by one batched backward pass."""
        self.run()
        with self._lock, recording():
            logits = as_logits(self._output, self.images)  # (N, classes)
            chosen = torch.stack([torch.zeros_like(logits).scatter(1, t[:, None], 1.0) for t in targets])  # (T, N, C)
            sources = [self._read[name] for name in self.layers]
            found = gradients_of(logits, sources, f"layer {self.layers[0]!r}", chosen)
        return {
            name: torch.stack([self.grid(name).fold(one) for one in gradient])
            for name, gradient in zip(self.layers, found, strict=True)
        }  # (T, N, K, h, w) each

    def downstream(self, layer: str, index: int) -> Downstream:
        """What follows a layer, for image `index`; the last one that was asked for is kept."""
        self.run()
        with self._lock:
            if (layer, index) not in self._downstream:
                image = self.images[index : index + 1]  # (1, C, H, W)
                self._downstream = {(layer, index): Downstream(self.model, image, layer, self.grid(layer))}
            return self._downstream[layer, index]


def score_of(target: Tensor | Score, output: object, images: Tensor) -> Tensor:
    """The target's scalar (N,) in what the model returned for N images.

    Args:
        target: (N,) the class of each image, or a function of the output.
        output: what the model returned.
        images: (N, C, H, W).
    """
    if isinstance(target, Tensor):
        return as_logits(output, images).gather(1, target[:, None])[:, 0]  # (N,)
    return checked_score(target, output, len(images))  # (N,)


def checked_score(target: Score, output: object, count: int) -> Tensor:
    """What a target makes of an output: one finite number for each of `count` images."""
    score = target(output)
    if not isinstance(score, Tensor) or score.shape != (count,) or not score.is_floating_point():
        raise ValueError(f"a target must give one number for each image, ({count},); it gave {describe_value(score)}")
    if not torch.isfinite(score).all():
        raise ValueError("the target's score is not finite: the model's weights or its output hold NaN or infinity")
    return score  # (N,)


def gradients_of(scores: Tensor, sources: Sequence[Tensor], called: str, weights: Tensor | None = None) -> list[Tensor]:
    """The gradients of the sum of scores at each source.

    Args:
        scores: (N,), or anything that `weights` (T, *scores.shape) say how to add up, T times.
        sources: what is differentiated by.
        called: the first source's name for the error.
        weights: makes the gradients have T in front.

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
            f"no gradient flows from the logits to {called}: the logits do not depend on it, "
            "or the model's forward switches gradients off"
        )
    count = () if weights is None else (len(weights),)
    return [
        source.new_zeros(count + source.shape) if gradient is None else gradient.detach()
        for source, gradient in zip(sources, found, strict=True)
    ]


def checked_images(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of the images, outside of any graph.

    Raises:
        ValueError: the model is none, or the images are not what it can read.
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
            f"images must lie where the model's weights lie, in their precision ({weight.dtype} on {weight.device}); "
            f"received {images.dtype} on {images.device}"
        )
    with torch.inference_mode(False):
        return images.detach().clone()  # (N, C, H, W)
