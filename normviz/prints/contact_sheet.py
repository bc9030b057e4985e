"""Cards that show one normalization each, and a sheet of cards to print."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from normviz import colors
from normviz.figures import style
from normviz.figures.normalization.cube import group_colors
from normviz.paths import ROOT

FONT = ROOT / "static" / "fonts" / "open-sans-latin.woff2"
CUBE, BARS, VALUES = (160, 160), (480, 150), (480, 220)  # width and height in pixels
TALLEST = 2.5  # upper end of the histogram axis, in multiples of the highest bar of the input
QUIET = "#52606F"
GRAY = "#B9BFC7"
CARD, GAP, MARGIN, COLUMNS = (520, 700), 24, 48, 4  # in pixels; cards in a row


@dataclass(frozen=True)
class Card:
    """The card of one method.

    Attributes:
        title: name of the method.
        shares: which values share statistics.
        facts: names and numbers, as text.
        cube: PNG of the shared axes.
        bars: PNG of the histograms before and after.
        values: PNG of a part of the output, with one pixel per value.
    """

    title: str
    shares: str
    facts: tuple[tuple[str, str], ...]
    cube: bytes
    bars: bytes
    values: bytes


def uri(picture: bytes) -> str:
    """Returns a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"


def cube(groups: NDArray[Any] | None) -> bytes:
    """Draws a block of cells with one color per group: N to the back, channels to the right, positions down.

    Args:
        groups: (n, c, p) group index of each cell; None draws a gray block.

    Returns:
        A PNG with a transparent background.

    Source: Wu & He 2018, Figure 2.
    """
    if groups is None:
        return _cube((4, 6, 4), (GRAY,) * 96)
    color_of = group_colors(groups)
    return _cube(groups.shape, tuple(style.GROUP_COLORS[color_of[group]] for group in groups.flatten().tolist()))


@functools.lru_cache(maxsize=128)
def _cube(shape: tuple[int, ...], colors: tuple[str, ...]) -> bytes:
    """Draws a block (n, c, p) of cells; `colors` are in row-major order."""
    cells = np.array(colors).reshape(shape)  # (n, c, p)
    n, c, p = shape
    east, north, south = np.array([0.87, 0.5]), np.array([0.87, -0.5]), np.array([0.0, 1.15])
    corner = n * np.array([0.0, 0.5])  # of the first channel of the first sample
    faces = [  # colors, origin, direction of columns, direction of rows, shade
        (cells[0].T, corner, east, south, 0.94),  # (p, c): the front
        (cells[:, -1].T, corner + c * east, north, south, 0.8),  # (p, n): the side
        (cells[:, :, 0], corner, east, north, 1.0),  # (n, c): the top
    ]
    extent = np.array([0.87 * (n + c), 0.5 * (n + c) + 1.15 * p])
    scale = 2 * (min(CUBE) - 8) / extent.max()  # drawn at twice the size, then reduced for smooth edges
    origin = np.array(CUBE) - scale * extent / 2
    image = Image.new("RGBA", (2 * CUBE[0], 2 * CUBE[1]), (0, 0, 0, 0))
    brush = ImageDraw.Draw(image)
    for face, start, column_step, row_step, shade in faces:
        for (i, j), color in np.ndenumerate(face):
            point = start + j * column_step + i * row_step
            corners = [point, point + column_step, point + column_step + row_step, point + row_step]
            brush.polygon(
                [tuple(origin + scale * corner) for corner in corners],
                fill=_shaded(str(color), shade), outline="#3A4654", width=2,
            )  # fmt: skip
    return as_png(image.reduce(2).quantize(48, Image.Quantize.FASTOCTREE))


def bars(before: NDArray[Any], after: NDArray[Any]) -> bytes:
    """Draws the histograms of input and output with the same bins; higher bars are clipped.

    Args:
        before: (B,) counts of the input.
        after: (B,) counts of the output.

    Returns:
        A PNG with a transparent background.

    Raises:
        ValueError: if the bins differ, or the input has no counts.
    """
    if before.shape != after.shape or before.ndim != 1 or not before.sum():
        raise ValueError(
            f"both histograms need the same bins, and the input needs counts; received {before.shape} and {after.shape}"
        )
    width, height = BARS
    image = Image.new("RGBA", BARS, (0, 0, 0, 0))
    tallest = TALLEST * float(before.max()) / float(before.sum())
    for counts, color in ((before, style.BEFORE), (after, style.AFTER)):
        shares = np.minimum(counts / max(float(counts.sum()), 1.0) / tallest, 1.0)  # (B,)
        layer = Image.new("RGBA", BARS, (0, 0, 0, 0))
        brush = ImageDraw.Draw(layer)
        edges = np.linspace(0, width, len(counts) + 1).round().astype(int)
        for share, start, end in zip(shares, edges, edges[1:], strict=False):
            if share:
                brush.rectangle((start, height - 2 - share * (height - 2), end - 1, height - 2), fill=f"{color}CC")
        image = Image.alpha_composite(image, layer)
    ImageDraw.Draw(image).line((0, height - 1, width, height - 1), fill="#808890", width=2)
    return as_png(image)


