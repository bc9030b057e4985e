"""A photo before and after a region is filled: its map and its probabilities, cached."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from normviz.evaluation.photo_edit import strongest
from normviz.evaluation.pixels import at_pixels
from normviz.formatting import percent
from normviz.html import confidence_change
from normviz.models.catalog import Classifier
from normviz.ui.components.paint import grid
from normviz.ui.kit import cache
from normviz.ui.maps import map_request
from normviz.ui.maps.explained_photo import ExplainedPhoto
from normviz.ui.maps.map_request import MapRequest
from normviz.ui.maps.photo import Photo

SHOWN = 5  # classes
LONGEST = 512  # pixels; longer photos are reduced so that inpainting half of one takes a second


def reduced(photo: Photo) -> Photo:
    """The photo with at most LONGEST pixels on its longer side; a reduced sample no longer counts as a sample."""
    height, width = photo.pixels.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))

    def shrink() -> NDArray[np.uint8]:
        pixels = np.asarray(Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS))
        pixels.flags.writeable = False
        return pixels

    pixels = cache.keep("edit reduced", (), shrink, [cache.Private(photo.identity)])  # (h, w, 3)
    return Photo(photo.name, pixels, f"{photo.identity}-reduced", None)


def explain(name: str, request: MapRequest, label: str) -> ExplainedPhoto:
    """Explain a photo; the session keeps one result for each name ("before", "after").

    Raises:
        ValueError: the method does not support the request.
        Stopped: the visitor stopped a slow method.
    """
    probabilities = map_request.probabilities(request.classifier, request.photo, f"probabilities {name}")  # (classes,)
    return ExplainedPhoto(request.photo, probabilities, map_request.compute_map(request, f"edit-{name}", label))


def strongest_cells(before: ExplainedPhoto, classifier: Classifier, share: float) -> Tensor:
    """The strongest cells of the map, bool (rows, columns): this share of all cells, or fewer if the rest is 0.

    Raises:
        ValueError: the map has no evidence for the class.
    """
    height, width = before.photo.pixels.shape[:2]
    top, left, h, w = classifier.box(height, width)
    everywhere = torch.zeros(height, width)  # no evidence outside the part that the network receives
    everywhere[top : top + h, left : left + w] = at_pixels(torch.from_numpy(before.map.raw), (h, w))
    coarse = F.adaptive_avg_pool2d(everywhere[None, None], grid(height, width))[0, 0]  # (rows, columns)
    return strongest(coarse, share)  # (rows, columns)


def describe(request: MapRequest, before: ExplainedPhoto, after: ExplainedPhoto) -> str:
    """The change of the probability, in one sentence."""
    was, now = float(before.probabilities[request.target]), float(after.probabilities[request.target])
    change = confidence_change.describe(request.name, was, now)
    winner = int(after.probabilities.argmax())
    if winner != int(before.probabilities.argmax()):
        share = percent(float(after.probabilities.max()))
        change += f"; the network now predicts {request.classifier.classes[winner]} ({share})"
    return f"{change[0].upper()}{change[1:]}."


def shown_classes(before: Tensor, after: Tensor, target: int) -> list[int]:
    """The explained class and the most probable classes before or after, sorted by probability before."""
    others = torch.maximum(before, after).argsort(descending=True).tolist()  # (classes,)
    chosen = list(dict.fromkeys([target, int(after.argmax()), *others]))[:SHOWN]
    return sorted(chosen, key=lambda index: -float(before[index]))
