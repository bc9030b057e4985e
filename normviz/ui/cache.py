"""What visitors share, bounded in bytes, and what stays in one visitor's session.

Shared values are read-only by agreement: generated activations, the classifier, results that follow
from knob values alone. Nothing that comes from an uploaded picture may enter: that lives in its
session and goes with it.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from torch import Tensor

from normviz.activations import Distribution, generate
from normviz.device import cores, device

T = TypeVar("T")
MEGABYTE = 2**20
# Work is done by as many threads as there are cores, and always the same ones: a class at once neither thrashes nor
# fills memory, and the threads that PyTorch starts for each of them, and their memory, are at hand the next time.
_WORKERS = ThreadPoolExecutor(cores(), thread_name_prefix="normviz")


class Abandoned(BaseException):
    """The visitor for whom something was computed has turned to something else."""


def compute(make: Callable[[], T]) -> T:
    """Do heavy work in one of the process's workers, and wait for it."""
    return _WORKERS.submit(make).result()


def compute_slowly(make: Callable[[Callable[[float], None]], T], show: Callable[[float], object]) -> T:
    """Do work that takes long, show how far it is, and give it up when the visitor changes something.

    Args:
        make: does the work, calling its argument with the finished share, 0 to 1.
        show: draws that share, in the visitor's own thread.
    """
    share, abandoned = 0.0, threading.Event()

    def advance(finished: float) -> None:
        nonlocal share
        share = finished
        if abandoned.is_set():
            raise Abandoned

    future = _WORKERS.submit(make, advance)
    try:
        while not wait([future], timeout=0.15).done:
            _give_way()
            show(share)
    except BaseException:  # Streamlit ends a run in which something was changed with an exception of its own
        abandoned.set()
        raise
    return future.result()


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


def private(name: str, identity: Hashable, make: Callable[[], T]) -> T:
    """A value kept in this visitor's session alone, made again only when `identity` changes.

    Args:
        name: what it is kept under ("photo"); one value a name.
        identity: tells one upload from the next (the uploader's file id, a sample's name).
        make: decodes and downscales it; a failure is raised and nothing is kept.

    Returns:
        What `make` returned: for a photo its uint8 tensor (3, H, W).
    """
    slot = f"private {name}"
    kept: tuple[Hashable, T] | None = st.session_state.get(slot)
    if kept is None or kept[0] != identity:
        st.session_state.pop(slot, None)
        kept = (identity, make())
        st.session_state[slot] = kept
    return kept[1]
