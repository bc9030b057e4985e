"""Style transfer: channel statistics before and after the swap, and the optimized picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from normviz.experiments.labs.style_transfer import Exchange, Painting, Statistics, exchange, paint, square
from normviz.figures import curves, style
from normviz.figures.experiments import style_transfer
from normviz.figures.experiments.style_transfer import Cloud
from normviz.figures.normalization import tensors
from normviz.formatting import fixed, percent
from normviz.html.picture import figure
from normviz.html.table import Html, table
from normviz.images import to_uint8
from normviz.models.catalog import SIZE, load_classifier
from normviz.ui.components.board import Panel
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo

COLORS = ("red", "green", "blue")
PICTURE = "#009E73"  # the optimized picture


@dataclass(frozen=True)
class Pair:
    """A content photo that gets the statistics of a style photo.

    Attributes:
        content: the photo to change.
        style: the photo with the statistics.
        layer: the layer of the swap, one of LAYERS.
        alpha: the strength of the style, 0 to 1.
    """

    content: Photo
    style: Photo
    layer: str
    alpha: float

    @cached_property
    def squares(self) -> tuple[Tensor, Tensor]:
        """Both photos as network inputs, (1, 3, SIZE, SIZE) each."""
        return square(self.content.image, SIZE), square(self.style.image, SIZE)

    @property
    def photos(self) -> tuple[Photo, Photo]:
        """Both photos."""
        return self.content, self.style

    def channel(self, index: int) -> str:
        """The name of a channel."""
        return COLORS[index] if self.layer == "pixels" else f"channel {index}"


def exchanged(pair: Pair) -> Exchange:
    """The feature maps before and after the swap."""

    def run() -> Exchange:
        return exchange(load_classifier(), *pair.squares, pair.layer, pair.alpha)

    return cache.keep("exchange", (pair.layer, pair.alpha), lambda: jobs.compute(run), pair.photos)


def search(pair: Pair, steps: int, place: DeltaGenerator) -> Painting:
    """Optimize a picture for the swapped feature maps, with a progress bar; previews are drawn in `place`.

    Raises:
        Stopped: the visitor stopped the optimization.
    """

    def work(job: jobs.Job[Painting]) -> Painting:
        return paint(load_classifier(), *pair.squares, pair.layer, pair.alpha, steps, job.progress, job.preview)

    preview: jobs.Preview[NDArray[np.uint8], Painting]
    preview = jobs.Preview(lambda picture, share: pictures(pair, picture), place=place)
    label = "Optimizing the picture"
    key = (pair.layer, pair.alpha, steps)
    return jobs.run("painting", key, work, label, inputs=pair.photos, preview=preview)


def pictures(pair: Pair, result: NDArray[np.uint8] | None = None) -> str:
    """Content, style and the larger result as HTML; without a result, the content."""
    content, given = (_levels(picture) for picture in pair.squares)
    shown = (
        (f"Content: {pair.content.name}", content, 140),  # least width in pixels
        (f"Style: {pair.style.name}", given, 140),
        ("The content with the statistics of the style", content if result is None else result, 300),
    )
    figures = [figure(picture, text, style=f"flex:1 1 {width}px", quality=92) for text, picture, width in shown]
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem;max-width:60rem">{"".join(figures)}</div>'


def _levels(picture: Tensor) -> NDArray[np.uint8]:
    """A picture (1, 3, H, W) in [0, 1] as uint8 (H, W, 3)."""
    return to_uint8(picture[0]).permute(1, 2, 0).numpy()


def panels(pair: Pair, swap: Exchange, channel: int) -> list[Panel]:
    """The statistics of all channels before and after the swap, and the feature maps of one channel."""
    channels = "three colors" if pair.layer == "pixels" else f"{len(swap.after)} channels"
    return [*_statistics(swap, channels), *_channel_maps(swap, channel, pair.channel(channel))]


def _statistics(swap: Exchange, channels: str) -> list[Panel]:
    """The means and standard deviations of the channels against those of the style."""
    pairs = (
        ("mean", "Means", swap.of_style.mean, swap.of_content.mean, swap.of_after.mean),
        ("standard deviation", "Standard deviations", swap.of_style.std, swap.of_content.std, swap.of_after.std),
    )
    return [
        Panel(
            what, f"{title} of the {channels}",
            style_transfer.against_style(
                goal, [Cloud("content", before, style.BEFORE), Cloud("after the swap", after, style.AFTER)], what
            ),
            span=3, alt=f"{title} of the {channels} in the content and after the swap, against those of the style",
            caption="On the dotted line, a channel has the value of the style.",
        )
        for what, title, goal, before, after in pairs
    ]  # fmt: skip


def _channel_maps(swap: Exchange, channel: int, name: str) -> list[Panel]:
    """One channel of the content, the style and the result, on one color scale."""
    sheets = (swap.content[channel], swap.style[channel], swap.after[channel])
    low, high = min(float(sheet.min()) for sheet in sheets), max(float(sheet.max()) for sheet in sheets)
    titles = ("Content", "Style", "After the swap")
    return [
        Panel(
            f"map{index}", f"{title}: {name}",
            tensors.slice_heatmap(
                sheet, low, high, channel, role="after" if index == 2 else "before", scale="sequential",
                space="style" if index == 1 else "content",
            ),
            span=2, alt=f"{title}: the feature map of {name}",
        )
        for index, (title, sheet) in enumerate(zip(titles, sheets, strict=True))
    ]  # fmt: skip


def search_panels(swap: Exchange, painting: Painting) -> list[Panel]:
    """The fit of the optimized picture: its statistics against the target, and the errors by step."""
    clouds = (
        ("mean", "Means", swap.of_style.mean, swap.of_after.mean, painting.statistics.mean),
        ("standard deviation", "Standard deviations", swap.of_style.std, swap.of_after.std, painting.statistics.std),
    )
    statistics = [
        Panel(
            f"result-{what}", f"{title}: target and optimized picture",
            style_transfer.against_style(
                goal, [Cloud("target", target, style.AFTER), Cloud("optimized picture", now, PICTURE, "x-thin-open")],
                what,
            ),
            alt=f"{title} of the channels: target and optimized picture",
        )
        for what, title, goal, target, now in clouds
    ]  # fmt: skip
    steps = np.arange(1, len(painting.map_errors) + 1)
    errors = curves.lines(
        [
            curves.Line("feature maps", steps, painting.map_errors),
            curves.Line("statistics", steps, painting.statistics_errors),
        ],
        "step", "error, in variances", log_y=True,
    )  # fmt: skip
    words = "Error of the feature maps, and of their means and standard deviations, by step"
    return [*statistics, Panel("errors", "Errors by step", errors, span=2, alt=words, height=240)]


def numbers(swap: Exchange, painting: Painting) -> Html:
    """Returns the remaining differences from the style as an HTML table."""
    rows = (swap.of_content, swap.of_after, painting.statistics)
    means, deviations = zip(*(_distance(row, swap.of_style) for row in rows), strict=True)
    before = float(np.square(swap.content - swap.after).mean() / max(float(swap.after.var()), 1e-5))
    return table(
        ("", "content", "target", "optimized"),
        [
            ("mean error of the means", *map(fixed, means)),
            ("mean error of the standard deviations", *map(fixed, deviations)),
            ("error of the feature maps (in variances)", percent(before), "0%", percent(painting.map_error)),
        ],
    )


def _distance(some: Statistics, goal: Statistics) -> tuple[float, float]:
    """The mean absolute differences of the means and of the standard deviations."""
    return float(np.abs(some.mean - goal.mean).mean()), float(np.abs(some.std - goal.std).mean())
