"""Attribution: which pixels made the network say this? Each method takes one `Probe` and returns a raw map.

Maps are in the method's unit and size: (N, h, w) at a layer, (N, H, W) or (N, C, H, W) at the input.
Nothing is rescaled or enlarged; that is left to who draws them.
"""

from normviz.attribution.backprop import deconvnet, guided_backprop, saliency
from normviz.attribution.gradient import cam, grad_cam, grad_cam_pp, guided_grad_cam, layer_cam
from normviz.attribution.perturbation import score_cam
from normviz.attribution.preflight import empty_reason
from normviz.attribution.probe import Head, Probe, layers

__all__ = [
    "Head", "Probe", "cam", "deconvnet", "empty_reason", "grad_cam", "grad_cam_pp", "guided_backprop",
    "guided_grad_cam", "layer_cam", "layers", "saliency", "score_cam",
]  # fmt: skip
