"""Drawbacks of gradient-based maps and of CAM."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution import Probe
from normviz.attribution.compare import across_classes, at_size, make_map
from normviz.attribution.engine.probe import probes
from normviz.experiments.drawbacks.drawback import (
    DrawbackInput,
    DrawbackResult,
    Progress,
    Tile,
    drawback,
    highlighted_share,
    last_layer_per_size,
    map_tile,
    maps_at_layers,
    similarity,
)
from normviz.experiments.results import BarChart, Fact, array
from normviz.models.catalog import load_classifier, models
from normviz.registry import get
from normviz.scenes import CLASSES, make_scene

SCENES = "scenes"  # network trained on generated scenes
SECOND, SEED = 0.8, 2  # relative size of the second copy of a photo; seed of the scene
STRONGEST = 10  # number of channels shown one by one
CHUNK = 32  # channels that are set to 0 in one batch
OBJECTS = ("grad_cam", "grad_cam_pp", "layer_cam", "saliency")
SAME = ("saliency", "deconvnet", "guided_backprop", "guided_grad_cam", "grad_cam")
GRAY = 127
OTHER = "This uses a generated scene and the network trained on such scenes, not your photo, network and layer."
COPY = "This uses the photo and a smaller mirrored copy; the network for generated scenes is not installed."


def two_objects(setting: DrawbackInput) -> tuple[DrawbackInput, Tensor]:
    """Return an image with two objects of one class, and their masks, bool (2, H, W).

    This is a generated scene if its network is installed, else the photo next to a smaller copy of itself.
    """
    if any(entry.name == SCENES for entry in models()):
        classifier = load_classifier(SCENES)
        scene = make_scene(SEED, labels=[SEED % len(CLASSES)] * 2)
        target = classifier.index(CLASSES[scene.label])
        layer = Probe(classifier.model, classifier.prepare(scene.image)).layer
        return DrawbackInput(classifier, scene.image, target, layer), torch.stack([item.mask for item in scene.items])
    picture, masks = twice(setting.classifier.view(setting.image))
    return DrawbackInput(setting.classifier, picture, setting.target, setting.layer), masks


def twice(image: Tensor) -> tuple[Tensor, Tensor]:
    """Place a mirrored copy of 80% of the size next to or below a photo, on gray.

    Args:
        image: uint8 (3, H, W).

    Returns:
        The image, uint8 (3, H', W'), and the masks of the two photos, bool (2, H', W').
    """
    _, height, width = image.shape
    h, w = max(1, round(SECOND * height)), max(1, round(SECOND * width))
    copy = F.interpolate(image[None].float(), size=(h, w), mode="bilinear", antialias=True)[0]  # (3, h, w)
    below = width > height  # keeps the image close to a square
    size = (height + h, width) if below else (height, width + w)
    top, left = (height, (width - w) // 2) if below else ((height - h) // 2, width)
    picture = torch.full((3, *size), GRAY, dtype=torch.uint8)  # (3, H', W')
    masks = torch.zeros(2, *size, dtype=torch.bool)  # (2, H', W')
    picture[:, :height, :width], masks[0, :height, :width] = image, True
    picture[:, top : top + h, left : left + w] = copy.round().clamp(0, 255).to(torch.uint8).flip(2)
    masks[1, top : top + h, left : left + w] = True
    return picture, masks


@drawback("Only one of several objects highlighted")
def several_objects(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Measure how the evidence of a class is divided between two objects of that class."""
    asked, masks = two_objects(setting)
    areas = masks.flatten(1).sum(dim=1).double()  # (2,)
    weaker = int(areas.argmin())
    found = [make_map(get(name, "attribution"), asked.probe()) for name in OBJECTS]
    shares, tiles = [], []
    for one in found:
        parts = evidence_inside(one.drawn, masks)  # (2,)
        share = 100 * parts[weaker] / parts.sum() if parts.sum() > 0 else 0.0
        shares.append(share)
        tiles.append(map_tile(one, get(one.method).title, f"{share:.0f}% on the smaller one"))
    by_area = 100 * float(areas[weaker] / areas.sum())
    alone = []
    for kept in (1 - weaker, weaker):
        hidden = asked.image.masked_fill(masks[1 - kept], GRAY)  # (3, H, W)
        alone.append(float(asked.classifier.probabilities(hidden)[asked.target]))
    titles = tuple(get(name).title for name in OBJECTS)
    return DrawbackResult(
        f"This image contains two objects of the class {asked.name}. Compare how much of the evidence lies on the "
        "smaller one: a map shows what the network used, not where the objects are. The table lists the "
        "probability when only one of them is visible.",
        (tuple(tiles),),
        (
            BarChart("Share of the evidence on both objects that lies on the smaller one", "method", "percent", titles,
                    {"share of the evidence": np.array(shares)}, np.full(len(shares), by_area), line="share of area"),
        ),
        (
            Fact(f"probability of {asked.name}, both visible", float(
                asked.classifier.probabilities(asked.image)[asked.target])),
            Fact("with only the larger one (the other painted gray)", alone[0]),
            Fact("with only the smaller one", alone[1]),
        ),
        asked.classifier.view(asked.image).permute(1, 2, 0).contiguous().numpy(),
        OTHER if asked.classifier is not setting.classifier else COPY,
    )  # fmt: skip


