"""Widgets with their values in the page's URL, so that a copied link restores the page.

The key of a widget is the name of its URL parameter. Default values are left out of the URL. A value in a link that
the widget does not offer is ignored, and a caption below the widget reports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def slider(
    label: str,
    low: Number,
    high: Number,
    default: Number,
    key: str,
    *,
    step: Number | None = None,
    help: str | None = None,
    format: str | None = None,
) -> Number:
    """A slider from `low` to `high`; all of `low`, `high`, `default`, `step` are int, or all are float."""
    return _linked(
        key,
        lambda: st.slider(
            label, low, high, default, step=step, key=key, help=help, format=format, bind="query-params"
        ),
    )  # fmt: skip


def steps(
    label: str,
    options: Sequence[T],
    default: T,
    key: str,
    *,
    text: Callable[[T], str] = str,
    help: str | None = None,
) -> T:
    """A slider over a few given values, shown and linked as `text(value)`."""
    return _linked(
        key,
        lambda: st.select_slider(
            label, options, value=default, format_func=text, key=key, help=help, bind="query-params"
        ),
        text,
    )  # fmt: skip


def select(
    label: str,
    options: Sequence[T],
    default: T,
    key: str,
    *,
    text: Callable[[T], str] = str,
    help: str | None = None,
) -> T:
    """A select box for one value, shown and linked as `text(value)`."""
    index = list(options).index(default)
    return _linked(
        key,
        lambda: st.selectbox(
            label, options, index=index, format_func=text, key=key, help=help, bind="query-params"
        ),
        text,
    )  # fmt: skip


def segments(
    label: str,
    options: Sequence[T],
    default: T,
    key: str,
    *,
    text: Callable[[T], str] = str,
    help: str | None = None,
) -> T:
    """A segmented control of two to five values with exactly one selected, shown and linked as `text(value)`."""
    return _linked(
        key,
        lambda: st.segmented_control(
            label, options, default=default, required=True, format_func=text, key=key, help=help, bind="query-params"
        ),
        text,
    )  # fmt: skip


def several(label: str, options: Sequence[str], key: str, empty: str, *, help: str | None = None) -> list[str]:
    """A multi-select of names; no selection means all, and the placeholder `empty` says so."""
    return st.multiselect(label, options, key=key, placeholder=empty, help=help, bind="query-params") or list(options)


def toggle(label: str, default: bool, key: str, *, help: str | None = None) -> bool:
    """A switch."""
    return _linked(key, lambda: st.toggle(label, default, key=key, help=help, bind="query-params"))


def number(label: str, low: int, high: int, default: int, key: str, *, help: str | None = None) -> int:
    """A field for an integer from `low` to `high`."""
    ends = (float(low), float(high), float(default))  # a whole-number field fails on a link that asks for infinity

    def draw() -> int:
        value = st.number_input(label, *ends, step=1.0, format="%.0f", key=key, help=help, bind="query-params")
        return round(value) if math.isfinite(value) else default

    return _linked(key, draw)


def text_field(
    label: str, default: str, key: str, *, help: str | None = None, limit: int = 200, live: bool = False
) -> str:
    """A field for at most `limit` characters; with `live` the page reruns at every keystroke."""
    return _linked(
        key, lambda: st.text_input(label, default, limit, key=key, help=help, bind="query-params", live=live)
    )  # fmt: skip


def _linked(key: str, draw: Callable[[], T], text: Callable[[T], str] = str) -> T:
    """Draw a widget and return its value, with a caption if the link requested another value."""
    linked = None if key in st.session_state else st.query_params.get(key)
    value = draw()
    if linked is not None and not _same(linked, text(value)):
        st.caption(f"The link asks for {key} = {linked[:40]!r}, which is not offered here; {text(value)} is shown.")
    return value


def _same(linked: str, shown: str) -> bool:
    """Whether two texts denote the same value, such as 8 and 8.0, or TRUE and True."""
    try:
        return float(linked) == float(shown)
    except ValueError:
        return linked.strip().lower() == shown.strip().lower()
