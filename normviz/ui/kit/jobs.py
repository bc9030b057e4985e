"""Computation in worker threads, and slow work with progress, remaining time, preview and a Stop button.

`compute` runs something short. `run` is the usual way for slow work. It shows a bar with the remaining time and a Stop
button, stores the result as `cache.keep` does, and computes a shared result once for all visitors who wait for it. When
a visitor changes a widget, the script stops waiting; when nobody waits any more, the work is abandoned. `Bar` and
`keep` are the two halves of `run`, for pages that show one bar for several results.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from normviz.device import cores
from normviz.ui.kit import cache

T = TypeVar("T")
P = TypeVar("P")
POLL = 0.15  # seconds between two checks of running work
REDRAW = 0.3  # seconds between two updates of the bar
NICENESS = 10  # of the threads for slow work
IDLE = "waiting for a free core"


def _lower_priority() -> None:
    """Give way to threads of short work: on Linux each thread has a niceness of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


# One thread per core, and always the same threads: thirty visitors at once neither thrash nor fill memory, and the
# threads that PyTorch starts for each of them are reused. Slow work has its own threads, so that short work never
# queues behind it.
_WORKERS = ThreadPoolExecutor(cores(), thread_name_prefix="normviz")
_SLOW_WORKERS = ThreadPoolExecutor(cores(), thread_name_prefix="normviz-slow", initializer=_lower_priority)


class Stopped(Exception):
    """The visitor stopped the work, and there is nothing to show."""


class Job(Generic[T]):
    """Slow work in a worker thread, for all visitors who wait for it; abandoned when the last of them leaves.

    The work receives the job. It calls `progress` often, and `preview` when it has something to show.

    Attributes:
        share: the finished share, 0 to 1.
        latest: the latest preview, or None.
    """

    def __init__(self, work: Callable[[Job[T]], T]) -> None:
        self.share = 0.0
        self.latest: Any = None
        self._waiting, self._abandoned = 0, False
        self._lock = threading.Lock()  # guards the two above
        self._future = _SLOW_WORKERS.submit(work, self)

    def progress(self, share: float) -> None:
        """Report the finished share, 0 to 1; called by the work.

        Raises:
            Abandoned: nobody waits for the result any more.
        """
        self.share = share
        if self._abandoned:
            raise cache.Abandoned

    def preview(self, value: object) -> None:
        """Report an intermediate result; called by the work."""
        self.latest = value

    @property
    def over(self) -> bool:
        """Whether it has finished, failed or been abandoned."""
        return self._abandoned or self._future.done()

    def join(self) -> bool:
        """Start to wait for it; False if it has been abandoned already."""
        with self._lock:
            self._waiting += 1
            return not self._abandoned

    def result(self, watch: Callable[[Job[Any]], object]) -> T:
        """Wait for the result; meanwhile call `watch` in the visitor's own thread."""
        try:
            while not wait([self._future], timeout=POLL).done:
                give_way()
                watch(self)
        except BaseException:  # Streamlit ends a script run with an exception of its own
            self._leave()
            raise
        return self._future.result()

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting == 0:
                self._abandoned = True
                self._future.cancel()  # if it has not begun


Watch = Callable[[Job[Any]], object]
_RUNNING: dict[tuple[cache.Store, Hashable], Job[Any]] = {}
_RUNNING_LOCK = threading.Lock()


def compute(make: Callable[[], T]) -> T:
    """Run short work in a worker thread and wait for its result."""
    return _WORKERS.submit(make).result()


def give_way() -> None:
    """End this script run if the visitor has changed something; for a fragment, Streamlit would finish it first."""
    context = get_script_run_ctx(suppress_warning=True)
    requests = context.script_requests if context else None
    if requests is not None and requests._state == ScriptRequestType.RERUN:
        raise StopException  # not st.stop(), which would drop the visitor's change


def keep(name: str, key: Hashable, work: Callable[[Job[T]], T], watch: Watch, inputs: Iterable[cache.Input] = ()) -> T:
    """The result of slow work, stored as by `cache.keep`, without a bar of its own.

    Args:
        name: of the result; a session holds one result per name.
        key: everything else that the result follows from.
        work: computes it; receives its job.
        watch: called with the job from time to time, in the visitor's own thread.
        inputs: the photos, tables or activations that it is computed from.
    """
    inputs = tuple(inputs)
    return keep_in(cache.store(name, inputs), cache.full_key(name, key, inputs), work, watch)


def keep_in(store: cache.Store, key: tuple[Hashable, ...], work: Callable[[Job[T]], T], watch: Watch) -> T:
    """The result of slow work, kept in a given store; all who wait for it share one job."""
    with _RUNNING_LOCK:
        stored, job = key in store, cast("Job[T] | None", _RUNNING.get((store, key)))
        if not stored and (job is None or not job.join()):
            job = _RUNNING[store, key] = Job(work)
            job.join()
    if stored or job is None:
        return store.get(key, lambda: _alone(work, watch))
    try:
        value = job.result(watch)
        return store.get(key, lambda: value)
    finally:
        with _RUNNING_LOCK:
            if job.over and _RUNNING.get((store, key)) is job:
                del _RUNNING[store, key]


