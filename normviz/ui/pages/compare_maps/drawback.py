"""A known weakness of attribution maps on the page: explanation, maps, curves and measured values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.experiments.drawbacks.drawback import Drawback, DrawbackInput, DrawbackResult, Tile
from normviz.experiments.results import BarChart, Curves, Picture
from normviz.figures import curves, maps, style
from normviz.html import map_tables
from normviz.prints import map_sheet as figures
from normviz.ui.components.board import Panel, board
from normviz.ui.components.map_sheet import Row, Shown, map_sheet
from normviz.ui.kit import jobs, page_layout
from normviz.ui.maps.photo import Photo
from normviz.ui.pages.compare_maps.comparison import caption, sentence

MAX_UNIT = 12  # longest unit, in characters, that is shown below a map
DASHES: dict[str, curves.Dash] = {"measured": "solid", "compared": "dash", "expected": "dot"}


def measure(drawback: Drawback, setting: DrawbackInput, photo: Photo, on_stop: Callable[[], None]) -> DrawbackResult:
    """Measure a weakness on a photo, with a progress bar.

    Args:
        drawback: the weakness.
        setting: network, image, class and layer.
        photo: the photo that contains the image.
        on_stop: called when the visitor clicks Stop.
    """
    name, size = setting.classifier.name, setting.classifier.size
    key = (name, size, setting.target, setting.layer)

    def work(job: jobs.Job[DrawbackResult]) -> DrawbackResult:
        return drawback.run(setting, job.progress)

    return jobs.run(f"drawback-{drawback.name}", key, work, drawback.title, inputs=[photo], on_stop=on_stop)


def draw(result: DrawbackResult, pixels: NDArray[np.uint8], opacity: float, color_map: style.ColorMap) -> None:
    """Draw the result.

    Args:
        result: the measured result.
        pixels: the photo, uint8 (H, W, 3); ignored if the result contains a photo.
        opacity: opacity of the maps, 0 to 1.
        color_map: color map of maps without negative values.
    """
    page_layout.sentence(result.explanation, "hint")
    photo = pixels if result.photo is None else result.photo
    rows = [Row("", "", tuple(_shown(tile, color_map) for tile in line)) for line in result.tiles]
    under = maps.data_uri(figures.small(photo))
    map_sheet(rows, under, photo.shape[1] / photo.shape[0], opacity, f"drawback-sheet-{len(result.tiles)}")
    if any(tile.values is not None for line in result.tiles for tile in line):
        st.caption("Each map has its own color scale. Blue is negative.")
    if result.pictures:
        last, odd = len(result.pictures) - 1, len(result.pictures) % 2  # two per row; an odd last one fills its row
        panels = [_panel(i, picture, 2 if odd and i == last else 1) for i, picture in enumerate(result.pictures)]
        board(panels, "drawback-board", columns=2)
    st.html(map_tables.facts(result.facts))
    if result.note:
        st.caption(result.note)


def _shown(tile: Tile, color_map: style.ColorMap) -> Shown:
    """A small image of the result: a map over a photo, a photo, or an error message."""
    photo = "" if tile.photo is None else maps.data_uri(figures.small(tile.photo))
    if tile.refused:
        return Shown(tile.title, refused=sentence(tile.refused))
    if tile.values is None:
        return Shown(tile.title, caption=tile.caption, photo=photo)
    ends = style.limits(tile.values, signed=float(tile.values.min()) < 0)
    unit = f" {tile.unit}" if len(tile.unit) <= MAX_UNIT else ""
    text = tile.caption or caption(tile.values) + unit
    rows, columns = tile.values.shape
    return Shown(tile.title, figures.picture(tile.values, ends, color_map), (rows, columns), text, photo=photo)


def _panel(number: int, picture: Picture, span: int) -> Panel:
    """A panel with curves or bars."""
    if isinstance(picture, Curves):
        lines = [curves.Line(one.name, one.x, one.y, dash=DASHES[one.kind]) for one in picture.curves]
        figure = curves.lines(lines, picture.x_title, picture.y_title, picture.log_x, picture.log_y)
    elif isinstance(picture, BarChart):
        groups = [curves.Bars(name, heights) for name, heights in picture.groups.items()]
        expected = None if picture.expected is None else picture.expected.tolist()
        figure = curves.bars(
            picture.places, groups, picture.x_title, picture.y_title, expected, picture.log_y, line_name=picture.line
        )  # fmt: skip
    else:
        raise TypeError(f"a picture must be Curves or BarChart; received {type(picture).__name__}")
    alt = f"{picture.title}: {picture.y_title} by {picture.x_title}"
    return Panel(f"picture-{number}", picture.title, figure, span, alt=alt, caption=picture.caption)