def evidence_inside(values: np.ndarray | None, masks: Tensor) -> np.ndarray:
    """Sum the positive part of a map, enlarged to (H, W), inside each mask (n, H, W): (n,)."""
    if values is None:
        return np.zeros(len(masks))
    positive = np.clip(at_size(values, (masks.shape[1], masks.shape[2])), 0, None)  # (H, W)
    return (masks.numpy() * positive).sum(axis=(1, 2))  # type: ignore[no-any-return]


@drawback("Coarse in late layers")
def coarse_at_depth(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Compare one method across layers: late layers are coarse, early ones are less specific to the class."""
    named = last_layer_per_size(setting)
    images = setting.images
    size = images.shape[2], images.shape[3]
    rows, areas, facts = [], {}, []
    for name in ("grad_cam", "layer_cam"):
        found = maps_at_layers(setting, name, [layer for layer, _ in named])
        title = get(name).title
        rows.append(tuple(
            map_tile(one, f"{title}, {layer}", f"{shape[1]} × {shape[2]} cells of {size[0] / shape[1]:.3g} px")
            for one, (layer, shape) in zip(found, named, strict=True)
        ))  # fmt: skip
        areas[title] = np.array(
            [100 * highlighted_share(one.drawn, size) if one.drawn is not None else 0.0 for one in found]
        )
        facts.append(
            Fact(f"{title}: correlation of the first and the last map", similarity(found[0], found[-1], size)[0])
        )
    facts.append(Fact(f"side of a cell in pixels at {named[-1][0]}", size[0] / named[-1][1][1]))
    return DrawbackResult(
        "From left to right the layers get deeper. At the last layer one cell covers a large square of pixels, so "
        "the map cannot show smaller details. Earlier layers are finer, but there Grad-CAM's single weight per channel "
        "no longer fits all positions, and its map can move away from the object.",
        tuple(rows),
        (
            BarChart("Share of the image where the map is above half of its maximum", "layer", "percent",
                    tuple(f"{layer} ({shape[1]})" for layer, shape in named), areas),
        ),
        tuple(facts),
    )  # fmt: skip


@drawback("Large gradient, low activation")
def low_activation(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Compare Grad-CAM weights with the effect of removing each channel."""
    probe = setting.probe()
    activations, gradients = probe.activations[0], probe.gradients[0]  # (K, h, w)
    weights = gradients.mean(dim=(1, 2)).double().cpu()  # (K,)
    sums = activations.sum(dim=(1, 2)).double().cpu()  # (K,)
    falls = fall_without(probe, progress)  # (K,)
    order = weights.argsort(descending=True)[: min(STRONGEST, len(weights))]
    parts = {
        "weight": _shares(weights)[order],
        "logit drop without it": _shares(falls)[order],
    }
    idle = int(order[int(falls[order].argmin())])
    busy = int(falls.argmax())
    positive = gradients.clamp(min=0)
    silent = activations <= 0.1 * activations.amax()
    picked = set(order.tolist()) & set(falls.argsort(descending=True)[: len(order)].tolist())

    def channel(k: int, title: str) -> Tile:
        caption = f"weight {float(weights[k]):.3g}, ΣA {float(sums[k]):.3g}, drop {float(falls[k]):.3g}"
        return Tile(f"{title}: channel {k}", activations[k].cpu().numpy(), "activation", caption)

    return DrawbackResult(
        "A gradient measures the effect of a small change of a channel, not how much the channel contributes. The "
        f"bars show the {len(order)} channels with the largest weights, and how much the logit of {setting.name} "
        "drops when each is set to 0.",
        ((
            map_tile(make_map(get("grad_cam", "attribution"), probe), "Grad-CAM"),
            channel(idle, "Large weight, small effect"),
            channel(busy, "Largest effect"),
        ),),
        (
            BarChart("The channels with the largest weights", "channel", "percent of the positive total",
                    tuple(str(k) for k in order.tolist()), {name: array(values) for name, values in parts.items()}),
        ),
        (
            Fact("rank correlation of weight and logit drop, all channels", _spearman(weights, falls)),
            Fact("rank correlation of weight × ΣA and logit drop", _spearman(weights * sums, falls)),
            Fact(f"channels among both the {len(order)} largest weights and the {len(order)} largest drops",
                 float(len(picked))),
            Fact("percent of the positive gradient where the activation is at most a tenth of the maximum",
                 100 * float(positive[silent].sum() / positive.sum().clamp(min=1e-30))),
        ),
    )  # fmt: skip


def fall_without(probe: Probe, progress: Progress) -> Tensor:
    """Compute the drop (K,), in logits, of the first image's score when each channel of the layer is set to 0."""
    activations = probe.activations[:1]  # (1, K, h, w)
    whole = probe.score_from_layer(activations)  # (1,)
    channels = activations.shape[1]
    parts = []
    for chunk in torch.split(torch.arange(channels, device=activations.device), CHUNK):
        without = activations.repeat(len(chunk), 1, 1, 1)  # (b, K, h, w)
        without[torch.arange(len(chunk)), chunk] = 0
        parts.append(whole - probe.score_from_layer(without))  # (b,)
        progress(int(chunk[-1] + 1) / channels)
    return torch.cat(parts).double().cpu()  # (K,)


def _shares(values: Tensor) -> Tensor:
    """Convert values (K,) to percent of the sum of the positive ones."""
    return 100 * values / values.clamp(min=0).sum().clamp(min=1e-30)


def _spearman(first: Tensor, second: Tensor) -> float:
    """Compute the rank correlation of two vectors (K,)."""
    from scipy.stats import spearmanr

    return float(spearmanr(first.numpy(), second.numpy()).statistic)


@drawback("Not specific to the class")
def every_class_alike(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Compare the maps of the class, of the next most probable class and of the least probable class."""
    probabilities = setting.classifier.probabilities(setting.image)  # (classes,)
    ordered = [index for index in probabilities.argsort(descending=True).tolist() if index != setting.target]
    if not ordered:
        raise ValueError("comparing classes needs a network with at least two classes; this one has 1")
    chosen = [setting.target, ordered[0], *([ordered[-1]] if len(ordered) > 1 else [])]
    images = setting.images
    size = images.shape[2], images.shape[3]
    columns = across_classes(setting.classifier.model, images, chosen, setting.layer)
    names = [f"{setting.classifier.classes[k]} ({float(probabilities[k]):.2g})" for k in chosen]
    rows, places, bars, facts = [], [], [], []
    for number, name in enumerate(SAME):
        found = [make_map(get(name, "attribution"), probe) for probe in columns]
        title = get(name).title
        rows.append(tuple(map_tile(one, f"{title}: {label}") for one, label in zip(found, names, strict=True)))
        both = similarity(found[0], found[1], size)
        if all(np.isfinite(both)):
            places.append(title)
            bars.append(both)
            facts.append(Fact(f"{title}: Pearson correlation of the first two maps", both[0]))
        progress((number + 1) / len(SAME))
    numbers = np.array(bars)
    pictures = (
        BarChart(f"Similarity of the maps of {names[0]} and {names[1]}", "method", "correlation", tuple(places),
                {"Pearson": numbers[:, 0], "Spearman (ranks)": numbers[:, 1]}),
    ) if places else ()  # fmt: skip
    return DrawbackResult(
        "Each column explains a different class, the last one the least probable class. Guided backpropagation shows "
        "similar edges for all of them; the correlation measures how similar. A map that does not depend on the class "
        "cannot explain why one class was chosen instead of another.",
        tuple(rows), pictures, tuple(facts),
    )  # fmt: skip


@drawback("CAM not defined everywhere")
def cam_refused(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """List the layers at which CAM is defined, and why it is not defined at the others."""
    named = last_layer_per_size(setting)
    found = probes(setting.classifier.model, setting.images, setting.target, [name for name, _ in named])
    tiles: dict[str, list[Tile]] = {"cam": [], "grad_cam": []}
    refused, facts = 0, []
    for probe in found:
        for method, row in tiles.items():
            one = make_map(get(method, "attribution"), probe)
            row.append(map_tile(one, f"{get(method).title}, {probe.layer}"))
            refused += bool(method == "cam" and one.refused)
            if method == "cam" and one.drawn is not None:
                bias = float(probe.head.bias[setting.target])
                logit = float(probe.score[0])
                facts.append(
                    Fact(f"{probe.layer}: mean of CAM + bias = logit", float(one.drawn.mean()) + bias, logit, 1e-3)
                )
        facts.append(
            Fact(f"{probe.layer}: percent of the gradient that varies across positions", 100 * unevenness(probe))
        )
    facts.insert(0, Fact(f"layers (of {len(named)}) at which CAM is not defined", float(refused)))
    return DrawbackResult(
        "CAM multiplies each channel by one weight of the last linear layer, so it is defined only where that layer "
        "reads the mean of the channel. Its row shows the error messages of the other layers: there, the network does "
        "more than average each channel, and the gradient varies across positions, so one weight is not enough.",
        (tuple(tiles["cam"]), tuple(tiles["grad_cam"])), (), tuple(facts),
    )  # fmt: skip


def unevenness(probe: Probe) -> float:
    """Compute how much the gradient of the first image varies across positions, from 0 (constant) to 1.

    This is the norm of the gradient minus its mean per channel, divided by the norm of the gradient.
    """
    gradients = probe.gradients[0].double()  # (K, h, w)
    length = gradients.norm()
    return float((gradients - gradients.mean(dim=(1, 2), keepdim=True)).norm() / length) if length > 0 else 0.0
