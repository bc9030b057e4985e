"""A photo with a network's class probabilities and attribution map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from normviz.colors import SIGNED, overlay
from normviz.models.catalog import Classifier
from normviz.ui.maps.map_request import AttributionMap
from normviz.ui.maps.photo import Photo


@dataclass(frozen=True)
class ExplainedPhoto:
    """A photo with the class probabilities of a network and the map of one class.

    Attributes:
        photo: the photo.
        probabilities: (classes,), the softmax of the logits.
        map: the map of the explained class.
    """

    photo: Photo
    probabilities: Tensor
    map: AttributionMap

    def overlay(self, classifier: Classifier, high: float, signed: bool, opacity: float = 0.6) -> NDArray[np.uint8]:
        """Blend the map over the part of the photo that the network receives.

        Args:
            classifier: the network.
            high: upper color limit.
            signed: whether the lower color limit is `-high` instead of 0.
            opacity: opacity of the map, 0 to 1.

        Returns:
            uint8 (h, w, 3).
        """
        view = classifier.view(self.photo.image)  # (3, h, w)
        name, low = (SIGNED, -high) if signed else ("inferno", 0.0)
        return np.array(overlay(view, self.map.drawn, opacity, name, (low, high)))  # (h, w, 3)
