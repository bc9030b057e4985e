"""A map of a slow method: the intermediate map is shown while it is computed, and a stop keeps it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from normviz.figures import maps, style
from normviz.html.picture import figure
from normviz.images import sum_channels
from normviz.ui.kit.jobs import Preview
from normviz.ui.maps.map_request import AttributionMap, MapRequest, compute_map


def progressive_map(request: MapRequest, opacity: float, colors: style.ColorMap) -> AttributionMap:
    """The requested map; a slow method shows its intermediate map.

    A stopped computation gives the last intermediate map, with a note.

    Args:
        request: the map to compute.
        opacity: of the intermediate map over the photo.
        colors: of a map without negative values.

    Raises:
        ValueError: the method refuses the request, or was stopped before the first intermediate map.
    """

    def html(raw: NDArray[np.float32], share: float) -> str:
        return _picture(request, raw, share, opacity, colors)

    def stopped(raw: NDArray[np.float32], share: float) -> AttributionMap:
        cell = divmod(int(sum_channels(raw).argmax()), raw.shape[-1])
        return AttributionMap(raw, None, f"Stopped at {share:.0%}: this is an approximation of the finished map.", cell)

    missing = f"{request.method.title} was stopped before there was a map"
    return compute_map(request, preview=Preview(html, stopped, missing))


def _picture(
    request: MapRequest, raw: NDArray[np.float32], share: float, opacity: float, colors: style.ColorMap
) -> str:
    """An intermediate map over the photo, as HTML."""
    drawn = sum_channels(raw)  # (h, w)
    overlay = maps.blend(request.pixels, drawn, opacity, colors, bool((drawn < 0).any()))
    text = f"{request.method.title} of {request.name} after {share:.0%}: an approximation, which gets better"
    return figure(overlay, text, style="max-width:30rem")
