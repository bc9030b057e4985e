"""A network in training: growing curves, sample scenes, and its answers for test scenes before and after."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz.figures import style
from normviz.formatting import number, percent
from normviz.html.picture import figure, grid
from normviz.html.table import Html

MOST_POINTS = 300  # points drawn of a curve


@dataclass(frozen=True)
class Curve:
    """A curve that grows: its name, its color, and its points (step, value)."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Answer:
    """A network's answer for a scene.

    Attributes:
        text: predicted class and probability.
        right: whether an object of this class is in the scene.
        overlay: the scene with the map over it, (H, W, 3).
        share_on_object: share of the map on the object; None if there is no object or the map is zero.
    """

    text: str
    right: bool
    overlay: NDArray[np.uint8]
    share_on_object: float | None


@dataclass(frozen=True)
class Card:
    """A test scene with the network's answers.

    Attributes:
        name: name of the scene.
        scene: the picture, (H, W, 3).
        mask: the mask of its objects as a picture, (H, W, 3).
        area: share of the picture that the mask covers.
        before: answer of the untrained network.
        after: answer of the trained network; None before it is trained.
    """

    name: str
    scene: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    area: float
    before: Answer
    after: Answer | None


def chart(
    title: str, curves: Sequence[Curve], last: float, highest: float | None = None, in_percent: bool = False
) -> Html:
    """Returns a chart of curves by step: the lines are an image, all text has the page's font and colors.

    Args:
        title: name of the values.
        curves: the curves so far; one without points only appears in the legend.
        last: the step at the right end of the axis.
        highest: the value at the upper end; by default a round number above the highest value.
        in_percent: whether the values are shares, shown in percent.
    """
    values = [value for curve in curves for _, value in curve.points]
    high = highest if highest is not None else 0.5 * math.ceil(2.1 * max([*values, 0.5]))
    ticks = style.ticks(0.0, high)
    named = curves if len(curves) > 1 else ()
    names = " ".join(f'<b style="color:{curve.color}">—</b> {escape(curve.name)}' for curve in named)
    latest = "; ".join(_latest(curve, in_percent) for curve in curves if curve.points)
    y_labels = "".join(
        f'<span style="position:absolute;right:100%;top:{100 - 100 * tick / high:.1f}%;transform:translateY(-50%);'
        f'padding-right:.4rem;white-space:nowrap">{_value(tick, in_percent)}</span>'
        for tick in ticks
    )
    x_labels = "".join(
        f'<span style="position:absolute;top:100%;left:{100 * tick / last:.1f}%;transform:translateX(-50%);'
        f'padding-top:.2rem">{number(tick)}</span>'
        for tick in style.ticks(0.0, last, 4)
    )
    return Html(
        '<figure style="flex:1 1 270px;min-width:0;max-width:40rem;margin:0">'
        f'<div style="display:flex;flex-wrap:wrap;gap:0 1.2rem;padding-bottom:1rem"><b>{escape(title)}</b>'
        f"<span>{names}</span></div>"
        '<div style="padding:0 1rem 2rem 3.6rem"><div style="position:relative;height:190px">'
        f'<img src="{_lines(curves, ticks, last, high)}" alt="{escape(f"{title} by step. {latest}")}" '
        f'style="position:absolute;width:100%;height:100%">{y_labels}{x_labels}</div></div></figure>'
    )


def _lines(curves: Sequence[Curve], ticks: Sequence[float], last: float, high: float) -> str:
    """Returns the curves and the grid lines as the data URI of an SVG that is stretched to its container."""
    parts = [
        f'<line x1="0" x2="1000" y1="{y:.1f}" y2="{y:.1f}" stroke="#8A8F98" stroke-opacity=".4"/>'
        for y in (1000 - 1000 * tick / high for tick in ticks)
    ]
    for curve in curves:
        every = max(math.ceil(len(curve.points) / MOST_POINTS), 1)
        drawn = [*curve.points[::every], *curve.points[-1:]]
        path = " ".join(
            f"{1000 * step / last:.1f},{1000 - 1000 * min(value, high) / high:.1f}" for step, value in drawn
        )
        parts.append(f'<polyline points="{path}" stroke="{curve.color}" stroke-width="2.5" fill="none"/>')
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        f"<style>*{{vector-effect:non-scaling-stroke}}</style>{''.join(parts)}</svg>"
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode('ascii')}"


def _latest(curve: Curve, in_percent: bool) -> str:
    return f"{curve.name} now {_value(curve.points[-1][1], in_percent)}"


def _value(value: float, in_percent: bool) -> str:
    return percent(value, counted=True) if in_percent else number(value)


def charts(*drawn: str) -> Html:
    """Returns charts side by side, or below each other on a phone."""
    return Html(f'<div style="display:flex;flex-wrap:wrap;gap:.5rem 1.5rem">{"".join(drawn)}</div>')


def samples(pictures: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> Html:
    """Returns a grid of sample scenes: for each class its name and some pictures (H, W, 3)."""
    groups = [
        '<figure style="margin:0"><div style="display:grid;grid-auto-flow:column;gap:4px">'
        + "".join(figure(picture, alt="", pixelated=True) for picture in images)
        + f"</div><figcaption>{escape(name)}</figcaption></figure>"
        for name, images in pictures
    ]
    return grid(groups, "min(11.5rem,45%)", ".7rem 1rem")


def cards(shown: Sequence[Card]) -> Html:
    """Returns a grid of test scenes, each with its mask and the network's answers before and after training."""
    return grid([_card(card) for card in shown], "min(15rem,100%)", "1.2rem 1.5rem")


def _card(card: Card) -> str:
    empty = np.full_like(card.scene, 128)
    area = f"{percent(card.area, counted=True)} of the image" if card.area else "no object of a class"
    tiles = [
        _tile(card.scene, card.name, "The scene"),
        _tile(card.mask, area, "The object"),
        _answer(card.before, "Before"),
        _answer(card.after, "After") if card.after else _tile(empty, "not trained yet", "After", 0.25, 3),
    ]
    return f'<div style="display:grid;grid-template-columns:1fr 1fr;gap:.5rem .7rem">{"".join(tiles)}</div>'


def _answer(answer: Answer, title: str) -> Html:
    share = answer.share_on_object
    inside = "" if share is None else f"{percent(share, counted=True)} of the map is on the object"
    return _tile(answer.overlay, f"{'✓' if answer.right else '✗'} {answer.text}", title, lines=3, second=inside)


def _tile(
    picture: NDArray[np.uint8], text: str, title: str, opacity: float = 1.0, lines: int = 2, second: str = ""
) -> Html:
    """Returns a picture with a title and a caption; the caption reserves `lines` lines to keep the pictures aligned."""
    return figure(
        picture,
        Html("<br>".join(escape(part) for part in (text, second) if part)),
        f"{title}: {text} {second}".strip(),
        title,
        pixelated=True,
        image_style=f"opacity:{opacity}",
        caption_style=f"min-height:{1.35 * lines}em",
    )
