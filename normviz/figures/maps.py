"""Figures of a photo, an attribution map, the map over the photo, and class probabilities."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from normviz import colors
from normviz.figures import link, style
from normviz.figures.normalization.tensors import grid_axes, heatmap
from normviz.formatting import percent

BELOW = 88  # margin below photo, map and overlay in pixels: equal, so that all three have the same size


def data_uri(image: NDArray[np.uint8], quality: int = 85) -> str:
    """Encodes an image as a data URI: PNG up to 64 pixels a side, where JPEG artifacts would be visible, else JPEG.

    Args:
        image: (H, W, 3) levels from 0 to 255.
        quality: quality of the JPEG, up to 95.

    Raises:
        ValueError: if the shape or the type differs.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"the image must be (H, W, 3) of uint8; received {image.shape} of {image.dtype}")
    small = max(image.shape) <= 64
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": quality}))
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _image(image: NDArray[np.uint8], cells: tuple[int, int] | None, role: str, space: str) -> go.Figure:
    height, width = image.shape[:2]
    rows, columns = cells or (height, width)
    dx, dy = columns / width, rows / height
    trace = go.Image(
        source=data_uri(image), x0=dx / 2 - 0.5, dx=dx, y0=dy / 2 - 0.5, dy=dy, zsmooth="fast", hoverinfo="skip"
    )
    spec = {
        "kind": "cells",
        "space": space,
        "role": role,
        "axes": ["row", "column"],
        "faces": [link.cell_grid(rows, columns)],
    }
    return style.figure([trace], spec, **grid_axes(rows, columns, dx / dy, BELOW))


def photo(image: NDArray[np.uint8], cells: tuple[int, int] | None = None, space: str = "image") -> go.Figure:
    """Draws a photo whose axes count the cells of a map, so that zoom and pointer of both are linked.

    Args:
        image: (H, W, 3) levels from 0 to 255.
        cells: (rows, columns) of the map; by default the pixels of the photo.
        space: figures with the same space show the same cells.
    """
    return _image(image, cells, "photo", space)


def heat(
    values: NDArray[Any],
    signed: bool = False,
    unit: str = "",
    color_map: style.ColorMap = "inferno",
    aspect: float | None = None,
    bar: bool = True,
    space: str = "image",
    total: float | None = None,
) -> go.Figure:
    """Draws a raw map with a color bar in its own unit; nothing is resized or rescaled.

    Args:
        values: (h, w) finite numbers.
        signed: whether negative values are evidence against the class: the colors are then blue-white-orange, centered
            on 0, and `color_map` is ignored.
        unit: unit of the values, as "logits".
        color_map: color map of an unsigned map.
        aspect: width over height of the map, as of the photo; by default cells are square.
        bar: whether to draw the color bar.
        space: figures with the same space show the same cells.
        total: the total if the cells add up to one: the readout then gives each cell as a part of it.

    Raises:
        ValueError: if the map is not a matrix, or a value is not finite.
    """
    if values.ndim != 2:
        raise ValueError(f"a map must have shape (h, w); received shape {values.shape}")
    low, high = style.limits(values, signed=signed)
    rows, columns = values.shape
    trace, levels = heatmap(values, low, high, "blue-white-orange" if signed else color_map, unit, bar)
    spec = {
        "kind": "cells",
        "space": space,
        "role": "map",
        "axes": ["row", "column"],
        "unit": unit,
        "values": {"start": levels.start, "step": levels.step},
        "evidence": float(np.clip(values, 0, None).sum(dtype=np.float64)),
        "faces": [link.cell_grid(rows, columns)],
    }
    if total is not None:
        spec["sum"] = float(total)
    ratio = 1.0 if aspect is None else (columns / rows) / aspect
    return style.figure([trace], spec, **grid_axes(rows, columns, ratio, BELOW))


def blend(
    image: NDArray[np.uint8],
    values: NDArray[Any],
    opacity: float = 0.5,
    color_map: style.ColorMap = "inferno",
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Lays a map over a photo: resized bilinearly to the photo, and colored between its limits.

    Args:
        image: (H, W, 3) levels from 0 to 255.
        values: (h, w) finite numbers.
        opacity: opacity of the map, from 0 to 1.
        color_map: color map of an unsigned map.
        signed: whether the colors are centered on 0.

    Returns:
        (H, W, 3) levels from 0 to 255.
    """
    name = colors.SIGNED if signed else color_map
    drawn = colors.overlay(image, values, opacity, name, style.limits(values, signed=signed))
    return np.array(drawn)  # (H, W, 3)


def overlay(
    image: NDArray[np.uint8],
    values: NDArray[Any],
    opacity: float = 0.5,
    color_map: style.ColorMap = "inferno",
    signed: bool = False,
    space: str = "image",
) -> go.Figure:
    """Draws the map over the photo, as returned by `blend`, which documents the arguments."""
    rows, columns = values.shape
    return _image(blend(image, values, opacity, color_map, signed), (rows, columns), "overlay", space)


def class_bars(names: Sequence[str], probabilities: Sequence[float], selected: str | None = None) -> go.Figure:
    """Draws class probabilities as horizontal bars; a click on a row reports its class.

    Args:
        names: the classes, in the order to show.
        probabilities: their probabilities from 0 to 1.
        selected: the class of the map, in orange.
    """
    rows = list(range(len(names)))
    trace = go.Bar(
        orientation="h",
        x=[round(float(p), 5) for p in probabilities],
        y=rows,
        text=[percent(float(p), 1, short=True) for p in probabilities],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [style.AFTER if name == selected else style.BEFORE for name in names]},
        hoverinfo="skip",
    )
    return style.figure(
        [trace],
        {"kind": "choices", "values": list(names)},
        bargap=0.35,
        margin={"l": 8, "r": 64, "t": 4, "b": 4},
        xaxis={"range": [0, 1], "visible": False, "fixedrange": True},
        yaxis={"range": [len(names) - 0.5, -0.5], "tickvals": rows, "ticktext": list(names), "automargin": True,
               "fixedrange": True, "showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 8},
        dragmode=False,
    )  # fmt: skip
