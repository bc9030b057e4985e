"""Style transfer: what happens when only means and standard deviations are exchanged?"""

import math
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from torch import Tensor

from normviz.experiments.style import LAYERS, Exchange, Painting, Statistics, exchange, paint, square
from normviz.figures import curves, maps, style, style_transfer, tensors
from normviz.figures.style_transfer import Cloud
from normviz.images import encode_png
from normviz.models.catalogue import SIZE, Classifier, load_classifier
from normviz.ui import cache, frame, state
from normviz.ui.board import Panel, board
from normviz.ui.photo import Photo, pick

T = TypeVar("T")
PLACES = {
    "pixels": "the three colours",
    "stem": "the first layers",
    "stage1": "stage 1",
    "stage2": "stage 2",
}
STEPS = (50, 150, 300, 600)
COLOURS = ("red", "green", "blue")
PICTURE = "#009E73"  # the picture that was found
FORMULAS = (
    r"\operatorname{AdaIN}(c, s) = \sigma(s)\,\frac{c - \mu(c)}{\sigma(c)} + \mu(s)",
    r"t = (1 - \alpha)\,c + \alpha\,\operatorname{AdaIN}(c, s)",
)
HELP = """
A layer of the network turns a photo into maps, one for each channel: one answers to edges, another to a colour.
**AdaIN** takes each map of the content, removes its mean and standard deviation, and gives it those of the same map of
the style. Nothing else moves: *where* a map is bright stays the content's; *how* bright it is, and how much that
varies, becomes the style's. That is instance normalization with gamma and beta from another photo.

**The picture** is not read off a formula. The authors of AdaIN trained a second network, a decoder, to turn maps back
into pixels. Here a picture is searched for instead. It starts as the content in the style's colours; then its pixels
are changed step by step (gradient descent) until the network sees in it the exchanged maps, and at the layers before,
down to the colours, the means and deviations after an exchange there. It never fits completely: there need not be any
picture with these maps.

**What to expect.** With the three colours alone, only tint and contrast change. Deeper layers add texture: a smooth
style takes the fur's detail away, one with small lights turns edges into lights. Brush strokes as in the paper do not
come out: this network is small, has learned 11 kinds of photos at 128 pixels a side, and means and deviations say
nothing about where in the style something was.
"""

frame.page("Style transfer", "What happens when only means and standard deviations are exchanged?")


def kept(photos: tuple[Photo, Photo], name: str, key: tuple[object, ...], make: Callable[[], T]) -> T:
    """A result of two photos: shared where both are samples, else in this session alone."""
    if all(photo.sample for photo in photos):
        return cache.memo((name, *(photo.sample for photo in photos), *key), make)
    return cache.private(name, (*(photo.identity for photo in photos), *key), make)


