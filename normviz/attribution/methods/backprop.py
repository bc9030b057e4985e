"""Attribution at the input: the gradient, and two modified backward rules for ReLUs."""

from __future__ import annotations

from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import attribution

__all__ = ["deconvnet", "guided_backprop", "saliency"]


@attribution(
    title="Saliency", cite="simonyan2013deep", level="input", unit="logits per unit of input",
    aliases=("gradient", "vanilla gradient", "saliency map"),
    formula=r"M_{ij} = \max_{\mathrm{ch}} \left| \frac{\partial S_c}{\partial x_{\mathrm{ch}\,ij}} \right|",
)  # fmt: skip
def saliency(probe: Probe) -> Tensor:
    """The magnitude of the gradient of the class's logit at each pixel.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.

    Returns:
        (N, H, W), at least 0, in logits per unit of the input.

    Source:
        Simonyan et al. 2013, section 3.1.
    """
    return probe.input_gradient.abs().amax(dim=1)  # (N, H, W)


@attribution(
    title="Deconvnet", cite="zeiler2014visualizing", level="input",
    unit="logits per unit of input", aliases=("deconv", "deconvolution", "deconvolutional network"), needs=("relu",),
    formula=r"R^{l} = \mathrm{ReLU}(R^{l+1}) \text{ at each ReLU, from } R = \frac{\partial S_c}{\partial S} "
    r"\text{ down to } R^{0}",
)  # fmt: skip
def deconvnet(probe: Probe) -> Tensor:
    """The gradient of the class's logit when each ReLU passes only positive gradients.

    Max-pooling uses the positions of this image's maxima; ReLUs pass gradients whether they were active or not.

    Args:
        probe: network with ReLUs, images (N, C, H, W) and class; the layer has no effect.

    Returns:
        (N, C, H, W), signed, in logits per unit of the input.

    Raises:
        ValueError: the network has no ReLU between the images and the logits.

    Source:
        Zeiler & Fergus 2014, section 2.1.
    """
    return probe.backprop("deconvnet")  # (N, C, H, W)


@attribution(
    title="Guided backpropagation", cite="springenberg2015striving", level="input",
    unit="logits per unit of input", aliases=("guided backprop", "guided BP", "GBP"), needs=("relu",),
    formula=r"R^{l} = R^{l+1}\,\mathbf{1}[x^{l} > 0]\,\mathbf{1}[R^{l+1} > 0] \text{ at each ReLU, from } "
    r"R = \frac{\partial S_c}{\partial S} \text{ down to } R^{0}",
)  # fmt: skip
def guided_backprop(probe: Probe) -> Tensor:
    """The gradient of the class's logit when each active ReLU passes only positive gradients.

    Args:
        probe: network with ReLUs, images (N, C, H, W) and class; the layer has no effect.

    Returns:
        (N, C, H, W), signed, in logits per unit of the input.

    Raises:
        ValueError: the network has no ReLU between the images and the logits.

    Source:
        Springenberg et al. 2015, section 3.4.
    """
    return probe.backprop("guided")  # (N, C, H, W)
