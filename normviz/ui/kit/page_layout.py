"""The frame round every page: its style, its first line, its sidebar, and its manners when something fails."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TypeVarTuple

import streamlit as st

from normviz.device import describe
from normviz.paths import ASSETS
from normviz.ui.kit import page_registry
from normviz.ui.kit.jobs import Stopped

Choices = TypeVarTuple("Choices")
STYLE = ASSETS / "style.css"


def configure() -> None:
    """Set the browser tab and the style; once a run, before anything else is drawn."""
    st.set_page_config(page_title="NormViz", page_icon="🔬", layout="wide")
    st.html(STYLE)


def header(name: str) -> None:
    """Draw a page's title and its question, as the list of pages has them."""
    entry = page_registry.page(name)
    st.html(f'<header class="nv-page"><h1>{escape(entry.title)}</h1><p>{escape(entry.question)}</p></header>')


def columns() -> tuple[st.delta_generator.DeltaGenerator, st.delta_generator.DeltaGenerator]:
    """The two parts of a working page: the knobs, and the stage where the pictures stand."""
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
    """The folded explanation at a page's end, in Markdown."""
    with st.expander("How to read this"):
        st.markdown(text)


def sidebar() -> None:
    """The part of the sidebar that is the same on every page: where it computes."""
    with st.sidebar:
        st.html(f'<footer class="nv-device"><b>Computed on</b><br>{escape(describe())}</footer>')


def sentence(text: str, kind: str = "error") -> None:
    """One sentence in a box.

    `kind` is error (a rule forbids it), sorry (a defect), hint (something should be known) or good.
    """
    role = "alert" if kind in ("error", "sorry") else "status"
    st.html(f'<p class="nv-sentence nv-{escape(kind)}" role="{role}">{escape(text)}</p>')


def figure(source: str, caption: str, alt: str = "", crisp: bool = False) -> None:
    """A picture as wide as its column, with a line below it.

    Args:
        source: its address, or the picture itself as a data URI.
        caption: the line.
        alt: what it shows, for those who cannot see it; without it, the line.
        crisp: whether its pixels stay squares when it is enlarged.
    """
    sharp = ";image-rendering:pixelated" if crisp else ""
    st.html(
        f'<figure style="margin:0"><img src="{source}" alt="{escape(alt or caption)}" '
        f'style="width:100%;border-radius:6px{sharp}">'
        f'<figcaption style="padding-top:.3rem">{escape(caption)}</figcaption></figure>'
    )


@contextmanager
def guard() -> Iterator[None]:
    """Turn a failure inside into one sentence on the page; the page and its settings stay as they are.

    A ValueError states a rule, so it is shown. Anything else is a defect: the visitor reads what to do,
    the place of it goes to stderr without the data it happened on.
    """
    try:
        yield
    except Stopped as stopped:
        sentence(str(stopped), "hint")
    except ValueError as error:
        text = str(error).strip() or "this combination is not possible"
        sentence(text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else "."))
    except Exception as error:  # noqa: BLE001 - the last net under a page; its place is logged, nothing is swallowed
        apologize(error)


def apologize(error: Exception) -> bool:
    """Log where an unexpected error arose and say what to do; True tells Streamlit that it has been shown."""
    where = "".join(traceback.format_tb(error.__traceback__))
    print(f"unexpected {type(error).__name__}\n{where}", file=sys.stderr)  # not the message: it may quote the data
    sentence(
        "Sorry, this went wrong inside NormViz. Your settings are kept: change one of them or reload the page; "
        "if it happens again, copy the page's address into a report.",
        "sorry",
    )
    return True
