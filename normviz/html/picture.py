"""A picture with a caption as an HTML figure, and figures in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz.figures.maps import data_uri
from normviz.html.table import Html


def figure(
    image: NDArray[np.uint8] | str,
    caption: str = "",
    alt: str | None = None,
    title: str = "",
    pixelated: bool = False,
    style: str = "",
    image_style: str = "",
    caption_style: str = "",
    quality: int = 85,
) -> Html:
    """Returns an HTML figure: an image as wide as its container, with a caption below it.

    Args:
        image: uint8 (H, W, 3), or the address of an image.
        caption: text or `Html`.
        alt: text that replaces the image for people who cannot see it; by default the caption.
        title: a heading above the image.
        pixelated: whether enlarged pixels stay sharp squares.
        style: CSS of the figure.
        image_style: CSS of the image.
        caption_style: CSS of the caption.
        quality: of the JPEG, if `image` is an array.
    """
    source = image if isinstance(image, str) else data_uri(image, quality)
    sharp = ";image-rendering:pixelated" if pixelated else ""
    heading = f"<b>{escape(title)}</b>" if title else ""
    line = f'<figcaption style="line-height:1.35;padding-top:.3rem{_more(caption_style)}">{_text(caption)}</figcaption>'
    return Html(
        f'<figure style="margin:0{_more(style)}">{heading}'
        f'<img src="{escape(source)}" alt="{escape(caption if alt is None else alt)}" '
        f'style="width:100%;display:block;border-radius:5px{sharp}{_more(image_style)}">'
        f"{line if caption else ''}</figure>"
    )


def grid(figures: Sequence[str], narrowest: str, gap: str = ".75rem") -> Html:
    """Returns elements in a grid, with as many columns as there is room for.

    Args:
        figures: the elements, as HTML.
        narrowest: the least width of a column in CSS, as "9.5rem".
        gap: the gap between two elements in CSS.
    """
    columns = f"repeat(auto-fill,minmax({narrowest},1fr))"
    return Html(f'<div style="display:grid;grid-template-columns:{columns};gap:{gap}">{"".join(figures)}</div>')


def _more(rules: str) -> str:
    return f";{rules}" if rules else ""


def _text(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)
