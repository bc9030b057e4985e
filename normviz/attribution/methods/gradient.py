"""Class activation maps from one layer's activations A and the gradients g of the class's logit there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import attribution

__all__ = [
    "cam",
    "element_wise_grad_cam",
    "grad_cam",
    "grad_cam_pp",
    "guided_grad_cam",
    "hires_cam",
    "layer_cam",
    "xgrad_cam",
]


def _cam_weights(probe: Probe) -> Tensor:
    """The weights of the class in the last linear layer: (N, K, 1, 1)."""
    return probe.head.weight[probe.target][:, :, None, None]  # (N, K, 1, 1)


def _grad_cam_weights(probe: Probe) -> Tensor:
    """The mean of each channel's gradient: (N, K, 1, 1)."""
    return probe.gradients.mean(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)


def _grad_cam_pp_weights(probe: Probe) -> Tensor:
    """The sum of each channel's positive gradients, each scaled by alpha: (N, K, 1, 1)."""
    g = probe.gradients  # (N, K, h, w)
    total = probe.activations.sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    alpha = 1 / (2 + total * g).clamp(min=1e-6)  # (N, K, h, w), used where g > 0
    return (alpha * g.relu()).sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)


def _layer_cam_weights(probe: Probe) -> Tensor:
    """The positive part of each gradient: (N, K, h, w)."""
    return probe.gradients.relu()  # (N, K, h, w)


def _xgrad_cam_weights(probe: Probe) -> Tensor:
    """The mean of each channel's gradient, weighted by its activations: (N, K, 1, 1)."""
    evidence = (probe.activations * probe.gradients).sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    total = probe.activations.sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    return torch.where(total == 0, 0, evidence / torch.where(total == 0, 1, total))  # (N, K, 1, 1)


def _hires_cam_weights(probe: Probe) -> Tensor:
    """The gradient itself: (N, K, h, w)."""
    return probe.gradients  # (N, K, h, w)


def _element_wise_grad_cam_weights(probe: Probe) -> Tensor:
    """The gradient where its product with the activation is positive, else 0: (N, K, h, w)."""
    return torch.where(probe.activations * probe.gradients > 0, probe.gradients, 0)  # (N, K, h, w)


@attribution(
    title="CAM", cite="zhou2016learning", level="layer", unit="logits", weights=_cam_weights,
    aliases=("class activation map", "class activation mapping"), needs=("pooled head",),
    formula=r"M_{ij} = \sum_k w_k^c A_{kij}",
)  # fmt: skip
def cam(probe: Probe, relu: bool = False) -> Tensor:
    """The evidence for the class in each cell: the activations weighted by the last linear layer.

    The mean of the map plus the bias of the class equals its logit.

    Args:
        probe: network of convolutions, global average pooling and one linear layer; images and class.
        relu: keep only evidence for the class and set the rest to 0; the paper keeps both.

    Returns:
        (N, h, w), signed unless `relu`, in logits.

    Raises:
        ValueError: the network does not end in global average pooling and one linear layer.

    Source:
        Zhou et al. 2016, Eq. 2.
    """
    evidence = (_cam_weights(probe) * probe.activations).sum(dim=1)  # (N, h, w)
    return evidence.relu() if relu else evidence


@attribution(
    title="Grad-CAM", cite="selvaraju2017grad", level="layer", unit="logits",
    weights=_grad_cam_weights,
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k \alpha_k A_{kij}\Big), \quad "
    r"\alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial S_c}{\partial A_{kij}}",
)  # fmt: skip
def grad_cam(probe: Probe) -> Tensor:
    """Activations weighted by the mean gradient of their channel, summed over channels, followed by a ReLU.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), at least 0, in logits.

    Source:
        Selvaraju et al. 2017, Eq. 1 and 2.
    """
    return (_grad_cam_weights(probe) * probe.activations).sum(dim=1).relu()  # (N, h, w)


@attribution(
    title="Guided Grad-CAM", cite="selvaraju2017grad", level="input",
    unit="logits² per unit of input", factors=("grad_cam", "guided_backprop"), needs=("relu",),
    formula=r"M = R_{\text{guided}} \odot \mathrm{up}\big(M_{\text{Grad-CAM}}\big)",
)  # fmt: skip
def guided_grad_cam(probe: Probe) -> Tensor:
    """Guided backpropagation times Grad-CAM of the same class, enlarged to the input (bilinear).

    Args:
        probe: network with ReLUs, images (N, C, H, W), class and layer.

    Returns:
        (N, C, H, W), signed.

    Raises:
        ValueError: the network has no ReLU between the images and the logits.

    Source:
        Selvaraju et al. 2017, section 3.2.
    """
    coarse = grad_cam(probe)[:, None]  # (N, 1, h, w)
    coarse = F.interpolate(coarse, size=probe.images.shape[2:], mode="bilinear", align_corners=False)  # (N, 1, H, W)
    return probe.backprop("guided") * coarse  # (N, C, H, W)


