"""The layout of every page: style, header, columns, sidebar, and messages, including those of errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TypeVarTuple

import streamlit as st

from normviz.device import describe
from normviz.html import picture
from normviz.paths import ASSETS
from normviz.ui.kit import page_registry
from normviz.ui.kit.jobs import Stopped

Choices = TypeVarTuple("Choices")
STYLE = ASSETS / "style.css"


def configure() -> None:
    """Set the title of the browser tab and the style; called once per run, before anything else is drawn."""
    st.set_page_config(page_title="NormViz", page_icon="🔬", layout="wide")
    st.html(STYLE)


def header(name: str) -> None:
    """Draw the title and the question of a page, from the list of pages."""
    page = page_registry.page(name)
    title = escape(page.heading or page.title)
    st.html(f'<header class="nv-page"><h1>{title}</h1><p>{escape(page.question)}</p></header>')


def columns() -> tuple[st.delta_generator.DeltaGenerator, st.delta_generator.DeltaGenerator]:
    """The two columns of a page: the widgets on the left, the result on the right."""
    with st.container(key="nv-split"):
        left, right = st.columns([1, 3], gap="medium")
    return left, right


@st.fragment
def two_columns(choose: Callable[[], tuple[*Choices]], show: Callable[[*Choices], object]) -> None:
    """Draw a page that is run again at every change: its widgets on the left, its result on the right.

    Args:
        choose: draws the widgets and returns the arguments of `show`.
        show: draws the result.
    """
    left, right = columns()
    with left, guard():
        choices = choose()
        with right, guard():
            show(*choices)


def how_to_read(text: str) -> None:
    """Draw the collapsed explanation at the end of a page, in Markdown."""
    with st.expander("How to read this"):
        st.markdown(text)


def sidebar() -> None:
    """Draw the part of the sidebar that all pages share: the device."""
    with st.sidebar:
        st.html(f'<footer class="nv-device"><b>Computed on</b><br>{escape(describe())}</footer>')


def sentence(text: str, kind: str = "error") -> None:
    """Draw one sentence in a box.

    Args:
        text: the sentence.
        kind: "error" (invalid input), "sorry" (a bug in NormViz), "hint" or "good".
    """
    role = "alert" if kind in ("error", "sorry") else "status"
    st.html(f'<p class="nv-sentence nv-{escape(kind)}" role="{role}">{escape(text)}</p>')


def figure(source: str, caption: str, alt: str = "", crisp: bool = False) -> None:
    """Draw a picture as wide as its column, with a caption.

    Args:
        source: its URL or data URI.
        caption: the caption.
        alt: the alternative text for screen readers; empty: the caption.
        crisp: whether pixels stay sharp when the picture is enlarged.
    """
    st.html(picture.figure(source, caption, alt or None, pixelated=crisp))


@contextmanager
def guard() -> Iterator[None]:
    """Turn an exception into one sentence on the page; the rest of the page and its settings stay.

    The message of a ValueError is shown. Any other exception is a bug: the page tells the visitor what to do, and the
    traceback is written to stderr without the message, which may quote the visitor's data.
    """
    try:
        yield
    except Stopped as stopped:
        sentence(str(stopped), "hint")
    except ValueError as error:
        text = str(error).strip() or "this combination is not possible"
        sentence(text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else "."))
    except Exception as error:  # noqa: BLE001 - the last handler of a page; it is logged and shown
        apologize(error)


def apologize(error: Exception) -> bool:
    """Log the traceback of an unexpected error and tell the visitor what to do; True: Streamlit shows nothing more."""
    where = "".join(traceback.format_tb(error.__traceback__))
    print(f"unexpected {type(error).__name__}\n{where}", file=sys.stderr)  # not the message: it may quote the data
    sentence(
        "Sorry, this went wrong inside NormViz. Your settings are kept: change one of them or reload the page; "
        "if it happens again, copy the page's address into a report.",
        "sorry",
    )
    return True
