"""What follows a layer, run alone: the network from the layer's output on, for many outputs at once.

A network's forward is code of its own, which cannot be entered in the middle. So it is run from its start, on a
private copy in which every module that had finished before the layer ran returns what it returned for the image,
without computing anything.
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
    """The part of a network that follows a layer, for one image.

    Args:
        model: the network; it is not changed.
        image: (1, C, H, W).
        layer: the dotted name of the layer; of several runs, the last on feature maps is the one replaced.
        grid: how the layer's output is read.
    """

    def __init__(self, model: nn.Module, image: Tensor, layer: str, grid: Grid) -> None:
        self._net, self._image, self._grid = structural_copy(model), image, grid
        self._layer = self._net.get_submodule(layer)
        self._lock = threading.Lock()
        self._before: dict[nn.Module, list[object]] = {}  # what each module returned before the layer ran last
        self._runs = 0  # of the layer, before that
        self._original: Tensor  # what the layer returned then
        self._shared = True  # whether the outputs before are seen through one memory by all of the batch
        with torch.inference_mode(False), torch.no_grad():
            self._record()
        self._replace()

    def run(self, activations: Tensor) -> object:
        """What the network returns when the layer's output is replaced.

        Args:
            activations: (b, K, h, w).

        Returns:
            The model's output for b images.
        """
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._given, self._count = activations, Counter[nn.Module]()
            image = self._image.expand(len(activations), -1, -1, -1).clone()  # (b, C, H, W)
            try:
                return read_output(self._net, image)
            except ValueError:
                if not self._shared:
                    raise
                self._shared = False  # something writes into what it is given: each of the batch gets its own
                self._count = Counter()
                return read_output(self._net, image)

    def _beside(self) -> Iterator[nn.Module]:
        """The modules beside the layer and beside those that hold it: each is wholly before or after it."""
        name = next(name for name, module in self._net.named_modules() if module is self._layer)
        parts = name.split(".")
        for depth in range(len(parts)):
            holder = self._net.get_submodule(".".join(parts[:depth])) if depth else self._net
            for child, module in holder.named_children():
                if child != parts[depth] and module is not self._layer:
                    yield module

    def _record(self) -> None:
        """Run the network once, and keep what the modules before the layer returned."""
        finished: list[tuple[nn.Module, object]] = []
        last = -1
        runs = 0

        def keep(module: nn.Module, args: Any, output: object) -> None:
            finished.append((module, _copied(output)))

        def reach(module: nn.Module, args: Any, output: object) -> None:
            nonlocal last, runs
            tensor = first_tensor(output)
            if tensor is not None and self._grid.reads(output):
                last, self._runs, self._original = len(finished), runs, tensor.clone()
                self._returned = _copied(output)
            runs += 1
            finished.append((module, _copied(output)))

        hooks = [module.register_forward_hook(keep) for module in dict.fromkeys(self._beside())]
        hooks.append(self._layer.register_forward_hook(reach))
        try:
            read_output(self._net, self._image.clone())
        finally:
            for hook in hooks:
                hook.remove()
        for module, output in finished[:last]:
            self._before.setdefault(module, []).append(output)

    def _replace(self) -> None:
        """Put what was recorded in the place of what the modules compute."""
        for module in {*self._before, self._layer}:
            module.forward = self._stand_in(module, module.forward)

    def _stand_in(self, module: nn.Module, compute: Callable[..., object]) -> Callable[..., object]:
        known = self._before.get(module, [])

        def forward(*args: Any, **kwargs: Any) -> object:
            turn = self._count[module]
            self._count[module] += 1
            if module is self._layer and turn == self._runs:
                return replaced(self._returned, self._grid.unfold(self._given, self._original).clone())
            return tree_map(self._spread, known[turn]) if turn < len(known) else compute(*args, **kwargs)

        return forward

    def _spread(self, value: object) -> object:
        """A recorded value for the whole batch."""
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != 1:
            return value.clone() if isinstance(value, Tensor) else value
        wide = value.expand(len(self._given), *value.shape[1:])
        return wide if self._shared and len(self._given) > 1 else wide.clone()


def _copied(output: object) -> object:
    """The output as it is now: what follows may write into it."""
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, output)