def _alone(work: Callable[[Job[T]], T], watch: Watch) -> T:
    """The result of a job that nobody else waits for."""
    job = Job(work)
    job.join()
    return job.result(watch)


@dataclass(frozen=True)
class Preview(Generic[P, T]):
    """How intermediate results of a job are shown, and what a stop makes of the last one.

    Attributes:
        html: draws an intermediate result; receives the finished share, too.
        result: turns the intermediate result at a stop into a result; None: a stop discards it.
        missing: what the visitor reads if there was no intermediate result yet at the stop.
        place: where it is drawn; None: below the bar, until the work is finished.
    """

    html: Callable[[P, float], str]
    result: Callable[[P, float], T] | None = None
    missing: str = "this was stopped before there was anything to show"
    place: DeltaGenerator | None = None


class Bar:
    """A progress bar with the remaining time and a Stop button.

    It is invisible at first, so that quick results do not flicker. As a context manager, it disappears at the end of
    the block.
    """

    def __init__(self, name: str, on_stop: Callable[[], None], hint: str | None = None) -> None:
        """Reserve its place on the page.

        Args:
            name: names the button.
            on_stop: called when the visitor presses Stop, before the script runs again.
            hint: the tooltip of the button.
        """
        self._place, self._name, self._on_stop, self._hint = st.empty(), name, on_stop, hint
        self._began, self._drawn, self._label = time.monotonic(), 0.0, ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):  # otherwise the script is being stopped
            self._place.empty()

    def show(self, label: str, share: float) -> bool:
        """Draw the label and the finished share, at most about three times a second; each label has its own clock.

        Returns:
            Whether it was drawn this time.
        """
        now = time.monotonic()
        if label != self._label:
            self._label, self._began = label, now
        if now - self._drawn < REDRAW:
            return False
        if not self._drawn:
            with self._place.container():
                self._bar = st.empty()
                st.button("Stop", key=f"stop-{self._name}", on_click=self._on_stop, help=self._hint)
        self._drawn = now
        left = time_left(share, now - self._began) if share else IDLE
        self._bar.progress(min(share, 1.0), f"{label}: {left}")
        return True

    def watch(self, label: str, part: int = 0, parts: int = 1) -> Watch:
        """A function that draws a job, which is one of several equal parts of what the bar shows."""
        return lambda job: self.show(label, (part + job.share) / parts)


def run(
    name: str,
    key: Hashable,
    work: Callable[[Job[T]], T],
    label: str,
    *,
    inputs: Iterable[cache.Input] = (),
    on_stop: Callable[[], None] | None = None,
    preview: Preview[Any, T] | None = None,
) -> T:
    """The result of slow work; while it runs, a bar with the remaining time, a Stop button and a preview are shown.

    After a stop, a button offers to go on, and the last preview is the result if there is one.

    Args:
        name: of the result and of the button; a session holds one result per name.
        key: everything else that the result follows from.
        work: computes it; receives its job.
        label: what is being computed.
        inputs: the photos, tables or activations that it is computed from.
        on_stop: called when the visitor presses Stop, in place of the button to go on.
        preview: how intermediate results are shown.

    Raises:
        Stopped: the visitor stopped the work, and no preview becomes its result.
        ValueError: what the work raises, or a stop before the first preview.
    """
    inputs = tuple(inputs)
    identity = cache.full_key(name, key, inputs)
    stopped, latest = f"{name} stopped", f"{name} so far"

    def stop() -> None:
        st.session_state[stopped] = identity

    if st.session_state.get(stopped) == identity:
        return _stopped(stopped, st.session_state.get(latest), identity, preview)
    for state in (stopped, latest):
        st.session_state.pop(state, None)
    hint = "Keeps what is there so far." if preview and preview.result else None
    with Bar(name, on_stop or stop, hint) as bar:
        place = (preview.place or st.empty()) if preview else None

        def watch(job: Job[Any]) -> None:
            value, share = job.latest, job.share
            if bar.show(label, share) and preview is not None and place is not None and value is not None:
                st.session_state[latest] = (identity, value, share)
                place.html(preview.html(value, share))

        result = keep(name, key, work, watch, inputs)
    if place is not None and preview is not None and preview.place is None:
        place.empty()
    return result


def _stopped(
    state: str, latest: tuple[Hashable, Any, float] | None, identity: Hashable, preview: Preview[Any, T] | None
) -> T:
    """The result of stopped work: its last preview, below a button to go on."""
    useful = preview is not None and preview.result is not None
    label = "Go on to the end" if useful else "Go on"
    st.button(label, key="go-on", on_click=lambda: st.session_state.pop(state, None))
    if preview is None or preview.result is None:
        raise Stopped("Stopped: change something, or go on.")
    if latest is None or latest[0] != identity:
        raise ValueError(f"{preview.missing}: let it go on to the end")
    return preview.result(latest[1], latest[2])


def time_left(share: float, passed: float) -> str:
    """The finished share, above 0 to 1, and the remaining time if `passed` seconds have led to it."""
    return f"{share:.0%}, about {math.ceil(passed * (1 - share) / share)} s left. Any change stops it."
