"""Attribution methods: which parts of an image determine the score? Each method takes a `Probe` and returns a raw map.

Maps keep the unit and resolution of their method: (N, h, w) at a layer, (N, H, W) or (N, C, H, W) at the input.
They are neither rescaled nor enlarged.
"""

from normviz.attribution.class_model import ClassModel, class_model
from normviz.attribution.diagnosis.preflight import empty_reason
from normviz.attribution.engine.probe import Head, Probe, layers, probes
from normviz.attribution.methods import (
    FullGradients,
    ablation_cam,
    cam,
    deconvnet,
    eigen_cam,
    eigen_grad_cam,
    element_wise_grad_cam,
    fem,
    finer_cam,
    full_grad,
    full_gradients,
    grad_cam,
    grad_cam_pp,
    guided_backprop,
    guided_grad_cam,
    hires_cam,
    integrated_gradients,
    is_cam,
    kpca_cam,
    layer_cam,
    layer_cam_fusion,
    occlusion,
    rise,
    saliency,
    score_cam,
    shapley_cam,
    smooth_grad,
    smooth_grad_cam_pp,
    ss_cam,
    xgrad_cam,
)

__all__ = [
    "ClassModel", "FullGradients", "Head", "Probe", "ablation_cam", "cam", "class_model", "deconvnet", "eigen_cam",
    "eigen_grad_cam", "element_wise_grad_cam", "empty_reason", "fem", "finer_cam", "full_grad", "full_gradients",
    "grad_cam", "grad_cam_pp", "guided_backprop", "guided_grad_cam", "hires_cam", "integrated_gradients", "is_cam",
    "kpca_cam", "layer_cam", "layer_cam_fusion", "layers", "occlusion", "probes", "rise", "saliency", "score_cam",
    "shapley_cam", "smooth_grad", "smooth_grad_cam_pp", "ss_cam", "xgrad_cam",
]  # fmt: skip