@attribution(
    title="Grad-CAM++", cite="chattopadhay2018grad", level="layer", unit="logits",
    weights=_grad_cam_pp_weights,
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = \sum_{ij} \alpha_{kij}\,"
    r"\mathrm{ReLU}(g_{kij}), \quad \alpha_{kij} = \frac{g_{kij}^2}{2 g_{kij}^2 + g_{kij}^3 \sum_{ab} A_{kab}}",
)  # fmt: skip
def grad_cam_pp(probe: Probe) -> Tensor:
    """Grad-CAM with weights that sum the positive gradients, each scaled by its channel's total activation.

    The paper differentiates exp(S_c), which in a piecewise linear network gives powers of g = dS_c/dA times exp(S_c);
    that factor only scales the map and is omitted. For g > 0 the square cancels, alpha = 1 / (2 + g sum A), so no
    stabilizing constant is added. If A is negative, the denominator can cross 0; it is clamped to at least 1e-6.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), at least 0, in logits.

    Source:
        Chattopadhay et al. 2018, Eq. 10, 11 and 19.
    """
    return (_grad_cam_pp_weights(probe) * probe.activations).sum(dim=1).relu()  # (N, h, w)


@attribution(
    title="LayerCAM", cite="jiang2021layercam", level="layer", unit="logits",
    weights=_layer_cam_weights,
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(g_{kij})\,A_{kij}\Big)",
)  # fmt: skip
def layer_cam(probe: Probe) -> Tensor:
    """Activations weighted elementwise by their positive gradients, which keeps detail at early layers.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), at least 0, in logits.

    Source:
        Jiang et al. 2021, Eq. 5 and 6.
    """
    return (_layer_cam_weights(probe) * probe.activations).sum(dim=1).relu()  # (N, h, w)


@attribution(
    title="XGrad-CAM", cite="fu2020axiom", level="layer", unit="logits",
    weights=_xgrad_cam_weights, aliases=("axiom-based Grad-CAM",),
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad "
    r"w_k = \sum_{ij} \frac{A_{kij}}{\sum_{ab} A_{kab}}\,g_{kij}",
)  # fmt: skip
def xgrad_cam(probe: Probe) -> Tensor:
    """Grad-CAM with a mean gradient per channel that is weighted by the activations of the channel.

    Channels with activations that sum to 0 get the weight 0.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), at least 0, in logits.

    Source:
        Fu et al. 2020, the solution of the axioms of sensitivity and conservation.
    """
    return (_xgrad_cam_weights(probe) * probe.activations).sum(dim=1).relu()  # (N, h, w)


@attribution(
    title="HiResCAM", cite="draelos2020hirescam", level="layer", unit="logits",
    weights=_hires_cam_weights,
    formula=r"M_{ij} = \sum_k g_{kij}\,A_{kij}",
)  # fmt: skip
def hires_cam(probe: Probe, relu: bool = False) -> Tensor:
    """Activation times gradient; with a pooled linear head, exactly the contribution of each cell to the logit.

    Args:
        probe: network, images, class and layer.
        relu: keep only evidence for the class and set the rest to 0.

    Returns:
        (N, h, w), signed unless `relu`, in logits.

    Source:
        Draelos & Carin 2020, the definition of HiResCAM.
    """
    evidence = (_hires_cam_weights(probe) * probe.activations).sum(dim=1)  # (N, h, w)
    return evidence.relu() if relu else evidence


@attribution(
    title="Element-wise Grad-CAM", cite="gildenblat2021library", level="layer", unit="logits",
    weights=_element_wise_grad_cam_weights, aliases=("GradCAMElementWise",),
    formula=r"M_{ij} = \sum_k \mathrm{ReLU}\left(g_{kij}\,A_{kij}\right)",
)  # fmt: skip
def element_wise_grad_cam(probe: Probe) -> Tensor:
    """HiResCAM with a ReLU per channel, which removes all evidence against the class.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), at least 0, in logits.

    Source:
        The library that is cited, its method GradCAMElementWise; there is no paper.
    """
    return (probe.activations * probe.gradients).relu().sum(dim=1)  # (N, h, w)
