"""Maps that are shown while a slow method computes them; when stopped, the last intermediate map is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from normviz.figures import maps, style
from normviz.html.picture import figure
from normviz.images import sum_channels
from normviz.ui.kit.jobs import Preview
from normviz.ui.maps.map_request import AttributionMap, MapRequest, compute_map


def progressive_map(request: MapRequest, opacity: float, colors: style.ColorMap) -> AttributionMap:
    """Compute the requested map, and show intermediate maps of a slow method.

    If the computation is stopped, the last intermediate map is returned with a note.

    Args:
        request: the map to compute.
        opacity: opacity of the intermediate map, 0 to 1.
        colors: color map for maps without negative values.

    Raises:
        ValueError: the method does not support the request, or was stopped before the first intermediate map.
    """

    def html(raw: NDArray[np.float32], share: float) -> str:
        return _picture(request, raw, share, opacity, colors)

    def stopped(raw: NDArray[np.float32], share: float) -> AttributionMap:
        cell = divmod(int(sum_channels(raw).argmax()), raw.shape[-1])
        return AttributionMap(raw, None, f"Stopped at {share:.0%}: this is an approximation of the finished map.", cell)

    missing = f"{request.method.title} was stopped before its first map"
    return compute_map(request, preview=Preview(html, stopped, missing))


def _picture(
    request: MapRequest, raw: NDArray[np.float32], share: float, opacity: float, colors: style.ColorMap
) -> str:
    """Returns an intermediate map over the photo as HTML."""
    drawn = sum_channels(raw)  # (h, w)
    overlay = maps.blend(request.pixels, drawn, opacity, colors, bool((drawn < 0).any()))
    text = f"{request.method.title} of {request.name} at {share:.0%}, an approximation of the finished map"
    return figure(overlay, text, style="max-width:30rem")
