"""Batch norms folded into the convolutions before them, found by watching one forward pass.

Nothing is traced symbolically: that would patch `nn.Module` for all threads. Watching is local to the thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from normviz.attribution.engine.model_copy import structural_copy
from normviz.attribution.engine.network import read_output
from normviz.attribution.targets import logits_of


class _Uses(TorchFunctionMode):
    """Counts how often each tensor enters a function that returns tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            self.count.update(id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        return result


def folded_copy(model: nn.Module, image: Tensor) -> tuple[nn.Module, str]:
    """A private copy of the network with its batch norms folded, and in words what was done.

    A batch norm is folded when it alone reads a convolution that runs once, and the copy is kept only if
    it gives the same output.

    Args:
        model: the network; it is not changed.
        image: (1, C, H, W).

    Raises:
        ValueError: the network cannot be copied, or cannot read the image.
    """
    net = structural_copy(model)
    pairs, before = _pairs(net, image)
    if not pairs:
        return net, "no batch norm to fold"
    for conv, norm in pairs:
        assert norm.running_mean is not None and norm.running_var is not None  # _pairs() takes no other
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )  # (K, C, h, w), (K,)
        norm.forward = nn.Identity().forward  # type: ignore[method-assign]
    if not _same(_tensors(read_output(net, image.clone())), before):
        return structural_copy(model), "batch norms not folded, as that would change the output"
    return net, f"batch norms folded: {len(pairs)}"


def _same(after: list[Tensor], before: list[Tensor]) -> bool:
    """Whether two outputs are equal but for rounding; nothing is not enough to tell."""
    if not before or len(after) != len(before):
        return False
    return all(
        (new - old).abs().max() <= torch.finfo(old.dtype).eps ** 0.5 * old.abs().max()
        for new, old in zip(after, before, strict=True)
    )


def _tensors(output: object) -> list[Tensor]:
    """The floating-point tensors in what a network returned."""
    leaves = tree_leaves(logits_of(output))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()]


def _pairs(net: nn.Module, image: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], list[Tensor]]:
    """Convolutions and the batch norms that alone read them, each of which runs once; also the network's output."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the output's id, which is kept alive
    read: list[tuple[nn.BatchNorm2d, int]] = []
    uses = _Uses()
    runs: Counter[nn.Module] = Counter()

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)  # hooked on these only
        runs[module] += 1
        outputs[id(output)] = (module, output)
        uses.count[id(output)] = 0  # a tensor that is gone may have had this id

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)  # hooked on these only
        runs[module] += 1
        if args and id(args[0]) in outputs:  # which is alive, so nothing else has its id
            read.append((module, id(args[0])))

    convs = [m for m in net.modules() if type(m) is nn.Conv2d]
    norms = [m for m in net.modules() if type(m) is nn.BatchNorm2d and m.running_mean is not None]
    hooks = [conv.register_forward_hook(after) for conv in convs]
    hooks += [norm.register_forward_pre_hook(before) for norm in norms]
    try:
        with uses:
            output = _tensors(read_output(net, image.clone()))
    finally:
        for hook in hooks:
            hook.remove()
    found = [(outputs[key][0], norm) for norm, key in read if uses.count[key] == 1]
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == 1], output
