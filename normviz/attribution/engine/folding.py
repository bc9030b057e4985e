"""Batch norm folding: merges batch norms into the preceding convolutions, found by observing one forward pass.

Symbolic tracing is not used, because it patches `nn.Module` for all threads; the observation is local to the thread.
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
    """Counts how often each tensor is passed to a function that returns tensors."""

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
    """A copy of the network with folded batch norms, and a description of what was done.

    A batch norm is folded if it is the only consumer of a convolution that runs once. The copy is only kept if its
    output is unchanged.

    Args:
        model: the network; it is not changed.
        image: (1, C, H, W).

    Raises:
        ValueError: the network cannot be copied, or cannot process the image.
    """
    net = structural_copy(model)
    pairs, before = _pairs(net, image)
    if not pairs:
        return net, "no batch norm to fold"
    for conv, norm in pairs:
        assert norm.running_mean is not None and norm.running_var is not None  # ensured by _pairs()
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )  # (K, C, h, w), (K,)
        norm.forward = nn.Identity().forward  # type: ignore[method-assign]
    if not _agree(_tensors(read_output(net, image.clone())), before):
        return structural_copy(model), "batch norms not folded, because that would change the output"
    return net, f"batch norms folded: {len(pairs)}"


def _agree(after: list[Tensor], before: list[Tensor]) -> bool:
    """Whether two outputs agree up to rounding; False if there is nothing to compare."""
    if not before or len(after) != len(before):
        return False
    return all(
        (new - old).abs().max() <= torch.finfo(old.dtype).eps ** 0.5 * old.abs().max()
        for new, old in zip(after, before, strict=True)
    )


def _tensors(output: object) -> list[Tensor]:
    """The floating-point tensors in a network's output."""
    leaves = tree_leaves(logits_of(output))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()]


def _pairs(net: nn.Module, image: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], list[Tensor]]:
    """Pairs of convolution and batch norm to fold, each of which runs once; also the network's output."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by id of the output, which is kept alive
    read: list[tuple[nn.BatchNorm2d, int]] = []
    uses = _Uses()
    runs: Counter[nn.Module] = Counter()

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)  # hooked on these only
        runs[module] += 1
        outputs[id(output)] = (module, output)
        uses.count[id(output)] = 0  # a freed tensor may have had the same id

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)  # hooked on these only
        runs[module] += 1
        if args and id(args[0]) in outputs:  # the tensor is alive, so its id is unique
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
    pairs = [(outputs[key][0], norm) for norm, key in read if uses.count[key] == 1]
    return [(conv, norm) for conv, norm in pairs if runs[conv] == runs[norm] == 1], output
