"""Class activation maps that read the second derivative, too: how the gradient itself changes with the activations."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from normviz.attribution.engine.attention import PlainAttention
from normviz.attribution.engine.forward import score_of
from normviz.attribution.engine.grid import first_tensor, replaced
from normviz.attribution.engine.model_copy import borrow_copy
from normviz.attribution.engine.network import as_logits, read_output, recording, scan
from normviz.attribution.engine.probe import Probe
from normviz.attribution.targets import Score
from normviz.registry import register

Utility = Literal["rest", "logit"]


@register(
    title="Shapley-CAM", kind="attribution", cite="cai2025cams", level="layer", unit="logits",
    aliases=("ShapleyCAM",),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = \frac{1}{hw} \sum_{ij} \Big(\nabla U - "
    r"\tfrac{1}{2}\,\nabla^2 U\,A\Big)_{kij}, \quad U = S_c + \ln \mathrm{softmax}(S)_c",
)  # fmt: skip
def shapley_cam(probe: Probe, utility: Utility = "rest") -> Tensor:
    """Grad-CAM with the second-order term of what each activation adds, averaged over the orders of adding them.

    Where the network is linear above the layer, up to ReLUs and pooling, the logit has no second derivative and the
    map of the logit is Grad-CAM; the logarithm of the probability always has one.

    Args:
        probe: network, images, class and layer.
        utility: what is shared out. "rest": the logit plus the logarithm of the probability. "logit": the logit. A
            target that is no class is taken as it is.

    Returns:
        (N, h, w), at least 0, in logits.

    Raises:
        ValueError: an unknown utility.

    Source:
        Cai 2025, the weights of ShapleyCAM and its utility ReST.
    """
    if utility not in get_args(Utility):
        raise ValueError(f"shapley_cam offers {', '.join(get_args(Utility))}; received {utility!r}")
    target = probe.objective
    if utility == "rest" and isinstance(target, Tensor):
        target = _rest(target)
    gradient, product = second_order(probe, target)  # (N, K, h, w) each
    weights = (gradient - product / 2).mean(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * probe.activations).sum(dim=1).relu()  # (N, h, w)


def _rest(target: Tensor) -> Score:
    """The residual softmax target: the logit of each image's class (N,) plus the logarithm of its probability."""

    def score(output: object) -> Tensor:
        logits = as_logits(output, target)  # (N, classes)
        return (logits + logits.log_softmax(dim=1)).gather(1, target[:, None])[:, 0]  # (N,)

    return score


def second_order(probe: Probe, target: Tensor | Score) -> tuple[Tensor, Tensor]:
    """The gradient of a scalar at the probe's layer, and its Hessian there times the activations.

    Args:
        probe: network, images and layer.
        target: (N,) the class of each image, or a function of the model's output.

    Returns:
        Two tensors (N, K, h, w).
    """
    found, known = scan(probe.model, probe.images)
    grid, leaves = found.grids[probe.layer], list[Tensor]()

    def cut(module: nn.Module, args: Any, output: object) -> object:
        tensor = first_tensor(output)
        if tensor is None or not grid.reads(output):
            return None
        leaves[:] = [tensor.detach().clone().requires_grad_()]
        return replaced(output, leaves[0].clone())  # what follows may write into its input

    with borrow_copy(probe.model, known) as net, recording(), PlainAttention():
        hook = net.get_submodule(probe.layer).register_forward_hook(cut)
        try:
            output = read_output(net, probe.images.clone())
        finally:
            hook.remove()
        (leaf,) = leaves
        score = score_of(target, output, probe.images).sum()  # ()
        (gradient,) = torch.autograd.grad(score, leaf, create_graph=True)
        product: Tensor | None = None
        if gradient.requires_grad:  # else it is the same everywhere
            (product,) = torch.autograd.grad((gradient * leaf.detach()).sum(), leaf, allow_unused=True)
        product = torch.zeros_like(leaf) if product is None else product
    return grid.fold(gradient.detach()), grid.fold(product.detach())  # (N, K, h, w) each
