"""Class activation maps with second derivatives of the score."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from normviz.attribution.engine.attention import UnfusedAttention
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.grid import first_tensor, replaced
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import as_logits, read_output, recording, scan
from normviz.attribution.engine.probe import Probe
from normviz.attribution.targets import Score
from normviz.registry import attribution

__all__ = ["shapley_cam"]

Utility = Literal["rest", "logit"]


@attribution(
    title="Shapley-CAM", cite="cai2025cams", level="layer", unit="logits",
    aliases=("ShapleyCAM",),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = \frac{1}{hw} \sum_{ij} \Big(\nabla U - "
    r"\tfrac{1}{2}\,\nabla^2 U\,A\Big)_{kij}, \quad U = S_c + \ln \mathrm{softmax}(S)_c",
)  # fmt: skip
def shapley_cam(probe: Probe, utility: Utility = "rest") -> Tensor:
    """Grad-CAM with a second-order term, which approximates the Shapley value of each activation.

    If the part of the network after the layer is piecewise linear (ReLUs and pooling), the logit has no second
    derivative and its map equals Grad-CAM; the log-probability always has one.

    Args:
        probe: network, images, class and layer.
        utility: the explained score. "rest": the logit plus the log-probability; "logit": the logit. A target that is
            not a class is used unchanged.

    Returns:
        (N, h, w), at least 0, in logits.

    Raises:
        ValueError: an unknown utility.

    Source:
        Cai 2025, the weights of ShapleyCAM and its utility ReST.
    """
    if utility not in get_args(Utility):
        raise ValueError(f"shapley_cam supports {', '.join(get_args(Utility))}; received {utility!r}")
    target = probe.objective
    if utility == "rest" and isinstance(target, Tensor):
        target = _rest(target)
    gradient, product = second_order(probe, target)  # (N, K, h, w) each
    weights = (gradient - product / 2).mean(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * probe.activations).sum(dim=1).relu()  # (N, h, w)


def _rest(target: Tensor) -> Score:
    """The residual softmax target: the logit plus the log-probability of each image's class (N,)."""

    def score(output: object) -> Tensor:
        logits = as_logits(output, target)  # (N, classes)
        return (logits + logits.log_softmax(dim=1)).gather(1, target[:, None])[:, 0]  # (N,)

    return score


def second_order(probe: Probe, target: Tensor | Score) -> tuple[Tensor, Tensor]:
    """The gradient of a score at the probe's layer, and the product of its Hessian with the activations.

    Args:
        probe: network, images and layer.
        target: (N,), the class of each image, or a function of the model's output.

    Returns:
        Two tensors (N, K, h, w).
    """
    structure, copied = scan(probe.model, probe.images)
    grid, leaves = structure.grids[probe.layer], list[Tensor]()

    def cut(module: nn.Module, args: Any, output: object) -> object:
        tensor = first_tensor(output)
        if tensor is None or not grid.reads(output):
            return None
        leaves[:] = [tensor.detach().clone().requires_grad_()]
        return replaced(output, leaves[0].clone())  # later modules may write to it in place

    with borrow_copy(probe.model, copied) as net, recording(), UnfusedAttention():
        hook = net.get_submodule(probe.layer).register_forward_hook(cut)
        try:
            output = read_output(net, probe.images.clone())
        finally:
            hook.remove()
        (leaf,) = leaves
        score = score_of(target, output, probe.images).sum()  # ()
        (gradient,) = torch.autograd.grad(score, leaf, create_graph=True)
        product: Tensor | None = None
        if gradient.requires_grad:  # otherwise the gradient is constant
            (product,) = torch.autograd.grad((gradient * leaf.detach()).sum(), leaf, allow_unused=True)
        product = torch.zeros_like(leaf) if product is None else product
    return grid.fold(gradient.detach()), grid.fold(product.detach())  # (N, K, h, w) each
