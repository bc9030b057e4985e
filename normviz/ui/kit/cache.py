"""What visitors share, bounded in bytes, and what stays in one visitor's session.

Shared values are read-only by agreement: generated activations, the classifier, results that follow
from knob values alone. Nothing that comes from an uploaded picture may enter: that lives in its
session and goes with it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from torch import Tensor

from normviz.activations import Distribution, generate
from normviz.device import cores, device

T = TypeVar("T")
MEGABYTE = 2**20
EVERY = 0.15  # seconds between two looks at work that takes long
YIELDING = 10  # the niceness of threads that do work that takes long


def _step_back() -> None:
    """Let the threads of short work go first: on Linux, each thread has a niceness of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), YIELDING)


# Work is done by as many threads as there are cores, and always the same ones: a class at once neither thrashes nor
# fills memory, and the threads that PyTorch starts for each of them, and their memory, are at hand the next time.
# Work that takes long has threads of its own, so that nobody's short work stands in line behind it.
_WORKERS = ThreadPoolExecutor(cores(), thread_name_prefix="normviz")
_SLOW_WORKERS = ThreadPoolExecutor(cores(), thread_name_prefix="normviz-slow", initializer=_step_back)


class Abandoned(BaseException):
    """The visitors for whom something was computed have turned to something else."""


class _Work(Generic[T]):
    """Work that takes long, done once for all who wait for it, and given up when the last of them has gone away."""

    def __init__(self, make: Callable[[Callable[[float], None]], T]) -> None:
        self._share, self._waiting, self._given_up = 0.0, 0, False
        self._lock = threading.Lock()  # guards those two counts
        self._future = _SLOW_WORKERS.submit(make, self._advance)

    @property
    def over(self) -> bool:
        """Whether it is finished, has failed or was given up."""
        return self._given_up or self._future.done()

    def join(self) -> bool:
        """Wait for it from now on; False where it was given up already."""
        with self._lock:
            self._waiting += 1
            return not self._given_up

    def result(self, show: Callable[[float], object]) -> T:
        """What it gives; `show` draws the finished share meanwhile, in the visitor's own thread."""
        try:
            while not wait([self._future], timeout=EVERY).done:
                _give_way()
                show(self._share)
        except BaseException:  # Streamlit ends a run in which something was changed with an exception of its own
            self._leave()
            raise
        return self._future.result()

    def _advance(self, finished: float) -> None:
        self._share = finished
        if self._given_up:
            raise Abandoned

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting == 0:
                self._given_up = True
                self._future.cancel()  # where it has not begun


def compute(make: Callable[[], T]) -> T:
    """Do heavy work in one of the process's workers, and wait for it."""
    return _WORKERS.submit(make).result()


def compute_slowly(make: Callable[[Callable[[float], None]], T], show: Callable[[float], object]) -> T:
    """Do work that takes long, show how far it is, and give it up when the visitor changes something.

    Args:
        make: does the work, calling its argument with the finished share, 0 to 1.
        show: draws that share, in the visitor's own thread.
    """
    work = _Work(make)
    work.join()
    return work.result(show)


def _give_way() -> None:
    """End this run if the visitor has changed something: Streamlit lets a run finish before that of a fragment."""
    context = get_script_run_ctx(suppress_warning=True)
    requests = context.script_requests if context else None
    if requests is not None and requests._state == ScriptRequestType.RERUN:
        raise StopException  # not st.stop(), which would drop what was asked for


