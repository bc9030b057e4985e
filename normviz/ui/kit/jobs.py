"""What stands on a page while something takes long: its name, a bar, how long it still takes, a button to stop it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import streamlit as st

T = TypeVar("T")
EVERY = 0.3  # seconds between two pictures of the bar
IDLE = "waiting for a free core"


class Waiting:
    """A place on the page; empty at first, so that a quick answer does not flicker."""

    def __init__(self, key: str, stop: Callable[[], None], hint: str | None = None) -> None:
        """Take the place.

        Args:
            key: of the button.
            stop: called when it is pressed, before the script runs again.
            hint: what the button says of itself.
        """
        self._place, self._key, self._stop, self._hint = st.empty(), key, stop, hint
        self._began, self._drawn, self._name = time.monotonic(), 0.0, ""

    def show(self, name: str, share: float) -> bool:
        """Say what is being made and how far it is, 0 to 1, about three times a second; each name has its own clock.

        Returns:
            Whether it was said this time.
        """
        now = time.monotonic()
        if name != self._name:
            self._name, self._began = name, now
        if now - self._drawn < EVERY:
            return False
        if not self._drawn:
            with self._place.container():
                self._bar = st.empty()
                st.button("Stop", key=self._key, on_click=self._stop, help=self._hint)
        self._drawn = now
        left = time_left(share, now - self._began) if share else IDLE
        self._bar.progress(min(share, 1.0), f"{name}: {left}")
        return True

    def done(self) -> None:
        """Clear the place."""
        self._place.empty()


class Preview(Generic[T]):
    """A place for what gets better while it is made: it is seen below the bar as far as it is, and a stop keeps it."""

    def __init__(self, what: str, identity: Hashable, name: str, picture: Callable[[T, float], str], hint: str) -> None:
        """Take the place.

        Args:
            what: one word, after which the button and what the visitor's session holds are called.
            identity: tells one thing that is made from the next.
            name: of what is made, before the bar.
            picture: as far as it is, as HTML; takes the finished share, too.
            hint: what the button says of itself.
        """
        self._identity, self._name, self._picture = identity, name, picture
        self._so_far, self._stopped = f"{what} so far", f"{what} stopped"
        self._latest: T | None = None
        self._waiting, self._place = Waiting(f"stop-{what}", self._stop, hint), st.empty()

    def stopped(self) -> bool:
        """Whether the visitor has stopped it; if not, what was kept of something else is forgotten."""
        if st.session_state.get(self._stopped) == self._identity:
            return True
        for name in (self._so_far, self._stopped):
            st.session_state.pop(name, None)
        return False

    def so_far(self, nothing: str) -> tuple[T, float]:
        """What there was at the stop, and the finished share, below a button to go on.

        Raises:
            ValueError: there was nothing yet, in the words of `nothing`.
        """
        st.button("Go on to the end", key="go-on", on_click=lambda: st.session_state.pop(self._stopped, None))
        identity, latest, share = st.session_state.get(self._so_far, (None, None, 0.0))
        if identity != self._identity:
            raise ValueError(f"{nothing}: let it go on to the end")
        return latest, share

    def keep(self, latest: T) -> None:
        """Take what there is so far; called in a worker's thread."""
        self._latest = latest

    def show(self, share: float) -> None:
        """Draw the bar and what there is so far."""
        latest = self._latest
        if self._waiting.show(self._name, share) and latest is not None:
            st.session_state[self._so_far] = (self._identity, latest, share)
            self._place.html(self._picture(latest, share))

    def done(self) -> None:
        """Clear the place."""
        self._waiting.done()
        self._place.empty()

    def _stop(self) -> None:
        st.session_state[self._stopped] = self._identity


def time_left(share: float, passed: float) -> str:
    """How far it is, above 0 to 1, and how long it still takes when `passed` seconds have brought it there."""
    return f"{share:.0%}, about {math.ceil(passed * (1 - share) / share)} s left. Any change stops it."
