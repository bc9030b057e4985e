"""Why a map is blank, and what to do about it, in words: each sentence names the cause, then the cure."""

from __future__ import annotations

from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Method, Need, get

SURE = 0.999  # a probability beyond which it hardly moves, whatever is covered
SIGNED = ("hires_cam", "cam")  # methods that keep evidence against the target
SAME = 1e-6  # values closer than this share of the largest are the same


def obstacle(probe: Probe, method: str, index: int = 0) -> str | None:
    """Say what will keep a map from showing anything, before it is computed, or None where nothing is in the way.

    Costs at most one pass forward and one back, which the probe keeps: worth it before a method that takes long.

    Args:
        probe: the probe that the map would be computed from.
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
    """Say why a map shows nothing, or None where it shows something.

    Args:
        heatmap: the raw map that the method returned: (N, h, w), (N, H, W) or (N, C, H, W).
        probe: the probe that it was computed from.
        method: the method's name.
        name: what is explained, for the sentence (a class's name); without it, the probe's target in words.
        index: which image of the batch.
    """
    facts, drawn = get(method, "attribution"), heatmap[index]
    called = f"'{name}'" if name else _target(probe, index)
    if not drawn.isfinite().all():
        return _not_finite(probe, facts, index) or (
            f"{facts.title} gave NaN or infinity: numbers overflow on the way; compute in a higher precision"
        )
    if drawn.any():
        return _flat(drawn, probe, facts, index)
    for factor in facts.factors:
        if reason := empty_reason(get(factor).function(probe), probe, factor, name, index):
            return reason
    if facts.factors:
        titles = " and ".join(get(factor).title for factor in facts.factors)
        return f"{titles} nowhere overlap: look at each of them alone"
    if facts.level == "input":
        return _input_reason(probe, facts, called, index)
    return _layer_reason(probe, facts, called, index)


def _target(probe: Probe, index: int) -> str:
    return str(probe.objective) if callable(probe.objective) else f"class {int(probe.target[index])}"


def _missing(probe: Probe, need: Need) -> str | None:
    """What the network lacks, as the probe says it."""
    try:
        if need == "relu":
            probe.backprop("guided")
        else:
            _ = probe.head
    except ValueError as error:
        return str(error)
    return None


def _not_finite(probe: Probe, facts: Method, index: int) -> str | None:
    if not facts.reads_layer or probe.activations[index].isfinite().all():
        return None
    return (
        f"the activations of layer '{probe.layer}' hold NaN or infinity: choose another layer, "
        "or compute in a higher precision"
    )


def _dead(probe: Probe, index: int) -> str | None:
    if probe.activations[index].any():
        return None
    return f"every activation of layer '{probe.layer}' is 0 for this image: choose an earlier layer"


def _one_cell(layer: str) -> str:
    return f"layer '{layer}' has a single cell, which says nothing about where: choose an earlier layer"


def _constant(probe: Probe, index: int) -> str | None:
    low, high = probe.activations[index].aminmax(dim=2)  # (K, h) each
    low, high = low.amin(dim=1), high.amax(dim=1)  # (K,)
    if (high - low > SAME * high.abs()).any():
        return None
    return (
        f"every channel of layer '{probe.layer}' is constant over this image, so none can mask it or say where: "
        "choose an earlier layer"
    )


def _flat(drawn: Tensor, probe: Probe, facts: Method, index: int) -> str | None:
    """Why a map that is not 0 has the same value everywhere."""
    if drawn.amax() - drawn.amin() > SAME * drawn.abs().amax():
        return None
    if drawn.numel() == 1:
        return _one_cell(probe.layer)
    if facts.reads_layer and (reason := _constant(probe, index)):
        return reason
    elsewhere = "layer" if facts.reads_layer else "method"
    return f"every place has the same value, so nothing stands out: choose another {elsewhere}"


def _sure(probe: Probe, index: int) -> str | None:
    """A class whose probability is so near 1 that a method which reads it sees no change."""
    if callable(probe.objective):
        return None
    share = float(probe.logits[index].double().softmax(dim=0)[probe.target[index]])
    if share < SURE:
        return None
    return (
        f"the network is so sure ({share:.5f}) that the probability does not move, whatever is covered: "
        "let the method read the logit, or choose one that uses gradients"
    )


def _unmoved(probe: Probe, called: str, index: int, at_layer: bool) -> str | None:
    """Why the target's gradient is 0 everywhere, or None where it is not, or where there is no gradient at all."""
    try:
        gradient = probe.gradients if at_layer else probe.input_gradient
    except ValueError:  # a network without gradients: they are not the cause
        return None
    if gradient[index].any():
        return None
    if callable(probe.objective):
        return (
            f"the gradient of {called} is 0: the target is flat here, as a probability at 1 is; "
            "explain what stands before it, a logit or a distance"
        )
    if at_layer:
        return f"the logit of {called} does not react to layer '{probe.layer}' here: choose another layer"
    return f"nothing of {called} arrives at the input, as every path to it is closed: choose another class"


def _input_reason(probe: Probe, facts: Method, called: str, index: int) -> str:
    if reason := _unmoved(probe, called, index, at_layer=False):
        return reason
    if "relu" in facts.needs:
        return f"the rule of {facts.title} stops all that {called} sends back: choose saliency, which stops nothing"
    if facts.slow and (reason := _sure(probe, index)):
        return reason
    return f"no change of the picture that {facts.title} tried moves {called}: try larger changes, or another class"


def _layer_reason(probe: Probe, facts: Method, called: str, index: int) -> str:
    if reason := _dead(probe, index):
        return reason
    layer = f"layer '{probe.layer}'"
    if facts.weights is None and (reason := _constant(probe, index)):
        return reason
    if facts.weights is None and not (probe.activations[index] > 0).any():
        return (
            f"no activation of {layer} is positive, and {facts.title} shows nothing else: "
            "choose a layer that follows a ReLU"
        )
    if reason := _unmoved(probe, called, index, at_layer=True):
        return reason
    if facts.weights is not None:
        cause = (
            f"in every cell of {layer} the contributions to {called}, as {facts.title} weighs them, add up to 0 or less"
        )
        if not (probe.gradients[index] > 0).any() and not facts.weights(probe)[index].any():
            cause = f"nowhere in {layer} would more activation raise {called}, and {facts.title} weighs nothing else"
        return f"{cause}: choose another class or layer{_signed(probe, facts, index)}"
    if facts.slow and (reason := _sure(probe, index)):
        return reason
    return (
        f"nothing at {layer} is left for {facts.title} to show, as it is outweighed or beyond its settings: "
        "choose another class, layer or setting"
    )


def _signed(probe: Probe, facts: Method, index: int) -> str:
    """The methods that show evidence against the target here, as the end of a cure."""
    titles = [f"{facts.title} without its ReLU"] if facts.takes("relu") else []
    titles += [get(name).title for name in SIGNED if name != facts.name and _shows(probe, name, index)]
    if not titles:
        return ""
    return f", or {' or '.join(titles)}, which {'show' if len(titles) > 1 else 'shows'} the sign"


def _shows(probe: Probe, name: str, index: int) -> bool:
    """Whether a method takes this network and target, and shows anything."""
    try:
        return bool(get(name, "attribution").function(probe)[index].any())
    except ValueError:  # it refuses them
        return False
