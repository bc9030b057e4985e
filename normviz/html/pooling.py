"""Global average pooling as a table: each channel's feature map, mean, weight and contribution, and the sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normviz import colors
from normviz.figures import maps, style
from normviz.formatting import number, signed
from normviz.html.table import Cell, Content, Html, Row, table


@dataclass(frozen=True)
class Channel:
    """One channel.

    Attributes:
        number: its index, from 0.
        values: (h, w) the feature map.
        mean: mean of the feature map.
        weight: weight of the mean in the class score.
        contribution: mean · weight.
    """

    number: int
    values: NDArray[Any]
    mean: float
    weight: float
    contribution: float


@dataclass(frozen=True)
class Line:
    """A row below the channels: its name, its amount, and whether it is a total (bold)."""

    name: str
    amount: float
    strong: bool = False


def contributions(channels: Sequence[Channel], lines: Sequence[Line], unit: str = "") -> Html:
    """Returns an HTML table of the channels and the lines below them, with a bar for each contribution.

    Args:
        channels: in the order to show; all feature maps share one color scale.
        lines: the sum of the other channels, the bias, the sum of all.
        unit: unit of the contributions.

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
    head = ("feature map", "mean", "weight", f"contribution{f' ({unit})' if unit else ''}", "")
    return table(head, rows, "nv-pooling")


def _channel(channel: Channel, low: float, high: float, bound: float) -> Row:
    source = maps.data_uri(colors.colorize(channel.values, "inferno", low, high))
    image = Html(f'<img src="{source}" alt="map of channel {channel.number}"> {channel.number}')
    weight, amount = Html(f"× {number(channel.weight)}"), Html(f"= {signed(channel.contribution)}")
    return Row([image, channel.mean, weight, amount, _bar(channel.contribution, bound)])


def _line(line: Line) -> Row:
    cells: list[Content | Cell] = [Cell(line.name, columns=3), Html(signed(line.amount)), ""]
    return Row(cells, "nv-total" if line.strong else "")


def _bar(amount: float, bound: float) -> Html:
    """Returns a bar from the middle: positive amounts to the right in orange, negative ones to the left in blue."""
    width = 50 * abs(amount) / bound
    left, color = (50.0, style.AFTER) if amount >= 0 else (50 - width, style.OKABE_ITO[4])
    return Html(
        '<div class="nv-amount" aria-hidden="true">'
        f'<span style="left:{left:.2f}%;width:{width:.2f}%;background:{color}"></span></div>'
    )
