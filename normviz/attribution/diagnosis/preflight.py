"""Explanations for blank maps: each sentence names the cause, then a remedy."""

from __future__ import annotations

from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Attribution, Need, get, methods

SATURATED = 0.999  # above this probability, hiding parts of the image hardly changes it
FLAT = 1e-6  # a map is flat if its range is smaller than this fraction of its largest magnitude


def obstacle(probe: Probe, method: str, index: int = 0) -> str | None:
    """The reason why a map will be blank, known before it is computed; None if there is none.

    Costs at most one forward and one backward pass, which the probe caches, so it pays off before slow methods.

    Args:
        probe: the probe for the map.
        method: the method's name.
        index: which image of the batch.
    """
    facts = get(method, "attribution")
    for need in facts.needs:
        if reason := _missing(probe, need):
            return reason
    if not facts.reads_layer:
        return None
    activations = probe.activations[index]  # (K, h, w)
    if activations.shape[1] * activations.shape[2] == 1:
        return _one_cell(probe.layer)
    return _not_finite(probe, facts, index) or _dead(probe, index)


def empty_reason(heatmap: Tensor, probe: Probe, method: str, name: str | None = None, index: int = 0) -> str | None:
    """The reason why a map is blank; None if it is not.

    Args:
        heatmap: the raw map returned by the method: (N, h, w), (N, H, W) or (N, C, H, W).
        probe: the probe of the map.
        method: the method's name.
        name: display name of the class; default: a description of the probe's target.
        index: which image of the batch.
    """
    facts, drawn = get(method, "attribution"), heatmap[index]
    label = f"'{name}'" if name else _target_label(probe, index)
    if not drawn.isfinite().all():
        return _not_finite(probe, facts, index) or (
            f"{facts.title} returned NaN or infinity because of overflow: compute in a higher precision"
        )
    if drawn.any():
        return _flat(drawn, probe, facts, index)
    for factor in facts.factors:
        if reason := empty_reason(get(factor).function(probe), probe, factor, name, index):
            return reason
    if facts.factors:
        titles = " and ".join(get(factor).title for factor in facts.factors)
        return f"{titles} do not overlap anywhere: look at each of them separately"
    if facts.level == "input":
        return _input_reason(probe, facts, label, index)
    return _layer_reason(probe, facts, label, index)


def _target_label(probe: Probe, index: int) -> str:
    return str(probe.objective) if callable(probe.objective) else f"class {int(probe.target[index])}"


def _missing(probe: Probe, need: Need) -> str | None:
    """The requirement that the network does not meet, as an error message."""
    try:
        if need == "relu":
            probe.backprop("guided")
        else:
            _ = probe.head
    except ValueError as error:
        return str(error)
    return None


def _not_finite(probe: Probe, facts: Attribution, index: int) -> str | None:
    if not facts.reads_layer or probe.activations[index].isfinite().all():
        return None
    return (
        f"the activations of layer '{probe.layer}' contain NaN or infinity: choose another layer, "
        "or compute in a higher precision"
    )


def _dead(probe: Probe, index: int) -> str | None:
    if probe.activations[index].any():
        return None
    return f"every activation of layer '{probe.layer}' is 0 for this image: choose an earlier layer"


def _one_cell(layer: str) -> str:
    return f"layer '{layer}' has a single cell and cannot localize: choose an earlier layer"


def _constant(probe: Probe, index: int) -> str | None:
    low, high = probe.activations[index].aminmax(dim=2)  # (K, h) each
    low, high = low.amin(dim=1), high.amax(dim=1)  # (K,)
    if (high - low > FLAT * high.abs()).any():
        return None
    return (
        f"every channel of layer '{probe.layer}' is constant over this image and cannot localize: "
        "choose an earlier layer"
    )


