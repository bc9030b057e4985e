"""A classifier without its last layer, which returns pooled features."""

from __future__ import annotations

from torch import nn

from normviz.attribution.engine.model_copy import structural_copy


def without_head(model: nn.Module) -> nn.Module:
    """A copy of a classifier that shares its weights and returns the input (N, D) of its last linear layer.

    Args:
        model: a network that ends in a linear layer; it is not modified.

    Raises:
        ValueError: the network has no linear layer, or cannot be copied.
    """
    copy = structural_copy(model)
    linear = [name for name, module in copy.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            "similarity compares the features before the last linear layer; this network has no such layer"
        )
    parent, _, child = linear[-1].rpartition(".")
    if not parent and not child:
        raise ValueError(
            "similarity requires layers before the last linear layer; this network is a single linear layer"
        )
    setattr(copy.get_submodule(parent), child, nn.Identity())
    return copy
