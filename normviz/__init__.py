"""See what normalization does inside a neural network, and why an image classifier decided as it did."""

__version__ = "0.4.0"

from normviz.attribution import (
    Probe,
    cam,
    deconvnet,
    grad_cam,
    grad_cam_pp,
    guided_backprop,
    guided_grad_cam,
    layer_cam,
    layers,
    saliency,
    score_cam,
)
from normviz.colors import overlay
from normviz.images import decode, read_photo
from normviz.models.catalog import load_classifier
from normviz.models.classifier import Classifier
from normviz.normalization import apply, batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from normviz.registry import Method, get, methods

__all__ = [
    "Classifier", "Method", "Probe", "apply", "batch_norm", "cam", "decode", "deconvnet", "get", "grad_cam",
    "grad_cam_pp", "group_norm", "guided_backprop", "guided_grad_cam", "instance_norm", "layer_cam", "layer_norm",
    "layers", "load_classifier", "methods", "overlay", "read_photo", "rms_norm", "saliency", "score_cam",
]  # fmt: skip
