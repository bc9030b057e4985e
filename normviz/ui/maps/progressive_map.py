"""A map that takes long: while it is made it is shown as far as it is, and it can be stopped."""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz.figures import maps, style
from normviz.images import sum_channels
from normviz.ui.kit.jobs import Preview
from normviz.ui.maps.map_request import Explained, MapRequest, explain


def answer(asked: MapRequest, opacity: float, colors: style.ColorMap) -> Explained:
    """The map of a question; one that takes long shows how far it is, and can be stopped.

    A map that was stopped is shown as far as it came, and says so.

    Args:
        asked: the question.
        opacity: of the map over the photo, while it is made.
        colors: of a map that is not signed.

    Raises:
        ValueError: what the method refuses, or a stop before there was anything to show.
    """
    if not asked.method.slow:
        return explain(asked, lambda share: None)

    def picture(raw: NDArray[np.float32], share: float) -> str:
        return _picture(asked, raw, share, opacity, colors)

    identity = (*(photo.identity for photo in asked.photos), *asked.key)
    preview = Preview("map", identity, asked.method.title, picture, "Keeps what is there so far.")
    if preview.stopped():
        raw, share = preview.so_far(f"{asked.method.title} was stopped before there was a map")
        cell = divmod(int(sum_channels(raw).argmax()), raw.shape[-1])
        return Explained(raw, None, f"Stopped at {share:.0%}: this is an approximation of the finished map.", cell)
    seen = explain(asked, preview.show, preview.keep)
    preview.done()
    return seen


def _picture(asked: MapRequest, raw: NDArray[np.float32], share: float, opacity: float, colors: style.ColorMap) -> str:
    """The map so far over the photo."""
    drawn = sum_channels(raw)  # (h, w)
    lit = maps.blend(asked.pixels, drawn, opacity, colors, bool((drawn < 0).any()))
    text = f"{asked.method.title} of {asked.name} after {share:.0%}: an approximation, which gets better"
    return (
        f'<figure style="margin:0;max-width:30rem"><img src="{maps.data_uri(lit)}" alt="{escape(text)}" '
        f'style="width:100%;border-radius:6px"><figcaption>{escape(text)}</figcaption></figure>'
    )
