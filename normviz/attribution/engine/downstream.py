"""The part of a network after a layer, evaluated for many replacements of the layer's output.

The forward method of a network cannot be entered in the middle. Therefore it is run from the start, on a copy in which
every module that had finished before the layer returns its recorded output without computing anything.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from normviz.attribution.engine.grid import Grid, first_tensor, replaced
from normviz.attribution.engine.model_copy import structural_copy
from normviz.attribution.engine.network import read_output


class Downstream:
    """The part of a network after a layer, for one image.

    Args:
        model: the network; it is not changed.
        image: (1, C, H, W).
        layer: dotted name of the layer; if it runs several times, its last run on feature maps is replaced.
        grid: conversion between the layer's output and feature maps.
    """

    def __init__(self, model: nn.Module, image: Tensor, layer: str, grid: Grid) -> None:
        self._net, self._image, self._grid = structural_copy(model), image, grid
        self._layer = self._net.get_submodule(layer)
        self._lock = threading.Lock()
        self._recorded: dict[nn.Module, list[object]] = {}  # outputs of each module before the layer's last run
        self._runs = 0  # runs of the layer before the one that is replaced
        self._original: Tensor  # output of the layer in the replaced run
        self._expanded = True  # whether recorded outputs are expanded along the batch without copying
        with torch.inference_mode(False), torch.no_grad():
            self._record()
        self._replace()

    def run(self, activations: Tensor) -> object:
        """The network's output when the layer's output is replaced.

        Args:
            activations: (b, K, h, w).

        Returns:
            The model's output for a batch of b.
        """
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._activations, self._count = activations, Counter[nn.Module]()
            image = self._image.expand(len(activations), -1, -1, -1).clone()  # (b, C, H, W)
            try:
                return read_output(self._net, image)
            except ValueError:
                if not self._expanded:
                    raise
                self._expanded = False  # a module writes to its input in place: copy per sample instead
                self._count = Counter()
                return read_output(self._net, image)

    def _siblings(self) -> Iterator[nn.Module]:
        """The siblings of the layer and of its ancestors: each runs entirely before or after the layer."""
        name = next(name for name, module in self._net.named_modules() if module is self._layer)
        parts = name.split(".")
        for depth in range(len(parts)):
            holder = self._net.get_submodule(".".join(parts[:depth])) if depth else self._net
            for child, module in holder.named_children():
                if child != parts[depth] and module is not self._layer:
                    yield module

    def _record(self) -> None:
        """Run the network once and record the outputs of the modules that finish before the layer."""
        finished: list[tuple[nn.Module, object]] = []
        last = -1
        runs = 0

        def record(module: nn.Module, args: Any, output: object) -> None:
            finished.append((module, _copy(output)))

        def record_layer(module: nn.Module, args: Any, output: object) -> None:
            nonlocal last, runs
            tensor = first_tensor(output)
            if tensor is not None and self._grid.reads(output):
                last, self._runs, self._original = len(finished), runs, tensor.clone()
                self._returned = _copy(output)
            runs += 1
            finished.append((module, _copy(output)))

        hooks = [module.register_forward_hook(record) for module in dict.fromkeys(self._siblings())]
        hooks.append(self._layer.register_forward_hook(record_layer))
        try:
            read_output(self._net, self._image.clone())
        finally:
            for hook in hooks:
                hook.remove()
        for module, output in finished[:last]:
            self._recorded.setdefault(module, []).append(output)

    def _replace(self) -> None:
        """Replace the forward methods of the recorded modules and of the layer."""
        for module in {*self._recorded, self._layer}:
            module.forward = self._forward_of(module, module.forward)

    def _forward_of(self, module: nn.Module, compute: Callable[..., object]) -> Callable[..., object]:
        recorded = self._recorded.get(module, [])

        def forward(*args: Any, **kwargs: Any) -> object:
            run = self._count[module]
            self._count[module] += 1
            if module is self._layer and run == self._runs:
                return replaced(self._returned, self._grid.unfold(self._activations, self._original).clone())
            return tree_map(self._expand, recorded[run]) if run < len(recorded) else compute(*args, **kwargs)

        return forward

    def _expand(self, value: object) -> object:
        """A recorded value expanded to the batch."""
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != 1:
            return value.clone() if isinstance(value, Tensor) else value
        wide = value.expand(len(self._activations), *value.shape[1:])
        return wide if self._expanded and len(self._activations) > 1 else wide.clone()


def _copy(output: object) -> object:
    """A copy of an output, because later modules may write to it in place."""
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, output)
