"""A map that takes long: how far it is, how long it still takes, what it shows so far, and a button that stops it."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from html import escape

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from normviz.figures import maps, style
from normviz.ui.explain import Explained, Question, explain

EVERY = 0.33  # seconds between two pictures of a map that is being made
SO_FAR, STOPPED = "map so far", "map stopped"  # what the visitor's session holds of it


def answer(asked: Question, opacity: float, colours: style.ColourMap) -> Explained:
    """The map of a question; one that takes long shows how far it is, and can be stopped.

    A map that was stopped is shown as far as it came, and says so.

    Args:
        asked: the question.
        opacity: of the map over the photo, while it is made.
        colours: of a map that is not signed.

    Raises:
        ValueError: what the method refuses, or a stop before there was anything to show.
    """
    if not asked.method.slow:
        return explain(asked, lambda share: None)
    identity = (*(photo.identity for photo in asked.photos), *asked.key)
    if st.session_state.get(STOPPED) == identity:
        return _as_far_as_it_came(asked, identity)
    for name in (SO_FAR, STOPPED):
        st.session_state.pop(name, None)
    stage = _Stage(asked, identity, opacity, colours)
    seen = explain(asked, stage.show, stage.keep)
    stage.place.empty()
    return seen


class _Stage:
    """The place where a map is shown while it is made: nothing at first, so that a quick answer does not flicker."""

    def __init__(
        self, asked: Question, identity: tuple[Hashable, ...], opacity: float, colours: style.ColourMap
    ) -> None:
        self.place = st.empty()
        self._asked, self._identity, self._look = asked, identity, (opacity, colours)
        self._began, self._drawn = time.monotonic(), 0.0
        self._latest: NDArray[np.float32] | None = None

    def keep(self, heatmap: NDArray[np.float32]) -> None:
        """Take the map so far; called in a worker's thread."""
        self._latest = heatmap

    def show(self, share: float) -> None:
        """Draw the bar and the map so far, about three times a second."""
        if time.monotonic() - self._drawn < EVERY:
            return
        if not self._drawn:
            with self.place.container():
                self._bar = st.empty()
                st.button("Stop", key="stop-map", on_click=self._stop, help="Keeps what is there so far.")
                self._picture = st.empty()
        self._drawn = time.monotonic()
        latest = self._latest
        if latest is not None:
            st.session_state[SO_FAR] = (self._identity, share, latest)
            self._picture.html(_picture(self._asked, latest, share, *self._look))
        self._bar.progress(share, f"{self._asked.method.title}: {_left(share, time.monotonic() - self._began)}")

    def _stop(self) -> None:
        st.session_state[STOPPED] = self._identity


def _as_far_as_it_came(asked: Question, identity: tuple[Hashable, ...]) -> Explained:
    st.button("Go on to the end", key="go-on", on_click=lambda: st.session_state.pop(STOPPED, None))
    kept = st.session_state.get(SO_FAR)
    if kept is None or kept[0] != identity:
        raise ValueError(f"{asked.method.title} was stopped before there was a map: let it go on to the end")
    _, share, raw = kept
    drawn = raw if raw.ndim == 2 else raw.sum(axis=0)  # (h, w)
    cell = divmod(int(drawn.argmax()), drawn.shape[1])
    return Explained(raw, None, f"Stopped at {share:.0%}: this is an approximation of the finished map.", cell)


def _left(share: float, passed: float) -> str:
    """How far it is and how long it still takes."""
    if share == 0:
        return "waiting for a free core"
    return f"{share:.0%}, about {math.ceil(passed * (1 - share) / share)} s left. Any change stops it."


def _picture(asked: Question, raw: NDArray[np.float32], share: float, opacity: float, colours: style.ColourMap) -> str:
    """The map so far over the photo."""
    drawn = raw if raw.ndim == 2 else raw.sum(axis=0)  # (h, w)
    lit = maps.blend(asked.pixels, drawn, opacity, colours, bool((drawn < 0).any()))
    text = f"{asked.method.title} of {asked.name} after {share:.0%}: an approximation, which gets better"
    return (
        f'<figure style="margin:0;max-width:30rem"><img src="{maps.data_uri(lit)}" alt="{escape(text)}" '
        f'style="width:100%;border-radius:6px"><figcaption>{escape(text)}</figcaption></figure>'
    )
