"""Data scaling: the columns of a table, or the colors of a photo, before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from normviz.figures import maps, style
from normviz.figures.normalization import data_scaling
from normviz.formatting import fixed, number
from normviz.images import to_uint8
from normviz.registry import Normalization, Value
from normviz.tables import photo_rows, rows_photo, split
from normviz.ui.components.board import Panel
from normviz.ui.inputs.table import TableInput
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo

LONGEST = 360  # pixels: a photo is reduced to this before it is scaled
STATISTICS = {
    "mean": "mean", "median": "median", "min": "smallest value", "std": "standard deviation", "range": "range",
    "largest": "largest absolute value", "iqr": "interquartile range",
}  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """The columns before and after, (rows, columns), and the mask of the training rows."""

    columns: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    train: NDArray[np.bool_]


@dataclass(frozen=True)
class ScaledPhoto:
    """A photo as a table before and after: one row per patch of patch × patch pixels, (rows, 3 patch²)."""

    name: str
    width: int
    patch: int
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def scale_table(
    method: Normalization, settings: dict[str, Value], chosen: TableInput, share: float, seed: int
) -> Scaled:
    """A table, scaled with the statistics of a share of its rows."""
    table = chosen.table

    def run() -> Scaled:
        train = split(len(table.values), share, seed)  # (rows,)
        after = _scaled(method, table.values, train, settings)
        return Scaled(table.columns, table.values.numpy(), after.numpy(), train.numpy())

    key = (method.name, *settings.items(), share, seed)
    return cache.keep("scaled", key, lambda: jobs.compute(run), [chosen])


def scale_photo(method: Normalization, settings: dict[str, Value], photo: Photo, patch: int) -> ScaledPhoto:
    """A photo, scaled with the statistics of all its pixels or patches."""

    def run() -> tuple[Tensor, Tensor]:
        image = photo.image.float() / 255  # (3, H, W)
        factor = LONGEST / max(image.shape[1:])
        if factor < 1:
            image = F.interpolate(image[None], scale_factor=factor, mode="bilinear", antialias=True)[0]  # (3, h, w)
        rows = photo_rows(image, patch)  # (pixels or patches, 3 patch²)
        return image, _scaled(method, rows, torch.ones(len(rows), dtype=torch.bool), settings)

    key = (method.name, *settings.items(), patch)
    image, result = cache.keep("scaled photo", key, lambda: jobs.compute(run), [photo])
    before = photo_rows(image, patch).double().numpy()  # (rows, 3 patch²)
    return ScaledPhoto(photo.name, image.shape[2], patch, before, result.double().numpy())


def _scaled(method: Normalization, x: Tensor, train: Tensor, settings: dict[str, Value]) -> Tensor:
    """The rows (N, C), scaled with the statistics of the training rows (N,) if the method takes them."""
    given = {"train": x[train]} if method.takes("train") else {}
    y: Tensor = method.function(x, **given, **settings)  # (N, C)
    return y


def table_panels(scaled: Scaled, across: int, up: int) -> list[Panel]:
    """All columns on one axis, a scatter plot of two, and a histogram of one, before and after."""
    names, shown = scaled.columns, min(len(scaled.columns), data_scaling.MOST_STRIPS)
    more = f"The first {shown} of {len(names)} columns." if len(names) > shown else ""
    pair = [names[across], names[up]]
    sides = (("before", scaled.before, style.BEFORE), ("after", scaled.after, style.AFTER))
    panels = []
    for side, values, color in sides:
        figure = data_scaling.strips(values, names, scaled.train, color)
        title, alt = f"All columns on one axis, {side}", f"{shown} columns on one axis {side} the scaling."
        panels.append(Panel(f"strips-{side}", title, figure, 1, alt, more, 110 + 62 * shown))
    for side, values, color in sides:
        figure = data_scaling.scatter(values[:, [across, up]], pair, scaled.train, color, one_scale=side == "after")
        note = "Each axis in its own unit" if side == "before" else "Both axes share one scale"
        note += f"; correlation {_correlation(values[scaled.train][:, [across, up]])}."
        alt = f"{pair[1]} against {pair[0]} {side} the scaling."
        panels.append(Panel(f"scatter-{side}", f"Two columns, {side}", figure, 1, alt, note, 440))
    for side, values, color in sides:
        figure = data_scaling.histogram(values[:, across], pair[0], scaled.train, color)
        alt = f"Histogram of {pair[0]} {side} the scaling."
        panels.append(Panel(f"bars-{side}", f"One column, {side}", figure, 1, alt, "", 320))
    return panels


def photo_panels(scaled: ScaledPhoto) -> list[Panel]:
    """The photo and the histograms of its colors, before and after."""
    low, high = (float(end) for end in np.quantile(scaled.after, [0.005, 0.995]))
    panels = []
    for side, values, black, white in (
        ("before", scaled.before, 0.0, 1.0), ("after", scaled.after, low, high if high > low else low + 1.0)
    ):  # fmt: skip
        picture = maps.photo(_as_photo(values, scaled.width, scaled.patch, black, white))
        picture.update_layout(margin={"b": 8})
        dark, light = (number(level, 2, markup=False) for level in (black, white))
        note = f"Black is {dark} and white is {light} in all three colors."
        title = f"{scaled.name[0].upper()}{scaled.name[1:]}, {side}"
        panels.append(Panel(side, title, picture, 1, f"The photo {side} the scaling.", note, 420))
    for side, values in (("before", scaled.before), ("after", scaled.after)):
        figure = data_scaling.color_histogram(values.reshape(-1, 3))
        panels.append(Panel(f"bars-{side}", f"Values, {side}", figure, 1, f"Three histograms {side}.", "", 320))
    return panels


def describe_table(method: Normalization, scaled: Scaled) -> str:
    """The statistics taken from the training rows, and the number of new rows outside their range."""
    train, new = int(scaled.train.sum()), int((~scaled.train).sum())
    text = _fitted(method, f"the {train:,} training rows alone", "row")
    if not new or not method.takes("train"):
        return text
    inside = scaled.before[scaled.train]
    beyond = (scaled.before < inside.min(0)) | (scaled.before > inside.max(0))
    return (
        f"{text} The {new:,} new rows are scaled with the same statistics; {int(beyond.any(1).sum()):,} of them have a "
        "value outside the range of the training rows."
    )


def describe_photo(method: Normalization, scaled: ScaledPhoto) -> str:
    """The meaning of rows and columns, and the statistics taken from them."""
    patch = scaled.patch
    row = "a pixel" if patch == 1 else f"a patch of {patch} × {patch} pixels"
    columns = "red, green and blue" if patch == 1 else f"the {3 * patch**2} color values in it"
    rows = f"all {len(scaled.before):,} {'pixels' if patch == 1 else 'patches'}"
    return f"Each row of the table is {row}; the columns are {columns}. {_fitted(method, rows, 'pixel')}"


def _fitted(method: Normalization, rows: str, of: str) -> str:
    """The statistics and the rows that they come from, in one sentence."""
    if not method.takes("train"):
        return f"Nothing is learned from the data: each {of} is divided by its own length."
    taken = [STATISTICS[name] for name in (method.center, method.scale) if name]
    what = f"the {' and the '.join(taken)} of each column" if taken else "the means and covariances of the columns"
    return f"Computed from {rows}: {what}."


def _correlation(pair: NDArray[np.float64]) -> str:
    """The correlation of two columns (N, 2) with two decimals, or a dash if one is constant."""
    x, y = (pair - pair.mean(0)).T  # (N,), (N,)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return fixed(float(x @ y) / size, 2) if size else "–"


def _as_photo(values: NDArray[np.float64], width: int, patch: int, low: float, high: float) -> NDArray[np.uint8]:
    """The rows as a photo (H, W, 3); `low` is black and `high` is white in all three colors."""
    picture = rows_photo(torch.from_numpy((values - low) / (high - low)), width, patch)  # (3, H', W')
    return to_uint8(picture).permute(1, 2, 0).numpy()
