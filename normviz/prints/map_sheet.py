"""Many small maps of one photo: their colors, their scales, and a sheet of them to print."""

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
SCALES: dict[Scale, str] = {"own": "each map its own", "method": "one for each method"}
WORST = 85  # quality of a JPEG, for maps of more than 64 cells a side
SIDE, GAP, HEAD, FOOT = 260, 16, 34, 34  # pixels of a printed map, between two, above it, below it


@dataclass(frozen=True)
class Printed:
    """One map on the sheet: its title, its values (h, w) or why there are none, its limits, a line below it."""

    title: str
    values: NDArray[Any] | None
    limits: tuple[float, float]
    caption: str = ""
    refused: str = ""


def limits(rows: Sequence[Sequence[NDArray[Any] | None]], scale: Scale) -> list[list[tuple[float, float]]]:
    """The values of the first and the last color of each map.

    A map with values below 0 is centered on 0. On one scale for each method, all maps of a row have the same limits.

    Args:
        rows: for each method its maps (h, w), None where there is none.
        scale: "own" or "method".
    """
    found = []
    for row in rows:
        there = [values for values in row if values is not None]
        common = _limits(there) if there else (0.0, 1.0)
        found.append([common if scale == "method" or values is None else _limits([values]) for values in row])
    return found


def _limits(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    return style.limits(*values, signed=any(float(one.min()) < 0 for one in values))


def colored(values: NDArray[Any], ends: tuple[float, float], color_map: style.ColorMap) -> NDArray[np.uint8]:
    """A map (h, w) in colors (h, w, 3), a pixel for each cell; blue-white-orange where its limits reach below 0."""
    return colors.colorize(values, "blue-white-orange" if ends[0] < 0 else color_map, *ends)


def picture(values: NDArray[Any], ends: tuple[float, float], color_map: style.ColorMap) -> str:
    """A map as an address: a pixel for each cell, exact up to 64 cells a side."""
    return maps.data_uri(colored(values, ends, color_map), WORST)


def small(photo: NDArray[np.uint8], longest: int = 320) -> NDArray[np.uint8]:
    """A photo (H, W, 3) reduced to at most so many pixels a side."""
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
    """All maps on one sheet of paper, a row for each method, over the photo as on the screen.

    Args:
        heading: what is compared.
        line: what is true of all maps, as their scale.
        rows: the name of each row and its maps.
        photo: uint8 (H, W, 3).
        opacity: of the maps over the photo, 0 to 1.
        color_map: of maps that are not signed.

    Returns:
        A PNG.

    Raises:
        ValueError: no map.
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
            brush.text((x, y + 42), _fitting(shown.title, 20), style.INK, font(20))
            place = y + 40 + HEAD
            if shown.values is None:
                for k, text in enumerate(wrapped(shown.refused, 16, SIDE)[: under.height // 22]):
                    brush.text((x, place + 22 * k), text, QUIET, font(16))
                continue
            cells = Image.fromarray(colored(shown.values, shown.limits, color_map))
            drawn = cells.resize(under.size, Image.Resampling.NEAREST)
            page.paste(Image.blend(under, drawn, opacity), (x, place))
            brush.text((x, place + under.height + 4), _fitting(shown.caption, 18), QUIET, font(18))
    return as_png(page)


def _fitting(text: str, size: int) -> str:
    """A text that is no wider than a map."""
    while font(size).getlength(text) > SIDE and len(text) > 2:
        text = text[:-2].rstrip() + "…"
    return text