def pictures(shown: Sequence[tuple[str, NDArray[np.uint8]]]) -> str:
    """Content and style side by side, and the result larger beside them, or below on a phone."""
    widths = (140, 140, 300)  # pixels at least
    figures = [
        f'<figure style="flex:1 1 {width}px;margin:0"><img src="{maps.data_uri(picture, 92)}" alt="{escape(text)}" '
        f'style="width:100%;display:block;border-radius:6px"><figcaption>{escape(text)}</figcaption></figure>'
        for (text, picture), width in zip(shown, widths, strict=True)
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem;max-width:60rem">{"".join(figures)}</div>'


def levels(picture: Tensor) -> NDArray[np.uint8]:
    """A picture (1, 3, H, W) in [0, 1] as levels (H, W, 3)."""
    return (picture[0] * 255).round().byte().permute(1, 2, 0).numpy()


def statistics(seen: Exchange, channels: str) -> list[Panel]:
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


def channel_maps(seen: Exchange, channel: int, name: str) -> list[Panel]:
    """One channel of content, style and exchange, on one scale of colours."""
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


def search(seen: Exchange, found: Painting) -> list[Panel]:
    """How well the picture fits: its statistics against those asked for, and the errors on the way."""
    clouds = (
        ("mean", "Means", seen.of_style.mean, seen.of_after.mean, found.statistics.mean),
        ("deviation", "Standard deviations", seen.of_style.std, seen.of_after.std, found.statistics.std),
    )
    panels = [
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
    return [*panels, Panel("errors", "Errors during the search", errors, span=2, alt=words, height=240)]


def distance(some: Statistics, goal: Statistics) -> tuple[float, float]:
    """How far apart two sets of channels are in their means and in their deviations, on average."""
    return float(np.abs(some.mean - goal.mean).mean()), float(np.abs(some.std - goal.std).mean())


def numbers(seen: Exchange, found: Painting) -> str:
    """What is left of the difference from the style, as a table in Markdown."""
    rows = (seen.of_content, seen.of_after, found.statistics)
    means, deviations = zip(*(distance(row, seen.of_style) for row in rows), strict=True)
    before = float(np.square(seen.content - seen.after).mean() / max(float(seen.after.var()), 1e-5))
    return "\n".join(
        (
            "| | content | exchanged | found |",
            "|---|---|---|---|",
            "| off the style's means, on average | " + " | ".join(f"{value:.3f}" for value in means) + " |",
            "| off its standard deviations | " + " | ".join(f"{value:.3f}" for value in deviations) + " |",
            f"| off the exchanged maps (variance) | {100 * before:.0f} % | 0 % | {100 * found.map_error:.0f} % |",
        )
    )


def find(
    photos: tuple[Photo, Photo], squares: tuple[Tensor, Tensor], key: tuple[str, float], steps: int,
    classifier: Classifier, place: st.delta_generator.DeltaGenerator, draw: Callable[[NDArray[np.uint8]], object],
) -> Painting:  # fmt: skip
    """The picture; while it is searched for, how far the search is and what it has."""
    latest: list[NDArray[np.uint8]] = []
    started = time.monotonic()

    def show(share: float) -> None:
        left = (time.monotonic() - started) * (1 - share) / share if share else None
        words = "waiting for a free core" if left is None else f"{share:.0%}, about {math.ceil(left)} s left"
        place.progress(share, f"Searching for a picture with these maps: {words}. Any change stops it.")
        if latest:
            draw(latest[-1])

    def run(advance: Callable[[float], None]) -> Painting:
        return paint(classifier, *squares, *key, steps, advance, latest.append)

    found = kept(photos, "painting", (*key, steps), lambda: cache.compute_slowly(run, show))
    place.empty()
    return found


@st.fragment
def work() -> None:
    """The part that answers to every choice."""
    left, right = frame.columns()
    with left, frame.guard():
        photos = pick("Content: your photo"), pick("Style: your photo", "style-", "retina")
        layer = state.select("Where they are exchanged", LAYERS, "stage1", "layer", text=PLACES.__getitem__)
        alpha = state.slider(r"How much style $\alpha$", 0.0, 1.0, 1.0, "alpha", step=0.05)
        steps = state.steps("Steps of the search", STEPS, 150, "steps", help="More steps fit better and take longer.")
        classifier = load_classifier()
        squares = square(photos[0].image, SIZE), square(photos[1].image, SIZE)  # (1, 3, SIZE, SIZE) each
        with right, frame.guard():
            seen = kept(
                photos, "exchange", (layer, alpha),
                lambda: cache.compute(lambda: exchange(classifier, *squares, layer, alpha)),
            )  # fmt: skip
            top, bar = st.empty(), st.empty()
            shown = [
                (f"Content: {photos[0].name}", levels(squares[0])),
                (f"Style: {photos[1].name}", levels(squares[1])),
            ]

            def draw(picture: NDArray[np.uint8]) -> None:
                top.html(pictures([*shown, ("The content with the style's statistics", picture)]))

            draw(shown[0][1])
            order = np.argsort(-np.square(seen.after - seen.content).mean((1, 2)))  # (C,)
            with left:
                rank = state.slider("Map shown (1: changed most)", 1, len(order), 1, "map")
            channel = int(order[rank - 1])
            name = COLOURS[channel] if layer == "pixels" else f"channel {channel}"
            channels = "three colours" if layer == "pixels" else f"{len(order)} channels"
            for formula in FORMULAS:
                st.latex(formula)
            board([*statistics(seen, channels), *channel_maps(seen, channel, name)], "style-board", columns=6)
            below = st.container()
            frame.how_to_read(HELP)
            found = find(photos, squares, (layer, alpha), steps, classifier, bar, draw)
            draw(found.pixels)
            with below:
                if len(found.map_errors):
                    board(search(seen, found), "style-search", columns=2)
                st.markdown(numbers(seen, found))
                st.download_button(
                    "Picture (PNG)", encode_png(found.pixels), "style.png", "image/png", on_click="ignore"
                )


work()
