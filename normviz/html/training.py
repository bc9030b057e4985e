"""A network that learns: curves that grow, example scenes, and what it says of test scenes, as plain HTML."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from normviz.figures import maps, style

MOST = 300  # points of a curve that are drawn
CORNER = 'style="width:100%;display:block;border-radius:4px;image-rendering:pixelated"'


@dataclass(frozen=True)
class Curve:
    """A curve of a chart that grows: its name, its color, (step, value) of its points."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Answer:
    """What a network says of a scene.

    Attributes:
        said: its class and its confidence, in words.
        right: whether this is the class of an object in the scene.
        lit: the scene with the map over it, (H, W, 3).
        inside: share of the map that lies on the object; None where there is no object or the map is empty.
    """

    said: str
    right: bool
    lit: NDArray[np.uint8]
    inside: float | None


@dataclass(frozen=True)
class Card:
    """A test scene: its name, its picture and its objects' mask as pictures (H, W, 3), the share of the mask, answers.

    `before` and `after` are what the untrained and the trained network say; None: it is not trained yet.
    """

    name: str
    scene: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    area: float
    before: Answer
    after: Answer | None


def chart(title: str, curves: Sequence[Curve], last: float, highest: float | None = None, percent: bool = False) -> str:
    """A chart of curves by step: the lines as a picture, all words in the page's own type and colors.

    Args:
        title: what the values are.
        curves: what has happened so far; curves without points are only named.
        last: the step at the right end of the axis.
        highest: the value at the upper end; by default a round number above the highest value.
        percent: whether values are shares, written in percent.
    """
    values = [value for curve in curves for _, value in curve.points]
    high = highest if highest is not None else 0.5 * math.ceil(2.1 * max([*values, 0.5]))
    levels = style.ticks(0.0, high)
    named = curves if len(curves) > 1 else ()
    names = " ".join(f'<b style="color:{curve.color}">—</b> {escape(curve.name)}' for curve in named)
    said = "; ".join(_told(curve, percent) for curve in curves if curve.points)
    upright = "".join(
        f'<span style="position:absolute;right:100%;top:{100 - 100 * tick / high:.1f}%;transform:translateY(-50%);'
        f'padding-right:.4rem;white-space:nowrap">{f"{100 * tick:.0f} %" if percent else style.number(tick)}</span>'
        for tick in levels
    )
    along = "".join(
        f'<span style="position:absolute;top:100%;left:{100 * tick / last:.1f}%;transform:translateX(-50%);'
        f'padding-top:.2rem">{style.number(tick)}</span>'
        for tick in style.ticks(0.0, last, 4)
    )
    return (
        '<figure style="flex:1 1 270px;min-width:0;max-width:40rem;margin:0">'
        f'<div style="display:flex;flex-wrap:wrap;gap:0 1.2rem;padding-bottom:1rem"><b>{escape(title)}</b>'
        f"<span>{names}</span></div>"
        '<div style="padding:0 1rem 2rem 3.6rem"><div style="position:relative;height:190px">'
        f'<img src="{_lines(curves, levels, last, high)}" alt="{escape(f"{title} by step. {said}")}" '
        f'style="position:absolute;width:100%;height:100%">{upright}{along}</div></div></figure>'
    )


def _lines(curves: Sequence[Curve], levels: Sequence[float], last: float, high: float) -> str:
    """The curves and level lines as the address of a picture that is stretched to its place."""
    parts = [
        f'<line x1="0" x2="1000" y1="{y:.1f}" y2="{y:.1f}" stroke="#8A8F98" stroke-opacity=".4"/>'
        for y in (1000 - 1000 * tick / high for tick in levels)
    ]
    for curve in curves:
        every = max(math.ceil(len(curve.points) / MOST), 1)
        kept = [*curve.points[::every], *curve.points[-1:]]
        path = " ".join(f"{1000 * step / last:.1f},{1000 - 1000 * min(value, high) / high:.1f}" for step, value in kept)
        parts.append(f'<polyline points="{path}" stroke="{curve.color}" stroke-width="2.5" fill="none"/>')
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        f"<style>*{{vector-effect:non-scaling-stroke}}</style>{''.join(parts)}</svg>"
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode('ascii')}"


def _told(curve: Curve, percent: bool) -> str:
    value = curve.points[-1][1]
    return f"{curve.name} now {f'{100 * value:.0f} %' if percent else style.number(value)}"


def charts(*drawn: str) -> str:
    """Charts side by side, one below the other on a phone."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:.5rem 1.5rem">{"".join(drawn)}</div>'


def examples(pictures: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> str:
    """A sheet of scenes: for each class its name and some pictures (H, W, 3) of it."""
    groups = "".join(
        '<figure style="margin:0"><div style="display:grid;grid-auto-flow:column;gap:4px">'
        + "".join(f'<img src="{maps.data_uri(one)}" alt="" {CORNER}>' for one in some)
        + f"</div><figcaption>{escape(name)}</figcaption></figure>"
        for name, some in pictures
    )
    columns = "repeat(auto-fill,minmax(min(11.5rem,45%),1fr))"
    return f'<div style="display:grid;grid-template-columns:{columns};gap:.7rem 1rem">{groups}</div>'


def cards(shown: Sequence[Card]) -> str:
    """Test scenes, each with its objects' mask and with what the network says, before and after its training."""
    columns = "repeat(auto-fill,minmax(min(15rem,100%),1fr))"
    inner = "".join(map(_card, shown))
    return f'<div style="display:grid;grid-template-columns:{columns};gap:1.2rem 1.5rem">{inner}</div>'


def _card(card: Card) -> str:
    empty = np.full_like(card.scene, 128)
    area = f"{100 * card.area:.0f} % of the picture" if card.area else "nothing that has a class"
    after = (card.after, "After") if card.after else None
    tiles = [
        _tile(card.scene, card.name, "The scene"),
        _tile(card.mask, area, "Its object"),
        _answered(card.before, "Before"),
        _answered(*after) if after else _tile(empty, "not trained yet", "After", 0.25, 3),
    ]
    return f'<div style="display:grid;grid-template-columns:1fr 1fr;gap:.5rem .7rem">{"".join(tiles)}</div>'


def _answered(answer: Answer, when: str) -> str:
    inside = "" if answer.inside is None else f"{100 * answer.inside:.0f} % of the map on it"
    return _tile(answer.lit, f"{'✓' if answer.right else '✗'} {answer.said}", when, lines=3, more=inside)


def _tile(
    picture: NDArray[np.uint8], text: str, heading: str, opacity: float = 1.0, lines: int = 2, more: str = ""
) -> str:
    """A picture with its heading and its caption, which has room for so many lines: so that pictures stay in rows."""
    room = f"line-height:1.3;padding-top:.2rem;min-height:{1.3 * lines}em"
    caption = "<br>".join(escape(part).replace(" %", "&nbsp;%") for part in (text, more) if part)
    return (
        f'<figure style="margin:0"><b>{heading}</b><img src="{maps.data_uri(picture)}" '
        f'alt="{escape(f"{heading}: {text} {more}".strip())}" {CORNER[:-1]};opacity:{opacity}">'
        f'<figcaption style="{room}">{caption}</figcaption></figure>'
    )
