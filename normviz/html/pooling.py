"""Global average pooling as a table: each channel's map, its mean, its weight, what it contributes, and the sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normviz import colors
from normviz.figures import maps, style


@dataclass(frozen=True)
class Channel:
    """One row: the channel's number, its map (h, w), the map's mean, the weight, and their product."""

    number: int
    values: NDArray[Any]
    mean: float
    weight: float
    contribution: float


@dataclass(frozen=True)
class Line:
    """A row below the channels: what it is, and its amount."""

    name: str
    amount: float
    strong: bool = False


def table(channels: Sequence[Channel], lines: Sequence[Line], unit: str = "") -> str:
    """The channels and the lines below them as an HTML table, with a bar for each amount.

    Args:
        channels: in the order to show; their maps have one scale of colors.
        lines: the sum of the other channels, the bias, the sum of all.
        unit: what the contributions are counted in.

    Raises:
        ValueError: no channels, or a value that is not finite.
    """
    if not channels:
        raise ValueError("the table needs at least one channel; received none")
    amounts = [channel.contribution for channel in channels] + [line.amount for line in lines]
    numbers = [*amounts, *(channel.mean for channel in channels), *(channel.weight for channel in channels)]
    style.finite(np.array(numbers))
    low, high = style.limits(*(channel.values for channel in channels), signed=False)
    bound = max(abs(channel.contribution) for channel in channels) or 1.0
    rows = [_channel(channel, low, high, bound) for channel in channels]
    rows += [_line(line) for line in lines]
    head = (
        f'<tr><th scope="col">feature map</th><th scope="col">mean</th><th scope="col">weight</th>'
        f'<th scope="col">contribution{f" ({escape(unit)})" if unit else ""}</th><td></td></tr>'
    )
    return (
        f'<div style="overflow-x:auto"><table class="nv-pooling"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _channel(channel: Channel, low: float, high: float, bound: float) -> str:
    picture = maps.data_uri(colors.colorize(channel.values, "inferno", low, high))
    shown = f'<img src="{picture}" alt="map of channel {channel.number}">'
    return (
        f'<tr><th scope="row">{shown} {channel.number}</th><td>{style.number(channel.mean)}</td>'
        f"<td>× {style.number(channel.weight)}</td><td>= {_signed(channel.contribution)}</td>"
        f"<td>{_bar(channel.contribution, bound)}</td></tr>"
    )


def _line(line: Line) -> str:
    return (
        f'<tr class="{"nv-total" if line.strong else ""}"><th scope="row" colspan="3">{escape(line.name)}</th>'
        f"<td>{_signed(line.amount)}</td><td></td></tr>"
    )


def _signed(amount: float) -> str:
    return f"+{style.number(amount)}" if amount > 0 else style.number(amount)


def _bar(amount: float, bound: float) -> str:
    """A bar from the middle: to the right, warm, for; to the left, cool, against."""
    width = 50 * abs(amount) / bound
    left, color = (50.0, style.AFTER) if amount >= 0 else (50 - width, style.OKABE_ITO[4])
    return (
        '<div class="nv-amount" aria-hidden="true">'
        f'<span style="left:{left:.2f}%;width:{width:.2f}%;background:{color}"></span></div>'
    )
