"""What style transfer computes and draws: means and deviations before and after, and the picture that is searched."""

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
PICTURE = "#009E73"  # the picture that was found


@dataclass(frozen=True)
class Pair:
    """Two photos, of which one gets the other's statistics.

    Attributes:
        content: the photo that gets them.
        style: the photo that gives them.
        layer: where they are exchanged, one of LAYERS.
        alpha: how much of the style, 0 to 1.
    """

    content: Photo
    style: Photo
    layer: str
    alpha: float

    @cached_property
    def squares(self) -> tuple[Tensor, Tensor]:
        """Both as the network takes them, (1, 3, SIZE, SIZE) each."""
        return square(self.content.image, SIZE), square(self.style.image, SIZE)

    @property
    def photos(self) -> tuple[Photo, Photo]:
        """The two."""
        return self.content, self.style

    def channel(self, index: int) -> str:
        """What a channel is called."""
        return COLORS[index] if self.layer == "pixels" else f"channel {index}"


def exchanged(pair: Pair) -> Exchange:
    """The maps before and after the exchange."""

    def run() -> Exchange:
        return exchange(load_classifier(), *pair.squares, pair.layer, pair.alpha)

    return cache.keep("exchange", (pair.layer, pair.alpha), lambda: jobs.compute(run), pair.photos)


def search(pair: Pair, steps: int, place: DeltaGenerator) -> Painting:
    """The picture with the exchanged maps, with a progress bar; intermediate pictures are shown in `place`.

    Raises:
        Stopped: the visitor stopped the search.
    """

    def work(job: jobs.Job[Painting]) -> Painting:
        return paint(load_classifier(), *pair.squares, pair.layer, pair.alpha, steps, job.progress, job.preview)

    preview: jobs.Preview[NDArray[np.uint8], Painting]
    preview = jobs.Preview(lambda picture, share: pictures(pair, picture), place=place)
    label = "Searching for a picture with these maps"
    key = (pair.layer, pair.alpha, steps)
    return jobs.run("painting", key, work, label, inputs=pair.photos, preview=preview)


def pictures(pair: Pair, result: NDArray[np.uint8] | None = None) -> str:
    """Content and style side by side, and the result larger beside them, or below on a phone; none: the content."""
    content, given = (_levels(picture) for picture in pair.squares)
    shown = (
        (f"Content: {pair.content.name}", content, 140),  # pixels at least
        (f"Style: {pair.style.name}", given, 140),
        ("The content with the style's statistics", content if result is None else result, 300),
    )
    figures = [figure(picture, text, style=f"flex:1 1 {width}px", quality=92) for text, picture, width in shown]
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem;max-width:60rem">{"".join(figures)}</div>'


def _levels(picture: Tensor) -> NDArray[np.uint8]:
    """A picture (1, 3, H, W) in [0, 1] as levels (H, W, 3)."""
    return to_uint8(picture[0]).permute(1, 2, 0).numpy()


def panels(pair: Pair, seen: Exchange, channel: int) -> list[Panel]:
    """All channels' means and deviations before and after the exchange, and the maps of one."""
    channels = "three colors" if pair.layer == "pixels" else f"{len(seen.after)} channels"
    return [*_statistics(seen, channels), *_channel_maps(seen, channel, pair.channel(channel))]


def _statistics(seen: Exchange, channels: str) -> list[Panel]:
    """The channels' means and standard deviations against those of the style."""
    pairs = (
        ("mean", "Means", seen.of_style.mean, seen.of_content.mean, seen.of_after.mean),
        ("deviation", "Standard deviations", seen.of_style.std, seen.of_content.std, seen.of_after.std),
    )
    return [
        Panel(
            what, f"{title} of the {channels}",
            style_transfer.against_style(
                goal, [Cloud("content", before, style.BEFORE), Cloud("after the exchange", after, style.AFTER)], what
            ),
            span=3, alt=f"{title} of the {channels} in the content and after the exchange, against those in the style",
            caption="On the dotted line a channel has the style's value.",
        )
        for what, title, goal, before, after in pairs
    ]  # fmt: skip


def _channel_maps(seen: Exchange, channel: int, name: str) -> list[Panel]:
    """One channel of content, style and exchange, on one scale of colors."""
    sheets = (seen.content[channel], seen.style[channel], seen.after[channel])
    low, high = min(float(sheet.min()) for sheet in sheets), max(float(sheet.max()) for sheet in sheets)
    titles = ("Content", "Style", "After the exchange")
    return [
        Panel(
            f"map{place}", f"{title}: {name}",
            tensors.slice_heatmap(
                sheet, low, high, channel, role="after" if place == 2 else "before", scale="sequential",
                space="style" if place == 1 else "content",
            ),
            span=2, alt=f"{title}: the map of {name}",
        )
        for place, (title, sheet) in enumerate(zip(titles, sheets, strict=True))
    ]  # fmt: skip


def search_panels(seen: Exchange, found: Painting) -> list[Panel]:
    """How well the picture fits: its statistics against those asked for, and the errors on the way."""
    clouds = (
        ("mean", "Means", seen.of_style.mean, seen.of_after.mean, found.statistics.mean),
        ("deviation", "Standard deviations", seen.of_style.std, seen.of_after.std, found.statistics.std),
    )
    statistics = [
        Panel(
            f"found-{what}", f"{title}, asked for and found",
            style_transfer.against_style(
                goal, [Cloud("asked for", asked, style.AFTER), Cloud("in the picture", has, PICTURE, "x-thin-open")],
                what,
            ),
            alt=f"{title} of the channels, as asked for and in the picture that was found",
        )
        for what, title, goal, asked, has in clouds
    ]  # fmt: skip
    steps = np.arange(1, len(found.map_errors) + 1)
    errors = curves.lines(
        [curves.Line("maps", steps, found.map_errors), curves.Line("statistics", steps, found.statistics_errors)],
        "step", "error, in variances", log_y=True,
    )  # fmt: skip
    words = "How far the picture is from the exchanged maps, and from their means and deviations, step by step"
    return [*statistics, Panel("errors", "Errors during the search", errors, span=2, alt=words, height=240)]


def numbers(seen: Exchange, found: Painting) -> Html:
    """Returns the remaining differences from the style as an HTML table."""
    rows = (seen.of_content, seen.of_after, found.statistics)
    means, deviations = zip(*(_distance(row, seen.of_style) for row in rows), strict=True)
    before = float(np.square(seen.content - seen.after).mean() / max(float(seen.after.var()), 1e-5))
    return table(
        ("", "content", "exchanged", "found"),
        [
            ("mean error of the means", *map(fixed, means)),
            ("mean error of the standard deviations", *map(fixed, deviations)),
            ("error of the feature maps (in variances)", percent(before), "0%", percent(found.map_error)),
        ],
    )


def _distance(some: Statistics, goal: Statistics) -> tuple[float, float]:
    """How far apart two sets of channels are in their means and in their deviations, on average."""
    return float(np.abs(some.mean - goal.mean).mean()), float(np.abs(some.std - goal.std).mean())