def values(sheet: NDArray[Any], limit: float) -> bytes:
    """Draws numbers as colors with one pixel each, blue below 0 and orange above.

    Args:
        sheet: (rows, columns) numbers.
        limit: value of the last color; the first color is −limit.

    Returns:
        A PNG.

    Raises:
        ValueError: if a number is not finite.
    """
    table = colors.palette(colors.SIGNED)[::3]  # (86, 3): every third of 256 colors, including both ends
    level = np.rint((style.finite(sheet) / limit).clip(-1, 1) * 42.5 + 42.5).astype(np.uint8)  # (rows, columns)
    image = Image.fromarray(level)
    image.putpalette(table.tobytes())
    return as_png(image)


def contact_sheet(heading: str, line: str, cards: Sequence[Card]) -> bytes:
    """Draws all cards on one sheet.

    Args:
        heading: title of the sheet.
        line: text below the title, about all cards.
        cards: the cards, in order.

    Returns:
        A PNG.

    Raises:
        ValueError: if there is no card.
    """
    if not cards:
        raise ValueError("a contact sheet needs at least one card: choose a method")
    columns = min(COLUMNS, len(cards))
    rows = -(-len(cards) // columns)
    width = 2 * MARGIN + columns * CARD[0] + (columns - 1) * GAP
    lines = wrapped(line, 22, width - 2 * MARGIN)
    top = MARGIN + 60 + 32 * len(lines) + 20
    page = Image.new("RGB", (width, top + rows * (CARD[1] + GAP) - GAP + MARGIN), style.PAPER)
    brush = ImageDraw.Draw(page)
    brush.text((MARGIN, MARGIN - 12), heading, style.INK, font(38, 650))
    for k, text in enumerate(lines):
        brush.text((MARGIN, MARGIN + 50 + 32 * k), text, QUIET, font(22))
    for k, card in enumerate(cards):
        row, column = divmod(k, columns)
        _draw(page, card, MARGIN + column * (CARD[0] + GAP), top + row * (CARD[1] + GAP))
    return as_png(page)


def _draw(page: Image.Image, card: Card, x: int, y: int) -> None:
    """Draws one card with its upper left corner at (x, y)."""
    brush = ImageDraw.Draw(page)
    brush.rounded_rectangle((x, y, x + CARD[0], y + CARD[1]), 8, "#FFFFFF", "#D8D3C7", 2)
    brush.text((x + 20, y + 12), card.title, style.INK, font(26, 650))
    for k, text in enumerate(wrapped(card.shares, 20, CARD[0] - 40)[:2]):
        brush.text((x + 20, y + 50 + 26 * k), text, QUIET, font(20))
    with Image.open(io.BytesIO(card.cube)) as image:
        small = image.convert("RGBA").resize((176, 176), Image.Resampling.LANCZOS)
    page.paste(small, (x + 20, y + 112), small)
    for k, (name, text) in enumerate(card.facts):
        brush.text((x + 220, y + 112 + 36 * k), name, QUIET, font(20))
        brush.text((x + CARD[0] - 20, y + 112 + 36 * k), text, style.INK, font(20, 600), anchor="ra")
    with Image.open(io.BytesIO(card.bars)) as image:
        drawn = image.convert("RGBA")
    page.paste(drawn, (x + 20, y + 304), drawn)
    with Image.open(io.BytesIO(card.values)) as image:
        page.paste(image.convert("RGB").resize(VALUES, Image.Resampling.NEAREST), (x + 20, y + 466))


@functools.cache
def font(size: int, weight: int = 400) -> ImageFont.FreeTypeFont:
    """Returns the font of the app."""
    font = ImageFont.truetype(str(FONT), size)
    font.set_variation_by_axes([weight])
    return font


def wrapped(text: str, size: int, width: int) -> list[str]:
    """Breaks a text into lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shaded(color: str, factor: float) -> tuple[int, int, int]:
    """Returns a hexadecimal color as RGB, darkened by a factor from 0 to 1."""
    red, green, blue = (round(int(color[k : k + 2], 16) * factor) for k in (1, 3, 5))
    return red, green, blue


def as_png(image: Image.Image) -> bytes:
    """Encodes a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
