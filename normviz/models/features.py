"""A classifier without its last layer: what it says of a photo before it decides, its pooled features."""

from __future__ import annotations

from torch import nn

from normviz.attribution.engine.model_copy import structural_copy


def without_head(model: nn.Module) -> nn.Module:
    """A copy of a classifier that shares its weights and returns what its last linear layer reads: (N, D).

    Args:
        model: a network that ends in a linear layer; it is not changed.

    Raises:
        ValueError: the network has no linear layer, or cannot be copied.
    """
    copy = structural_copy(model)
    linear = [name for name, module in copy.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("likeness is that of the features before the last linear layer, and this network has none")
    parent, _, child = linear[-1].rpartition(".")
    if not parent and not child:
        raise ValueError("likeness needs a network with layers before the last linear one; received that layer alone")
    setattr(copy.get_submodule(parent), child, nn.Identity())
    return copy
