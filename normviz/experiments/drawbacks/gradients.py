"""Drawbacks of maps made from gradients, and of the plain class activation map."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution import Probe
from normviz.attribution.compare import across_classes, at_size, make_map, ranks
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

SCENES = "scenes"  # the network that knows the objects of generated scenes
SECOND, SEED = 0.8, 2  # size of a photo's second copy; the scene that is drawn
STRONGEST = 10  # channels that are looked at one by one
CHUNK = 32  # channels that are taken away at once
OBJECTS = ("grad_cam", "grad_cam_pp", "layer_cam", "saliency")
SAME = ("saliency", "deconvnet", "guided_backprop", "guided_grad_cam", "grad_cam")
GRAY = 127
OTHER = (
    "A generated scene, and the network that knows the objects of such scenes: photo, network and layer play no part."
)
COPY = "The photo and, mirrored, a smaller copy of it; the network for generated scenes is not installed."


def two_objects(setting: DrawbackInput) -> tuple[DrawbackInput, Tensor]:
    """A picture of two objects of one class, and where they lie: bool (2, H, W).

    A generated scene where its network is installed, else the photo beside a smaller copy of itself.
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
    """A picture that holds a photo and, beside it or below it on gray, a mirrored copy of 80 % of its size.

    Args:
        image: uint8 (3, H, W).

    Returns:
        The picture, uint8 (3, H', W'), and where the two lie, bool (2, H', W').
    """
    _, height, width = image.shape
    h, w = max(1, round(SECOND * height)), max(1, round(SECOND * width))
    copy = F.interpolate(image[None].float(), size=(h, w), mode="bilinear", antialias=True)[0]  # (3, h, w)
    below = width > height  # keeps the picture near to a square
    size = (height + h, width) if below else (height, width + w)
    top, left = (height, (width - w) // 2) if below else ((height - h) // 2, width)
    picture = torch.full((3, *size), GRAY, dtype=torch.uint8)  # (3, H', W')
    masks = torch.zeros(2, *size, dtype=torch.bool)  # (2, H', W')
    picture[:, :height, :width], masks[0, :height, :width] = image, True
    picture[:, top : top + h, left : left + w] = copy.round().clamp(0, 255).to(torch.uint8).flip(2)
    masks[1, top : top + h, left : left + w] = True
    return picture, masks


@drawback("One of several objects lit")
def several_objects(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """How the evidence of one class is shared between two objects of that class."""
    asked, masks = two_objects(setting)
    areas = masks.flatten(1).sum(dim=1).double()  # (2,)
    weaker = int(areas.argmin())
    found = [make_map(get(name), asked.probe()) for name in OBJECTS]
    shares, tiles = [], []
    for one in found:
        parts = evidence_inside(one.drawn, masks)  # (2,)
        share = 100 * parts[weaker] / parts.sum() if parts.sum() > 0 else 0.0
        shares.append(share)
        tiles.append(map_tile(one, get(one.method).title, f"{share:.0f} % on the smaller one"))
    by_area = 100 * float(areas[weaker] / areas.sum())
    alone = []
    for kept in (1 - weaker, weaker):
        hidden = asked.image.masked_fill(masks[1 - kept], GRAY)  # (3, H, W)
        alone.append(float(asked.classifier.probabilities(hidden)[asked.target]))
    titles = tuple(get(name).title for name in OBJECTS)
    return DrawbackResult(
        f"Two objects of the class {asked.name} stand in this picture. Look at how much of the evidence lies on the "
        "smaller one: a map shows what the network used, not where the objects are. The table says how sure the "
        "network is when only one of them is left.",
        (tuple(tiles),),
        (
            BarChart("Share of the evidence on both that lies on the smaller object", "method", "per cent", titles,
                    {"share of the evidence": np.array(shares)}, np.full(len(shares), by_area), line="share of area"),
        ),
        (
            Fact(f"probability of {asked.name}, both there", float(
                asked.classifier.probabilities(asked.image)[asked.target])),
            Fact("with only the larger one (the other painted gray)", alone[0]),
            Fact("with only the smaller one", alone[1]),
        ),
        asked.classifier.view(asked.image).permute(1, 2, 0).contiguous().numpy(),
        OTHER if asked.classifier is not setting.classifier else COPY,
    )  # fmt: skip


def evidence_inside(values: np.ndarray | None, masks: Tensor) -> np.ndarray:
    """The sum (n,) of a map's positive part inside each mask (n, H, W), the map brought to their size."""
    if values is None:
        return np.zeros(len(masks))
    positive = np.clip(at_size(values, (masks.shape[1], masks.shape[2])), 0, None)  # (H, W)
    return (masks.numpy() * positive).sum(axis=(1, 2))  # type: ignore[no-any-return]


@drawback("Coarse at depth")
def coarse_at_depth(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """The same method over the layers: deep ones are coarse, early ones lose the class."""
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
            Fact(f"{title}: correlation of its first map here with its last", similarity(found[0], found[-1], size)[0])
        )
    facts.append(Fact(f"pixels along a cell's side at {named[-1][0]}", size[0] / named[-1][1][1]))
    return DrawbackResult(
        "From left to right the layers get deeper. Look at the cells: at the last layer one cell covers a whole "
        "square of pixels, so nothing smaller can be told apart; earlier layers are finer, but Grad-CAM's one weight a "
        "channel no longer fits all places there, and its map drifts away from the object.",
        tuple(rows),
        (
            BarChart("How much of the picture is lit (above half of the map's maximum)", "layer", "per cent",
                    tuple(f"{layer} ({shape[1]})" for layer, shape in named), areas),
        ),
        tuple(facts),
    )  # fmt: skip


@drawback("Large gradient, low activation")
def low_activation(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Whether the channels that Grad-CAM weighs most are those that matter."""
    probe = setting.probe()
    activations, gradients = probe.activations[0], probe.gradients[0]  # (K, h, w)
    weights = gradients.mean(dim=(1, 2)).double().cpu()  # (K,)
    sums = activations.sum(dim=(1, 2)).double().cpu()  # (K,)
    falls = fall_without(probe, progress)  # (K,)
    order = weights.argsort(descending=True)[: min(STRONGEST, len(weights))]
    parts = {
        "weight": _shares(weights)[order],
        "what the logit loses without it": _shares(falls)[order],
    }
    idle = int(order[int(falls[order].argmin())])
    busy = int(falls.argmax())
    positive = gradients.clamp(min=0)
    silent = activations <= 0.1 * activations.amax()
    picked = set(order.tolist()) & set(falls.argsort(descending=True)[: len(order)].tolist())

    def channel(k: int, title: str) -> Tile:
        said = f"weight {float(weights[k]):.3g}, ΣA {float(sums[k]):.3g}, loss {float(falls[k]):.3g}"
        return Tile(f"{title}: channel {k}", activations[k].cpu().numpy(), "activation", said)

    return DrawbackResult(
        "A gradient says how much a channel would matter if it changed, not how much it does matter. Look at the "
        f"bars: the {len(order)} channels with the largest weights, and what the logit of {setting.name} really loses "
        "when each is set to 0.",
        ((
            map_tile(make_map(get("grad_cam"), probe), "Grad-CAM"),
            channel(idle, "Heavy, but it adds little"),
            channel(busy, "The one that matters most"),
        ),),
        (
            BarChart("The channels with the largest weights", "channel", "per cent of all that is positive",
                    tuple(str(k) for k in order.tolist()), {name: array(values) for name, values in parts.items()}),
        ),
        (
            Fact("rank correlation of weight and loss, all channels", _spearman(weights, falls)),
            Fact("rank correlation of weight × ΣA and loss", _spearman(weights * sums, falls)),
            Fact(f"of the {len(order)} heaviest channels, so many are among the {len(order)} that matter most",
                 float(len(picked))),
            Fact("per cent of all positive gradient that meets less than a tenth of the largest activation",
                 100 * float(positive[silent].sum() / positive.sum().clamp(min=1e-30))),
        ),
    )  # fmt: skip


def fall_without(probe: Probe, progress: Progress) -> Tensor:
    """By how much the score of the first image falls when each channel of the layer is set to 0: (K,), in logits."""
    activations = probe.activations[:1]  # (1, K, h, w)
    whole = probe.tail(activations)  # (1,)
    channels = activations.shape[1]
    parts = []
    for chunk in torch.split(torch.arange(channels, device=activations.device), CHUNK):
        without = activations.repeat(len(chunk), 1, 1, 1)  # (b, K, h, w)
        without[torch.arange(len(chunk)), chunk] = 0
        parts.append(whole - probe.tail(without))  # (b,)
        progress(int(chunk[-1] + 1) / channels)
    return torch.cat(parts).double().cpu()  # (K,)


def _shares(values: Tensor) -> Tensor:
    """Per cent of the sum of all positive values (K,)."""
    return 100 * values / values.clamp(min=0).sum().clamp(min=1e-30)


def _spearman(first: Tensor, second: Tensor) -> float:
    """The rank correlation of two rows (K,)."""
    return float(np.corrcoef(ranks(first.numpy()), ranks(second.numpy()))[0, 1])


@drawback("Blind to the class")
def every_class_alike(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Maps of the class, of the next most probable one and of the least probable one."""
    probabilities = setting.classifier.probabilities(setting.image)  # (classes,)
    ordered = [index for index in probabilities.argsort(descending=True).tolist() if index != setting.target]
    if not ordered:
        raise ValueError("this needs a network with at least two classes; it has one")
    chosen = [setting.target, ordered[0], *([ordered[-1]] if len(ordered) > 1 else [])]
    images = setting.images
    size = images.shape[2], images.shape[3]
    columns = across_classes(setting.classifier.model, images, chosen, setting.layer)
    names = [f"{setting.classifier.classes[k]} ({float(probabilities[k]):.2g})" for k in chosen]
    rows, places, bars, facts = [], [], [], []
    for number, name in enumerate(SAME):
        found = [make_map(get(name), probe) for probe in columns]
        title = get(name).title
        rows.append(tuple(map_tile(one, f"{title}: {said}") for one, said in zip(found, names, strict=True)))
        both = similarity(found[0], found[1], size)
        if all(np.isfinite(both)):
            places.append(title)
            bars.append(both)
            facts.append(Fact(f"{title}: Pearson's correlation of the first two maps", both[0]))
        progress((number + 1) / len(SAME))
    numbers = np.array(bars)
    pictures = (
        BarChart(f"How alike the maps of {names[0]} and {names[1]} are", "method", "correlation", tuple(places),
                {"Pearson": numbers[:, 0], "Spearman (ranks)": numbers[:, 1]}),
    ) if places else ()  # fmt: skip
    return DrawbackResult(
        "The columns ask for different classes, the last one for the least probable of all. Look at guided "
        "backpropagation: it draws nearly the same edges whatever is asked, and the correlation says how nearly. A map "
        "that stays the same cannot explain why one class was chosen and not another.",
        tuple(rows), pictures, tuple(facts),
    )  # fmt: skip


@drawback("Plain CAM refused")
def cam_refused(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """At which layers CAM is defined, and what keeps it from the others."""
    named = last_layer_per_size(setting)
    found = probes(setting.classifier.model, setting.images, setting.target, [name for name, _ in named])
    tiles: dict[str, list[Tile]] = {"cam": [], "grad_cam": []}
    refused, facts = 0, []
    for probe in found:
        for method, row in tiles.items():
            one = make_map(get(method), probe)
            row.append(map_tile(one, f"{get(method).title}, {probe.layer}"))
            refused += bool(method == "cam" and one.refused)
            if method == "cam" and one.drawn is not None:
                bias = float(probe.head.bias[setting.target])
                logit = float(probe.score[0])
                facts.append(
                    Fact(f"{probe.layer}: mean of CAM + bias = logit", float(one.drawn.mean()) + bias, logit, 1e-3)
                )
        facts.append(
            Fact(f"{probe.layer}: per cent of the gradient that differs from place to place", 100 * unevenness(probe))
        )
    facts.insert(0, Fact(f"layers (of {len(named)}) at which CAM is refused", float(refused)))
    return DrawbackResult(
        "CAM multiplies each channel with one weight of the last linear layer, so it exists only where that layer "
        "reads the mean of the channel. Look at the sentences in its row: earlier, the network does more to a channel "
        "than take its mean, and the gradient differs from place to place, so no single weight says it all.",
        (tuple(tiles["cam"]), tuple(tiles["grad_cam"])), (), tuple(facts),
    )  # fmt: skip


def unevenness(probe: Probe) -> float:
    """The share of the first image's gradient that is not its mean over the places, from 0 (the same everywhere) to 1.

    The root of the sum of squares around each channel's mean, over the root of the sum of squares.
    """
    gradients = probe.gradients[0].double()  # (K, h, w)
    length = gradients.norm()
    return float((gradients - gradients.mean(dim=(1, 2), keepdim=True)).norm() / length) if length > 0 else 0.0
