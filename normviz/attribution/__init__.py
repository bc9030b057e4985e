"""Attribution methods: which parts of an image determine the score? Each takes a `Probe` and returns a raw map.

Maps keep the unit and resolution of their method: (N, h, w) at a layer, (N, H, W) or (N, C, H, W) at the input.
They are neither rescaled nor enlarged.
"""

# ruff: noqa: I001  (the order of the imports is the order of registration)

from normviz.attribution.methods.backprop import deconvnet, guided_backprop, saliency
from normviz.attribution.methods.gradient import (
    cam,
    element_wise_grad_cam,
    grad_cam,
    grad_cam_pp,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from normviz.attribution.methods.contrast import finer_cam
from normviz.attribution.methods.curvature import shapley_cam
from normviz.attribution.methods.fusion import layer_cam_fusion
from normviz.attribution.methods.smoothing import smooth_grad, smooth_grad_cam_pp
from normviz.attribution.methods.full_gradient import FullGradients, full_grad, full_gradients
from normviz.attribution.methods.path import integrated_gradients
from normviz.attribution.methods.perturbation import is_cam, score_cam, ss_cam
from normviz.attribution.methods.ablation import ablation_cam
from normviz.attribution.methods.occlusion import occlusion, rise
from normviz.attribution.methods.decomposition import eigen_cam, eigen_grad_cam, fem, kpca_cam
from normviz.attribution.diagnosis.preflight import empty_reason
from normviz.attribution.engine.probe import Head, Probe, layers, probes
from normviz.attribution.class_model import ClassModel, class_model

__all__ = [
    "ClassModel", "FullGradients", "Head", "Probe", "ablation_cam", "cam", "class_model", "deconvnet", "eigen_cam",
    "eigen_grad_cam", "element_wise_grad_cam", "empty_reason", "fem", "finer_cam", "full_grad", "full_gradients",
    "grad_cam", "grad_cam_pp", "guided_backprop", "guided_grad_cam", "hires_cam", "integrated_gradients", "is_cam",
    "kpca_cam", "layer_cam", "layer_cam_fusion", "layers", "occlusion", "probes", "rise", "saliency", "score_cam",
    "shapley_cam", "smooth_grad", "smooth_grad_cam_pp", "ss_cam", "xgrad_cam",
]  # fmt: skip
