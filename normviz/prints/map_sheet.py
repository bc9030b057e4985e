"""Many small maps of one photo: color limits, colored pictures, and a sheet to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from normviz import colors
from normviz.figures import maps, style
from normviz.prints.contact_sheet import MARGIN, QUIET, as_png, font, wrapped

Scale = Literal["own", "method"]
SCALES: dict[Scale, str] = {"own": "one per map", "method": "one per method"}
JPEG_QUALITY = 85  # for maps with more than 64 cells a side
SIDE, GAP, HEAD, FOOT = 260, 16, 34, 34  # in pixels: side of a map, gap, space above, space below


@dataclass(frozen=True)
class Printed:
    """One map on the sheet.

    Attributes:
        title: line above the map.
        values: (h, w) the map; None if it could not be computed.
        limits: color limits.
        caption: line below the map.
        refused: the reason if there is no map.
    """

    title: str
    values: NDArray[Any] | None
    limits: tuple[float, float]
    caption: str = ""
    refused: str = ""


def limits(rows: Sequence[Sequence[NDArray[Any] | None]], scale: Scale) -> list[list[tuple[float, float]]]:
    """Returns the color limits of each map.

    The limits of a map with negative values are symmetric about 0. With scale "method", all maps of a row share them.

    Args:
        rows: for each method its maps (h, w), or None for a missing map.
        scale: "own" or "method".
    """
    result = []
    for row in rows:
        present = [values for values in row if values is not None]
        common = _limits(present) if present else (0.0, 1.0)
        result.append([common if scale == "method" or values is None else _limits([values]) for values in row])
    return result


def _limits(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    return style.limits(*values, signed=any(float(one.min()) < 0 for one in values))


def colored(values: NDArray[Any], ends: tuple[float, float], color_map: style.ColorMap) -> NDArray[np.uint8]:
    """Colors a map (h, w) as (h, w, 3), one pixel per cell; blue-white-orange if its lower limit is negative."""
    return colors.colorize(values, "blue-white-orange" if ends[0] < 0 else color_map, *ends)


def picture(values: NDArray[Any], ends: tuple[float, float], color_map: style.ColorMap) -> str:
    """Returns a map as a data URI with one pixel per cell; lossless up to 64 cells a side."""
    return maps.data_uri(colored(values, ends, color_map), JPEG_QUALITY)


def small(photo: NDArray[np.uint8], longest: int = 320) -> NDArray[np.uint8]:
    """Reduces a photo (H, W, 3) to at most `longest` pixels a side."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def print_sheet(
    heading: str,
    line: str,
    rows: Sequence[tuple[str, Sequence[Printed]]],
    photo: NDArray[np.uint8],
    opacity: float,
    color_map: style.ColorMap,
) -> bytes:
    """Draws all maps over the photo on one sheet, with a row for each method.

    Args:
        heading: title of the sheet.
        line: text below the title, about all maps.
        rows: the name of each row and its maps.
        photo: uint8 (H, W, 3).
        opacity: opacity of the maps, from 0 to 1.
        color_map: color map of unsigned maps.

    Returns:
        A PNG.

    Raises:
        ValueError: if there is no map.
    """
    columns = max((len(row) for _, row in rows), default=0)
    if not columns:
        raise ValueError("a sheet needs at least one map: choose a method")
    under = Image.fromarray(small(photo, SIDE))
    width = max(2 * MARGIN + columns * (SIDE + GAP) - GAP, 900)
    above = wrapped(line, 22, width - 2 * MARGIN)
    top = MARGIN + 60 + 32 * len(above) + 12
    tall = 40 + HEAD + under.height + FOOT + GAP
    page = Image.new("RGB", (width, top + tall * len(rows) + MARGIN), style.PAPER)
    brush = ImageDraw.Draw(page)
    brush.text((MARGIN, MARGIN - 12), heading, style.INK, font(38, 650))
    for k, text in enumerate(above):
        brush.text((MARGIN, MARGIN + 50 + 32 * k), text, QUIET, font(22))
    for i, (name, row) in enumerate(rows):
        y = top + i * tall
        brush.text((MARGIN, y), name, style.INK, font(26, 650))
        for j, shown in enumerate(row):
            x = MARGIN + j * (SIDE + GAP)
            brush.text((x, y + 42), _shortened(shown.title, 20), style.INK, font(20))
            top_edge = y + 40 + HEAD
            if shown.values is None:
                for k, text in enumerate(wrapped(shown.refused, 16, SIDE)[: under.height // 22]):
                    brush.text((x, top_edge + 22 * k), text, QUIET, font(16))
                continue
            cells = Image.fromarray(colored(shown.values, shown.limits, color_map))
            drawn = cells.resize(under.size, Image.Resampling.NEAREST)
            page.paste(Image.blend(under, drawn, opacity), (x, top_edge))
            brush.text((x, top_edge + under.height + 4), _shortened(shown.caption, 18), QUIET, font(18))
    return as_png(page)


def _shortened(text: str, size: int) -> str:
    """Shortens a text to the width of a map."""
    while font(size).getlength(text) > SIDE and len(text) > 2:
        text = text[:-2].rstrip() + "…"
    return text