class Shared:
    """Values by key for all threads: each made once, the longest unused dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._works: dict[Hashable, _Work[Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`; the first to ask makes it, others wait. A failure is raised to all and not kept.

        Where the first to ask has gone away, one of the others makes it.
        """
        with self._lock:
            future: Future[T] | None = self._entries.get(key)
            mine = future is None
            if future is None:
                future = self._entries[key] = Future()
            self._entries.move_to_end(key)
        if mine:
            try:
                value = make()
            except BaseException as error:
                with self._lock:
                    del self._entries[key]
                future.set_exception(error if isinstance(error, Exception) else Abandoned())
                raise
            future.set_result(value)
            self._keep(key, size(value))
        try:
            return future.result()
        except Abandoned:
            return self.get(key, make)

    def get_slowly(
        self, key: Hashable, make: Callable[[Callable[[float], None]], T], show: Callable[[float], object]
    ) -> T:
        """The value of `key` that takes long to make: all who wait for it see how far it is, and may go away.

        Args:
            key: names everything that the value follows from.
            make: does the work, calling its argument with the finished share, 0 to 1.
            show: draws that share, in the visitor's own thread.
        """
        with self._lock:
            there, work = key in self._entries, self._works.get(key)
            if not there and (work is None or not work.join()):
                work = self._works[key] = _Work(make)
                work.join()
        if there or work is None:
            return self.get(key, lambda: compute_slowly(make, show))
        try:
            value: T = work.result(show)
            return self.get(key, lambda: value)
        finally:
            with self._lock:
                if work.over and self._works.get(key) is work:
                    del self._works[key]

    def bytes(self) -> int:
        """How much the kept values weigh."""
        with self._lock:
            return sum(self._sizes.values())

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._entries

    def _keep(self, key: Hashable, weight: int) -> None:
        """Note the weight of a value, and drop the longest unused ones while all weigh too much."""
        with self._lock:
            self._sizes[key] = weight
            while sum(self._sizes.values()) > self.limit:
                oldest = next(old for old in self._entries if old in self._sizes)
                del self._entries[oldest], self._sizes[oldest]


def size(value: object) -> int:
    """The bytes of a value: of its tensors, arrays, texts, and of what containers and dataclasses hold."""
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(size, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return sum(map(size, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(size(getattr(value, field.name)) for field in dataclasses.fields(value))
    return sys.getsizeof(value)


_ACTIVATIONS = Shared(128 * MEGABYTE)
_RESULTS = Shared(64 * MEGABYTE)


def activations(shape: tuple[int, ...], distribution: Distribution = "normal", seed: int = 0) -> Tensor:
    """Generated activations on the device, shared by all visitors: never write into them.

    Args:
        shape: (N, C), (N, T, D) or (N, C, H, W).
        distribution: one of normviz.activations.DISTRIBUTIONS.
        seed: the seed of the generator.

    Returns:
        A float32 tensor of that shape.

    Raises:
        ValueError: see normviz.activations.generate.
    """
    return _ACTIVATIONS.get((shape, distribution, seed), lambda: generate(shape, distribution, seed, device()))


def memo(key: Hashable, make: Callable[[], T]) -> T:
    """A result shared by all visitors; `key` names everything that it follows from.

    Only for results of knob values and generated data: what comes from an uploaded picture is private
    to its session and must not be kept here.
    """
    return _RESULTS.get(key, make)


def memo_slowly(key: Hashable, make: Callable[[Callable[[float], None]], T], show: Callable[[float], object]) -> T:
    """A result as of `memo` that takes long to make; see `Shared.get_slowly`."""
    return _RESULTS.get_slowly(key, make, show)


def private(name: str, identity: Hashable, make: Callable[[], T]) -> T:
    """A value kept in this visitor's session alone, made again only when `identity` changes.

    Args:
        name: what it is kept under ("photo"); one value a name.
        identity: tells one upload from the next (the uploader's file id, a sample's name).
        make: decodes and downscales it; a failure is raised and nothing is kept.

    Returns:
        What `make` returned: for a photo its uint8 tensor (3, H, W).

    Raises:
        RuntimeError: called outside the thread of a visitor's script, where there is no session to keep it in.
    """
    if get_script_run_ctx(suppress_warning=True) is None:
        raise RuntimeError(f"only the script of a visitor can keep {name!r} in the visitor's session, not a worker")
    slot = f"private {name}"
    kept: tuple[Hashable, T] | None = st.session_state.get(slot)
    if kept is None or kept[0] != identity:
        st.session_state.pop(slot, None)
        kept = (identity, make())
        st.session_state[slot] = kept
    return kept[1]
