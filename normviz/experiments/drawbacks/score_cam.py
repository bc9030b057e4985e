"""Drawbacks of Score-CAM: its cost, its different conventions, and its masked images."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.attribution import Probe
from normviz.attribution.compare import Map, make_map
from normviz.experiments.drawbacks.drawback import (
    DrawbackInput,
    DrawbackResult,
    Progress,
    Tile,
    drawback,
    map_tile,
    similarity,
    to_pictures,
)
from normviz.experiments.results import BarChart, Curve, Curves, Fact, array
from normviz.registry import get

CONVENTIONS = ("logit", "paper", "official")
LOOKED_AT = 32  # masked images that are classified
SHOWN = 4  # masked images that are shown


@drawback("Cost and conventions of Score-CAM")
def score_cam_cost(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Compare Grad-CAM and the three conventions of Score-CAM: time, forward passes, and similarity."""
    start = time.perf_counter()
    probe = setting.probe()
    coarse = make_map(get("grad_cam", "attribution"), probe)
    first = time.perf_counter() - start
    found: dict[str, Map] = {}
    notes: list[str] = []
    seconds = 0.0
    for number, convention in enumerate(CONVENTIONS):

        def advance(share: float, number: int = number) -> None:
            progress((number + share) / len(CONVENTIONS))

        start = time.perf_counter()
        raw = get("score_cam").function(setting.probe(), convention=convention, progress=advance, note=notes.append)
        taken = time.perf_counter() - start
        seconds = seconds or taken
        found[convention] = Map("score_cam", setting.target, setting.layer, raw[0].float().cpu().numpy())
    size = setting.images.shape[2], setting.images.shape[3]
    summed = Map("score_cam", setting.target, setting.layer, probe.activations[0].sum(dim=0).float().cpu().numpy())
    pairs = {
        "logit, paper": (found["logit"], found["paper"]),
        "logit, official": (found["logit"], found["official"]),
        "paper, official": (found["paper"], found["official"]),
        "logit, Grad-CAM": (found["logit"], coarse),
        "paper, plain sum": (found["paper"], summed),
    }
    numbers = {name: similarity(*pair, size) for name, pair in pairs.items()}
    numbers = {name: both for name, both in numbers.items() if all(np.isfinite(both))}
    both = np.array(list(numbers.values())).reshape(-1, 2)
    alive = int((probe.activations[0].amax(dim=(1, 2)) > probe.activations[0].amin(dim=(1, 2))).sum())
    tiles = [map_tile(coarse, "Grad-CAM", f"{_seconds(first)}, one forward and one backward pass")]
    tiles += [map_tile(one, f"Score-CAM, “{name}”") for name, one in found.items()]
    return DrawbackResult(
        "Score-CAM needs one forward pass for every channel. Compare the times, and the correlation of its three "
        "published conventions: “paper” applies a softmax to probabilities, which gives all channels nearly the same "
        "weight, so its map is close to the sum of all channels.",
        (tuple(tiles),),
        (BarChart("Similarity of two maps", "maps", "correlation", tuple(numbers),
                 {"Pearson": both[:, 0], "Spearman (ranks)": both[:, 1]}),) if numbers else (),
        (
            Fact("Grad-CAM, milliseconds, including its passes", 1e3 * first),
            Fact("Score-CAM (“logit”), milliseconds", 1e3 * seconds),
            Fact("time of Score-CAM divided by that of Grad-CAM", seconds / first),
            Fact("masked images that Score-CAM evaluates", float(alive)),
        ),
        note=" ".join(notes),
    )  # fmt: skip


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def masked(probe: Probe, channels: list[int]) -> Tensor:
    """Mask the first image by channels, x ⊙ minmax(up(A_k)): (channels, C, H, W)."""
    image = probe.images[:1]  # (1, C, H, W)
    maps = probe.activations[0, channels][:, None]  # (channels, 1, h, w)
    maps = F.interpolate(maps, size=image.shape[2:], mode="bilinear", align_corners=False)  # (channels, 1, H, W)
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)  # (channels, 1, 1, 1)
    return image * (maps - low) / torch.where(high > low, high - low, 1)  # (channels, C, H, W)


@drawback("Masked images of Score-CAM")
def score_cam_context(setting: DrawbackInput, progress: Progress) -> DrawbackResult:
    """Classify the masked images that determine the weights of Score-CAM."""
    probe, classifier = setting.probe(), setting.classifier
    activations = probe.activations[0]  # (K, h, w)
    alive = (activations.amax(dim=(1, 2)) > activations.amin(dim=(1, 2))).nonzero()[:, 0]  # (K',)
    if not len(alive):
        raise ValueError(f"every channel of layer {setting.layer!r} is constant for this photo: choose another layer")
    picks = torch.linspace(0, len(alive) - 1, min(LOOKED_AT, len(alive))).round().long()  # all different
    channels = alive[picks.to(alive.device)].tolist()
    parts = []
    for done in range(0, len(channels), 8):
        some = masked(probe, channels[done : done + 8])
        parts.append(Probe(classifier.model, some, setting.target).logits)  # (b, classes)
        progress(min(1.0, (done + 8) / len(channels)))
    logits = torch.cat(parts).float().cpu()  # (n, classes)
    shares = logits.softmax(dim=1)  # (n, classes)
    best = shares.argmax(dim=1)  # (n,)
    gray = Probe(classifier.model, torch.zeros_like(probe.images), setting.target)
    own = probe.logits[0].float().cpu()  # (classes,)
    top = int(own.argmax())
    order = logits[:, setting.target].argsort(descending=True)  # (n,)
    shown = order[torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().long()].tolist()
    photos = to_pictures(classifier, masked(probe, [channels[i] for i in shown]))
    tiles = tuple(
        Tile(f"Masked by channel {channels[i]}", photo=photo,
             caption=f"{classifier.classes[int(best[i])]}, {100 * float(shares[i].max()):.0f}%")
        for i, photo in zip(shown, photos, strict=True)
    )  # fmt: skip
    n, places = len(channels), np.arange(1, len(channels) + 1, dtype=np.float64)
    lines = (
        Curve("masked", places, array(logits[order, setting.target])),
        Curve("whole photo", places, np.full(n, float(own[setting.target])), "compared"),
        Curve("uniform gray", places, np.full(n, float(gray.score[0])), "compared"),
    )
    facts = [
        Fact(f"percent of {n} masked images assigned to another class than the photo",
             100 * float((best != top).float().mean())),
        Fact("mean probability of the assigned class", float(shares.amax(dim=1).mean())),
        Fact(f"probability of {setting.name} for a uniform gray image",
             float(gray.logits[0].float().softmax(dim=0)[setting.target])),
    ]  # fmt: skip
    if classifier.threshold is not None:
        unsure = float((shares.amax(dim=1) < classifier.threshold).float().mean())
        facts.append(Fact("percent of them below the confidence threshold of the network", 100 * unsure))
    return DrawbackResult(
        "A weight of Score-CAM is the score of an image that is gray wherever the channel is inactive. The network was "
        "not trained on images of this kind. Compare the classes that it assigns to them: the mask also removes the "
        "surroundings of the object and their evidence.",
        (tiles,),
        (Curves(f"Logit of {setting.name} for {n} masked images", "masks, highest logit first", "logit", lines),),
        tuple(facts),
    )  # fmt: skip
