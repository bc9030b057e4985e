"""The methods of attribution by family: each takes one `Probe` and returns a raw map."""

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

__all__ = [
    "FullGradients",
    "ablation_cam",
    "cam",
    "deconvnet",
    "eigen_cam",
    "eigen_grad_cam",
    "element_wise_grad_cam",
    "fem",
    "finer_cam",
    "full_grad",
    "full_gradients",
    "grad_cam",
    "grad_cam_pp",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "integrated_gradients",
    "is_cam",
    "kpca_cam",
    "layer_cam",
    "layer_cam_fusion",
    "occlusion",
    "rise",
    "saliency",
    "score_cam",
    "shapley_cam",
    "smooth_grad",
    "smooth_grad_cam_pp",
    "ss_cam",
    "xgrad_cam",
]
