"""Widgets for the knobs of a method, created from the parameters of its function."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import streamlit as st

from normviz.registry import Knob, Method, Range, Value
from normviz.ui.kit import url_widgets

MODES = {True: "train()", False: "eval()"}  # the knob `training`, as in PyTorch


def knobs(
    method: Method,
    prefix: str = "",
    offer: Mapping[str, Sequence[Value]] | None = None,
    hide: Collection[str] = (),
) -> dict[str, Value]:
    """Draw a widget for each knob of a method and return the values by name.

    Args:
        method: the registered method.
        prefix: prefix of the widget keys, which are also the parameters in the link.
        offer: allowed values per knob, if the data restricts them (to divisors of C, for example).
        hide: knobs without effect on this page; they are not drawn and keep their defaults.

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
    """The label of a knob as Markdown: its name and its symbol."""
    words = knob.name.replace("_", " ").capitalize()
    return f"{words} ${knob.symbol}$" if knob.range else words


def scale(bounds: Range, default: float, whole: bool) -> list[float]:
    """The stops of a log slider: powers of 2 for integers, else powers of 10, or 1-2-5 steps on a short range."""
    if whole:
        stops = {2**k for k in range(math.ceil(math.log2(bounds.low)), math.floor(math.log2(bounds.high)) + 1)}
        return sorted({*map(float, stops), default, bounds.low, bounds.high})
    first, last = math.floor(math.log10(bounds.low)), math.ceil(math.log10(bounds.high))
    digits = (1,) if last - first > 4 else (1, 2, 5)
    every = {float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits}
    return sorted({stop for stop in every if bounds.low <= stop <= bounds.high} | {default, bounds.low, bounds.high})


def short(value: Value) -> str:
    """Format a value for sliders and links, as "8", "0.5" or "1e-5"."""
    if isinstance(value, bool | str):
        return str(value)
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits
    return f"{value:g}"


def _widget(knob: Knob, key: str, offered: Sequence[Value] | None) -> Value:
    """Draw the widget of one knob and return its value."""
    if offered is not None:
        nearest = knob.default if knob.default in offered else offered[-1]
        return url_widgets.steps(label(knob), offered, nearest, key, text=short, help=knob.help)
    if knob.name == "training":
        return _mode(bool(knob.default), key, knob.help)
    if knob.type is bool:
        return url_widgets.toggle(label(knob), bool(knob.default), key, help=knob.help)
    if knob.choices:
        draw = url_widgets.segments if len(knob.choices) <= 4 else url_widgets.select
        return draw(label(knob), knob.choices, str(knob.default), key, help=knob.help)
    assert knob.range is not None  # registration requires a range for numeric knobs
    low, high, default = float(knob.range.low), float(knob.range.high), float(knob.default)
    if knob.range.log:
        stops = scale(knob.range, default, whole=knob.type is int)
        return knob.parse(short(url_widgets.steps(label(knob), stops, default, key, text=short, help=knob.help)))
    if knob.type is int:
        return url_widgets.slider(label(knob), int(low), int(high), int(default), key, help=knob.help)
    return url_widgets.slider(
        label(knob), low, high, default, key, step=_step(low, high), help=knob.help, format="%.4g"
    )


def _mode(default: bool, key: str, help: str) -> bool:
    """Draw the choice between train() and eval(); a link may also give the value of the argument, as true or false."""
    linked = st.query_params.get(key, "").lower()
    if key not in st.session_state and linked in ("true", "false"):
        st.query_params[key] = MODES[linked == "true"]
        st.rerun()
    return url_widgets.segments("Mode", tuple(MODES), default, key, text=MODES.__getitem__, help=help)


def _step(low: float, high: float) -> float:
    """The step of a slider with about a hundred steps: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / 100))
    return next(digit * power for digit in (1, 2, 5, 10) if (high - low) / (digit * power) <= 101)