def _flat(drawn: Tensor, probe: Probe, facts: Attribution, index: int) -> str | None:
    """The reason why a nonzero map has the same value everywhere."""
    if drawn.amax() - drawn.amin() > FLAT * drawn.abs().amax():
        return None
    if drawn.numel() == 1:
        return _one_cell(probe.layer)
    if facts.reads_layer and (reason := _constant(probe, index)):
        return reason
    alternative = "layer" if facts.reads_layer else "method"
    return f"all values of the map are equal, so it cannot localize: choose another {alternative}"


def _saturated(probe: Probe, index: int) -> str | None:
    """The reason if the class's probability is so close to 1 that methods based on it see no change."""
    if callable(probe.objective):
        return None
    share = float(probe.logits[index].double().softmax(dim=0)[probe.target[index]])
    if share < SATURATED:
        return None
    return (
        f"the probability is so close to 1 ({share:.5f}) that it does not change when parts of the image are hidden: "
        "choose the logit as the score, or a gradient-based method"
    )


def _zero_gradient(probe: Probe, label: str, index: int, at_layer: bool) -> str | None:
    """The reason why the target's gradient is 0 everywhere; None if it is not, or if no gradient flows at all."""
    try:
        gradient = probe.gradients if at_layer else probe.input_gradient
    except ValueError:  # gradients are disabled in this network, which is not the cause
        return None
    if gradient[index].any():
        return None
    if callable(probe.objective):
        return (
            f"the gradient of {label} is 0, as for a saturated probability: "
            "explain the value before saturation, such as a logit or a distance"
        )
    if at_layer:
        return f"the logit of {label} does not depend on layer '{probe.layer}' here: choose another layer"
    return f"no gradient of {label} reaches the input, because every path is inactive: choose another class"


def _input_reason(probe: Probe, facts: Attribution, label: str, index: int) -> str:
    if reason := _zero_gradient(probe, label, index, at_layer=False):
        return reason
    if "relu" in facts.needs:
        return f"the rule of {facts.title} blocks the whole gradient of {label}: choose saliency, which blocks nothing"
    if facts.slow and (reason := _saturated(probe, index)):
        return reason
    return f"no change of the image that {facts.title} tried affects {label}: try larger changes, or another class"


def _layer_reason(probe: Probe, facts: Attribution, label: str, index: int) -> str:
    if reason := _dead(probe, index):
        return reason
    layer = f"layer '{probe.layer}'"
    if facts.weights is None and (reason := _constant(probe, index)):
        return reason
    if facts.weights is None and not (probe.activations[index] > 0).any():
        return (
            f"no activation of {layer} is positive, and {facts.title} only shows positive ones: "
            "choose a layer that follows a ReLU"
        )
    if reason := _zero_gradient(probe, label, index, at_layer=True):
        return reason
    if facts.weights is not None:
        cause = f"in every cell of {layer} the contributions to {label}, as weighted by {facts.title}, sum to 0 or less"
        if not (probe.gradients[index] > 0).any() and not facts.weights(probe)[index].any():
            cause = f"no activation in {layer} would increase {label}, and {facts.title} only uses increases"
        return f"{cause}: choose another class or layer{_signed_methods(probe, facts, index)}"
    if facts.slow and (reason := _saturated(probe, index)):
        return reason
    return (
        f"{facts.title} finds no positive evidence at {layer} with these settings: "
        "choose another class, layer or setting"
    )


def _signed_methods(probe: Probe, facts: Attribution, index: int) -> str:
    """Methods that show negative evidence here, as the last part of a remedy."""
    titles = [f"{facts.title} without its ReLU"] if facts.has_optional_relu else []
    others = [method for method in methods("attribution") if method.has_optional_relu and method.name != facts.name]
    titles += [method.title for method in others if _is_nonzero(probe, method.name, index)]
    if not titles:
        return ""
    return f", or {' or '.join(titles)}, which {'show' if len(titles) > 1 else 'shows'} signed evidence"


def _is_nonzero(probe: Probe, name: str, index: int) -> bool:
    """Whether a method supports this network and target and returns a nonzero map."""
    try:
        return bool(get(name, "attribution").function(probe)[index].any())
    except ValueError:  # not supported
        return False
