"""The knobs of a method as widgets: everything about them comes from the function's signature."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from normviz.registry import Knob, Method, Range, Value
from normviz.ui.kit import url_widgets


def knobs(
    method: Method,
    prefix: str = "",
    offer: Mapping[str, Sequence[Value]] | None = None,
    hide: Collection[str] = (),
) -> dict[str, Value]:
    """Draw a widget for every knob of a method and return the values by name.

    Args:
        method: the registered method.
        prefix: put before a knob's name to make the widget's key, which is its parameter in the link.
        hide: knobs that say nothing here: they are not drawn and keep their defaults.
        offer: per knob the only values to offer, where the data restricts them (divisors of C, say).

    Returns:
        The settings, ready for `method.function(x, **settings)`.
    """
    return {
        knob.name: knob.default
        if knob.name in hide
        else _widget(knob, prefix + knob.name, (offer or {}).get(knob.name))
        for knob in method.knobs
    }


def label(knob: Knob) -> str:
    """The knob's name in words and its symbol, as Markdown."""
    words = knob.name.replace("_", " ").capitalize()
    return f"{words} ${knob.symbol}$" if knob.range else words


def scale(bounds: Range, default: float, whole: bool) -> list[float]:
    """The stops of a logarithmic slider: powers of two for whole numbers, else decades, or 1-2-5 over few decades."""
    if whole:
        stops = {2**k for k in range(math.ceil(math.log2(bounds.low)), math.floor(math.log2(bounds.high)) + 1)}
        return sorted({*map(float, stops), default, bounds.low, bounds.high})
    first, last = math.floor(math.log10(bounds.low)), math.ceil(math.log10(bounds.high))
    digits = (1,) if last - first > 4 else (1, 2, 5)
    every = {float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits}
    return sorted({stop for stop in every if bounds.low <= stop <= bounds.high} | {default, bounds.low, bounds.high})


def short(value: Value) -> str:
    """A value as it stands on a slider and in a link: 8, 0.5, 1e-5."""
    if isinstance(value, bool | str):
        return str(value)
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits
    return f"{value:g}"


def _widget(knob: Knob, key: str, offered: Sequence[Value] | None) -> Value:
    """One knob's widget."""
    if offered is not None:
        nearest = knob.default if knob.default in offered else offered[-1]
        return url_widgets.steps(label(knob), offered, nearest, key, text=short, help=knob.help)
    if knob.type is bool:
        return url_widgets.toggle(label(knob), bool(knob.default), key, help=knob.help)
    if knob.choices:
        draw = url_widgets.segments if len(knob.choices) <= 4 else url_widgets.select
        return draw(label(knob), knob.choices, str(knob.default), key, help=knob.help)
    assert knob.range is not None  # register() gives every number knob a range
    low, high, default = float(knob.range.low), float(knob.range.high), float(knob.default)
    if knob.range.log:
        stops = scale(knob.range, default, whole=knob.type is int)
        return knob.parse(short(url_widgets.steps(label(knob), stops, default, key, text=short, help=knob.help)))
    if knob.type is int:
        return url_widgets.slider(label(knob), int(low), int(high), int(default), key, help=knob.help)
    return url_widgets.slider(
        label(knob), low, high, default, key, step=_step(low, high), help=knob.help, format="%.4g"
    )


def _step(low: float, high: float) -> float:
    """About a hundred steps from `low` to `high`, each 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / 100))
    return next(digit * power for digit in (1, 2, 5, 10) if (high - low) / (digit * power) <= 101)
