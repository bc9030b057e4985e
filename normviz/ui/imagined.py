"""The picture that a network would call a class the most: searched for while it is watched, and kept for all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from html import escape

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from normviz.attribution import ClassModel, class_model
from normviz.figures import maps
from normviz.models.catalogue import Classifier
from normviz.ui import cache

EVERY = 0.33  # seconds between two pictures of a search
SO_FAR, STOPPED = "class model so far", "class model stopped"  # what the visitor's session holds of it


@dataclass(frozen=True)
class Wish:
    """Whose picture is searched for, and how.

    Attributes:
        classifier: the network.
        targets: the classes, a picture for each.
        decay: lambda.
        rate: of the ascent.
        steps: of the ascent.
        jitter: pixels by which the picture is moved.
        blur: pixels by which it is blurred.
        starts: pictures for each class.
        seed: of the noise and the moves.
    """

    classifier: Classifier
    targets: tuple[int, ...]
    decay: float
    rate: float
    steps: int
    jitter: int = 0
    blur: float = 0.0
    starts: int = 1
    seed: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What the pictures follow from."""
        network = (self.classifier.name, self.classifier.size, self.targets)
        return (*network, self.decay, self.rate, self.steps, self.jitter, self.blur, self.starts, self.seed)

    @property
    def names(self) -> list[str]:
        """What each picture is called."""
        names = [self.classifier.classes[target] for target in self.targets]
        return [f"{name}, start {k + 1}" if self.starts > 1 else name for name in names for k in range(self.starts)]


@dataclass(frozen=True)
class Found:
    """The pictures, and how they came about.

    Attributes:
        pixels: uint8 (S, H, W, 3).
        scores: (steps + 1, S) logits, at the start and after each step; fewer where the search was stopped.
        norms: the squares of the pictures' norms, likewise.
        shares: (S,) the network's probability of the class in each picture; none where the search was stopped.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    norms: NDArray[np.float32]
    shares: NDArray[np.float32] | None = None


def search(wish: Wish) -> Found:
    """The pictures of a wish; while they are searched for they are shown, and the search can be stopped.

    A search that was stopped gives the pictures as far as they came.

    Raises:
        ValueError: what `class_model` refuses, or a stop before the first step.
    """
    if st.session_state.get(STOPPED) == wish.key:
        st.button("Go on to the end", key="go-on", on_click=lambda: st.session_state.pop(STOPPED, None))
        kept = st.session_state.get(SO_FAR)
        if kept is None or kept[0] != wish.key:
            raise ValueError("the search was stopped before its first step: let it go on to the end")
        found: Found = kept[1]
        return found
    for name in (SO_FAR, STOPPED):
        st.session_state.pop(name, None)
    stage = _Stage(wish)
    found = cache.memo(("class model", *wish.key), lambda: cache.compute_slowly(stage.run, stage.show))
    stage.place.empty()
    return found


def pictures(wish: Wish, found: Found) -> str:
    """The pictures side by side with what the network says of them, as HTML."""
    figures = []
    for index, name in enumerate(wish.names):
        text = f"{name}: logit {found.scores[-1, index]:.1f}"
        if found.shares is not None:
            text += f", probability {100 * found.shares[index]:.3g} %"
        figures.append(
            f'<figure style="flex:1 1 220px;max-width:28rem;margin:0"><img alt="{escape(text)}" '
            f'src="{maps.data_uri(found.pixels[index], 95)}" style="width:100%;display:block;border-radius:6px">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{"".join(figures)}</div>'


class _Stage:
    """The place where the pictures are shown while they are searched for; a quick answer leaves it empty."""

    def __init__(self, wish: Wish) -> None:
        self.place = st.empty()
        self._wish, self._began, self._drawn = wish, time.monotonic(), 0.0
        self._latest: ClassModel | None = None  # replaced as a whole by the worker's thread

    def run(self, advance: Callable[[float], None]) -> Found:
        """Search; called in a worker's thread."""
        wish, classifier = self._wish, self._wish.classifier
        targets = torch.tensor(wish.targets)  # (T,)

        def keep(latest: ClassModel) -> None:
            self._latest = latest

        found = class_model(
            classifier.model, targets, classifier.size, classifier.mean, classifier.std, decay=wish.decay,
            rate=wish.rate, steps=wish.steps, jitter=wish.jitter, blur=wish.blur, starts=wish.starts, seed=wish.seed,
            progress=advance, preview=keep,
        )  # fmt: skip
        with torch.inference_mode():
            output = classifier.model(found.images)
            logits = getattr(output, "logits", output).float().cpu()  # (S, classes)
        own = targets.repeat_interleave(wish.starts)[:, None]  # (S, 1)
        return _found(found, logits.softmax(dim=1).gather(1, own)[:, 0].numpy())

    def show(self, share: float) -> None:
        """Draw the bar and the pictures so far, about three times a second."""
        if time.monotonic() - self._drawn < EVERY:
            return
        if not self._drawn:
            with self.place.container():
                self._bar = st.empty()
                st.button("Stop", key="stop-search", on_click=self._stop, help="Keeps the picture as it is now.")
                self._picture = st.empty()
        self._drawn = time.monotonic()
        latest = self._latest
        if latest is not None:
            found = _found(latest)
            st.session_state[SO_FAR] = (self._wish.key, found)
            self._picture.html(pictures(self._wish, found))
        passed = self._drawn - self._began
        left = f"{share:.0%}, about {math.ceil(passed * (1 - share) / share)} s left" if share else "waiting for a core"
        self._bar.progress(share, f"Climbing: {left}. Any change stops it.")

    def _stop(self) -> None:
        st.session_state[STOPPED] = self._wish.key


def _found(model: ClassModel, shares: NDArray[np.float32] | None = None) -> Found:
    levels = (model.pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()  # (S, H, W, 3)
    return Found(levels, model.scores.float().cpu().numpy(), model.norms.float().cpu().numpy(), shares)
