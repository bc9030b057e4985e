"""What stands on a page while something takes long: its name, a bar, how long it still takes, a button to stop it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import streamlit as st

EVERY = 0.3  # seconds between two pictures of the bar


class Waiting:
    """A place on the page; empty at first, so that a quick answer does not flicker."""

    def __init__(self, key: str, stop: Callable[[], None]) -> None:
        """Take the place.

        Args:
            key: of the button.
            stop: called when it is pressed, before the script runs again.
        """
        self._place, self._key, self._stop = st.empty(), key, stop
        self._began, self._drawn, self._name = time.monotonic(), 0.0, ""

    def show(self, name: str, share: float) -> None:
        """Say what is being made and how far it is, 0 to 1; each new name starts the clock anew."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._began = name, now
        if now - self._drawn < EVERY:
            return
        if not self._drawn:
            with self._place.container():
                self._bar = st.empty()
                st.button("Stop", key=self._key, on_click=self._stop)
        self._drawn = now
        seconds = math.ceil((now - self._began) * (1 - share) / share) if share else 0
        left = f"{share:.0%}, about {seconds} s left. Any change stops it." if share else "waiting for a free core"
        self._bar.progress(min(share, 1.0), f"{name}: {left}")

    def done(self) -> None:
        """Clear the place."""
        self._place.empty()
