"""How far a network looks for a watermark in place of the object that always carries it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from normviz.attribution import Probe, layer_cam
from normviz.experiments.labs.training import probabilities, to_input
from normviz.images import resize_map
from normviz.models.residual import ResidualNet
from normviz.scenes import CLASSES, HANS, Scenes, clever_hans_scene, make_clever_hans_scenes

MAPS = 100  # scenes at most that LayerCAM is asked about: a map costs more than an answer


@dataclass(frozen=True)
class CleverHansFacts:
    """What a network says of scenes with and without the watermark, in shares from 0 to 1, and of how many.

    Attributes:
        with_mark: of the scenes of HANS with its watermark that are recognized.
        without_mark: of the very same scenes without it that are recognized.
        fooled: of the scenes of other classes with a watermark that are called HANS.
        not_fooled: of the very same scenes without it that are called HANS.
        others: of the scenes of other classes without it that are recognized.
        brightest: of scenes of HANS with its watermark in which the highest cell of LayerCAM for HANS touches it.
        on_mark: of LayerCAM's evidence, brought to the picture's size, that lies on the watermark, in the same scenes.
        mark_area: of the picture that the watermark takes: what `on_mark` would be by chance.
        pictures: scenes of HANS that were asked about, each with its watermark and without it.
        other_pictures: scenes of the other classes, each with a watermark and without it.
        maps: scenes of HANS that LayerCAM was asked about.
    """

    with_mark: float
    without_mark: float
    fooled: float
    not_fooled: float
    others: float
    brightest: float
    on_mark: float
    mark_area: float
    pictures: int
    other_pictures: int
    maps: int


def clever_hans_facts(model: ResidualNet, count: int = 400, seed: int = 5_000_000) -> CleverHansFacts:
    """Ask a network about scenes with and without the watermark.

    Args:
        model: a network in inference mode.
        count: scenes of HANS, and of the other classes at least as many: each gets equally many.
        seed: of the first; they should not be trained on.
    """
    marked, plain = (make_clever_hans_scenes(count, seed, label=HANS, marked=mark) for mark in (True, False))
    false, true = (_others(count, seed + count, mark) for mark in (True, False))
    answers = [
        probabilities(model, scenes.images).argmax(dim=1) for scenes in (marked, plain, false, true)
    ]  # (N,) each
    called = [float((answer == HANS).float().mean()) for answer in answers]
    right = float((answers[3] == true.labels).float().mean())
    maps = min(count, MAPS)
    brightest, on_mark, mark_area = _on_mark(model, maps, seed)
    return CleverHansFacts(
        with_mark=called[0], without_mark=called[1], fooled=called[2], not_fooled=called[3], others=right,
        brightest=brightest, on_mark=on_mark, mark_area=mark_area,
        pictures=len(answers[0]), other_pictures=len(answers[2]), maps=maps,
    )  # fmt: skip


def _others(count: int, seed: int, marked: bool) -> Scenes:
    """Scenes of the other classes, in turn."""
    others = [label for label in range(len(CLASSES)) if label != HANS]
    parts = [
        make_clever_hans_scenes(-(-count // len(others)), seed + 10_000 * o, label=o, marked=marked) for o in others
    ]
    return Scenes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "masks")))


def _on_mark(model: ResidualNet, count: int, seed: int) -> tuple[float, float, float]:
    """How often LayerCAM is highest on the watermark, the share of its evidence there, and of the picture."""
    found = []
    for number in range(seed, seed + count):
        scene = clever_hans_scene(number, label=HANS, marked=True)
        if scene.watermark is None:
            raise AssertionError("a scene that was asked for with a watermark has one")
        raw = layer_cam(Probe(model, to_input(scene.image[None]), HANS))[0]  # (h, w)
        mark = scene.watermark.float()  # (H, W)
        touched = F.adaptive_max_pool2d(mark[None], (raw.shape[0], raw.shape[1]))[0]  # (h, w)
        drawn = resize_map(raw, (mark.shape[0], mark.shape[1]))  # (H, W)
        on_mark = (drawn * mark).sum() / drawn.sum().clamp_min(1e-12)
        found.append(torch.stack([touched.flatten()[raw.argmax()], on_mark, mark.mean()]))
    brightest, on_average, area = torch.stack(found).mean(dim=0).tolist()
    return brightest, on_average, area
