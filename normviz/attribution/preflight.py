"""Why a map is empty, in words."""

from __future__ import annotations

import torch
from torch import Tensor

from normviz.attribution.gradient import grad_cam
from normviz.attribution.probe import Probe
from normviz.registry import get


def empty_reason(heatmap: Tensor, probe: Probe, method: str, name: str | None = None, index: int = 0) -> str | None:
    """Say why a map shows nothing, or None where it shows something.

    Args:
        heatmap: the raw map that the method returned: (N, h, w), (N, H, W) or (N, C, H, W).
        probe: the probe that it was computed from.
        method: the method's name.
        name: the class's name for the sentence; without it, its number.
        index: which image of the batch.
    """
    facts, drawn = get(method, "attribution"), heatmap[index]
    called = f"'{name}'" if name else f"class {int(probe.target[index])}"
    if not torch.isfinite(drawn).all():
        return f"{facts.title} gave NaN or infinity: numbers overflow inside the network; compute in a higher precision"
    if drawn.any():
        return None
    if facts.name == "guided_grad_cam":
        reason = empty_reason(grad_cam(probe), probe, "grad_cam", name, index)
        if reason or probe.backprop("guided")[index].any():
            return reason or "guided backpropagation and Grad-CAM nowhere overlap: look at each of them alone"
    if facts.level == "input":
        return f"nothing of {called} arrives at the input, as every path to it is closed: choose another class"
    return _layer_reason(probe, facts.name, facts.title, called, index)


def _layer_reason(probe: Probe, method: str, title: str, called: str, index: int) -> str:
    layer, activations = f"layer '{probe.layer}'", probe.activations[index]  # (K, h, w)
    if not activations.any():
        return f"every activation of {layer} is 0 for this image: choose an earlier layer"
    if method == "score_cam" and (activations.amax(dim=(1, 2)) == activations.amin(dim=(1, 2))).all():
        return f"every channel of {layer} is constant over this image, so none can mask it: choose an earlier layer"
    if method in ("grad_cam", "grad_cam_pp", "layer_cam"):
        gradient = probe.gradients[index]  # (K, h, w)
        if not gradient.any():
            return f"the logit of {called} does not react to {layer} here: choose another layer"
        if method != "grad_cam" and not (gradient > 0).any():
            return f"nowhere in {layer} would more activation raise {called}, and {title} weighs nothing else"
    return (
        f"every contribution to {called} at {layer} is negative, so nothing there speaks for it: "
        "choose another class or layer, or CAM, which shows the sign"
    )
