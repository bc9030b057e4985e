"""Measurement of how much a network relies on a watermark instead of the object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from normviz.attribution import Probe, layer_cam
from normviz.experiments.labs.training import probabilities, to_input
from normviz.images import resize_map
from normviz.models.residual import ResidualNet
from normviz.scenes import CLASSES, HANS, Scenes, clever_hans_scene, make_clever_hans_scenes

MAPS = 100  # largest number of scenes with a LayerCAM map, which is slower than a prediction


@dataclass(frozen=True)
class CleverHansFacts:
    """Predictions for scenes with and without the watermark: shares from 0 to 1, and counts.

    Attributes:
        with_mark: share of HANS scenes with watermark that are classified correctly.
        without_mark: the same for the same scenes without watermark.
        fooled: share of scenes of other classes with watermark that are classified as HANS.
        not_fooled: the same for the same scenes without watermark.
        others: share of scenes of other classes without watermark that are classified correctly.
        brightest: share of HANS scenes with watermark where the highest LayerCAM cell overlaps it.
        on_mark: share of the LayerCAM map, enlarged to the image, that lies on the watermark.
        mark_area: share of the image covered by the watermark; the value of `on_mark` for a uniform map.
        pictures: number of HANS scenes, each evaluated with and without watermark.
        other_pictures: number of scenes of other classes, each evaluated with and without watermark.
        maps: number of HANS scenes with a LayerCAM map.
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
    """Evaluate a network on scenes with and without the watermark.

    Args:
        model: a network in inference mode.
        count: number of HANS scenes; at least as many of the other classes, equally divided.
        seed: seed of the first scene; the scenes should not be part of the training set.
    """
    marked, plain = (make_clever_hans_scenes(count, seed, label=HANS, marked=mark) for mark in (True, False))
    false, true = (_others(count, seed + count, mark) for mark in (True, False))
    predictions = [
        probabilities(model, scenes.images).argmax(dim=1) for scenes in (marked, plain, false, true)
    ]  # (N,) each
    as_hans = [float((prediction == HANS).float().mean()) for prediction in predictions]
    right = float((predictions[3] == true.labels).float().mean())
    maps = min(count, MAPS)
    brightest, on_mark, mark_area = _on_mark(model, maps, seed)
    return CleverHansFacts(
        with_mark=as_hans[0], without_mark=as_hans[1], fooled=as_hans[2], not_fooled=as_hans[3], others=right,
        brightest=brightest, on_mark=on_mark, mark_area=mark_area,
        pictures=len(predictions[0]), other_pictures=len(predictions[2]), maps=maps,
    )  # fmt: skip


def _others(count: int, seed: int, marked: bool) -> Scenes:
    """Generate scenes of the other classes, equally many of each."""
    others = [label for label in range(len(CLASSES)) if label != HANS]
    parts = [
        make_clever_hans_scenes(-(-count // len(others)), seed + 10_000 * o, label=o, marked=marked) for o in others
    ]
    return Scenes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "masks")))


def _on_mark(model: ResidualNet, count: int, seed: int) -> tuple[float, float, float]:
    """Return how often LayerCAM peaks on the watermark, its share there, and the share of the area."""
    found = []
    for number in range(seed, seed + count):
        scene = clever_hans_scene(number, label=HANS, marked=True)
        if scene.watermark is None:
            raise AssertionError("a scene generated with marked=True must have a watermark")
        raw = layer_cam(Probe(model, to_input(scene.image[None]), HANS))[0]  # (h, w)
        mark = scene.watermark.float()  # (H, W)
        touched = F.adaptive_max_pool2d(mark[None], (raw.shape[0], raw.shape[1]))[0]  # (h, w)
        drawn = resize_map(raw, (mark.shape[0], mark.shape[1]))  # (H, W)
        on_mark = (drawn * mark).sum() / drawn.sum().clamp_min(1e-12)
        found.append(torch.stack([touched.flatten()[raw.argmax()], on_mark, mark.mean()]))
    brightest, on_average, area = torch.stack(found).mean(dim=0).tolist()
    return brightest, on_average, area
