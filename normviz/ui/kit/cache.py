"""Caching of results: in a cache that all visitors share, or in the session of one visitor.

A result that follows from widget values alone is shared. A result that follows from a visitor's own file stays in that
visitor's session and is deleted with it. `is_private` is the only place that decides; callers name the inputs of a
result, and each input states whether it is private.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from torch import Tensor

from normviz.activations import Distribution, generate
from normviz.device import device

T = TypeVar("T")
MEGABYTE = 2**20


class Abandoned(BaseException):
    """Raised in a computation that nobody waits for any more."""


class Input(Protocol):
    """Data from which results are computed: a photo, a table, activations, an uploaded file."""

    @property
    def identity(self) -> Hashable:
        """Distinguishes this input from all others."""

    @property
    def private(self) -> bool:
        """Whether it comes from a visitor's own file."""


@dataclass(frozen=True)
class Private:
    """An input that is always private: an uploaded file, or what was fetched for one visitor.

    Attributes:
        identity: distinguishes it from all others: the uploader's identifier of the file.
    """

    identity: Hashable
    private: bool = dataclasses.field(default=True, init=False)


class Store(Protocol):
    """A place for results by key."""

    def get(self, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        """The value of `key`, computed by `make` if it is not stored."""

    def __contains__(self, key: tuple[Hashable, ...]) -> bool:
        """Whether the value of `key` is stored or being computed."""


class Shared:
    """A thread-safe cache: computes each value once and evicts the least recently used ones beyond `limit` bytes.

    Values are read-only by agreement.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`; the first thread that requests it computes it, others wait.

        A failure is raised in all waiting threads and not stored. If the first thread abandons the computation, one of
        the others repeats it.
        """
        with self._lock:
            future: Future[T] | None = self._entries.get(key)
            first = future is None
            if future is None:
                future = self._entries[key] = Future()
            self._entries.move_to_end(key)
        if first:
            try:
                value = make()
            except BaseException as error:
                with self._lock:
                    del self._entries[key]
                future.set_exception(error if isinstance(error, Exception) else Abandoned())
                raise
            future.set_result(value)
            self._store(key, size(value))
        try:
            return future.result()
        except Abandoned:
            return self.get(key, make)

    def bytes(self) -> int:
        """The total size of the stored values."""
        with self._lock:
            return sum(self._sizes.values())

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._entries

    def _store(self, key: Hashable, weight: int) -> None:
        """Record the size of a value, and evict the least recently used ones while the total exceeds the limit."""
        with self._lock:
            self._sizes[key] = weight
            while sum(self._sizes.values()) > self.limit:
                oldest = next(old for old in self._entries if old in self._sizes)
                del self._entries[oldest], self._sizes[oldest]


@dataclass(frozen=True)
class Session:
    """One visitor's session: it holds one value per name, the first element of a key.

    Attributes:
        id: Streamlit's identifier of the session.
    """

    id: str

    def get(self, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        """The value of `key`; a new key replaces the value stored under the same name. Failures are not stored."""
        slot = self._slot(key)
        if key not in self:
            st.session_state.pop(slot, None)
            st.session_state[slot] = (key, make())
        value: T = st.session_state[slot][1]
        return value

    def __contains__(self, key: tuple[Hashable, ...]) -> bool:
        stored: tuple[Hashable, object] | None = st.session_state.get(self._slot(key))
        return stored is not None and stored[0] == key

    @staticmethod
    def _slot(key: tuple[Hashable, ...]) -> str:
        return f"private {key[0]}"


_RESULTS = Shared(64 * MEGABYTE)
_ACTIVATIONS = Shared(128 * MEGABYTE)
_COLLECTIONS: dict[str, Shared] = {}
_COLLECTIONS_LOCK = threading.Lock()


def keep(name: str, key: Hashable, make: Callable[[], T], inputs: Iterable[Input] = ()) -> T:
    """A result, computed once: for all visitors, or for this one if an input is private.

    Args:
        name: of the result; a session holds one result per name.
        key: everything else that the result follows from.
        make: computes it; a failure is raised and not stored.
        inputs: the photos, tables or activations that it is computed from.

    Raises:
        RuntimeError: an input is private and this is not the thread of a visitor's script.
    """
    inputs = tuple(inputs)
    return store(name, inputs).get(full_key(name, key, inputs), make)


def full_key(name: str, key: Hashable, inputs: Iterable[Input]) -> tuple[Hashable, ...]:
    """The key of a result in its store."""
    return (name, *(one.identity for one in inputs), key)


def store(name: str, inputs: Iterable[Input]) -> Store:
    """The store for results of these inputs: the shared cache, or this visitor's session.

    Raises:
        RuntimeError: an input is private and this is not the thread of a visitor's script.
    """
    return _session(name) if is_private(inputs) else _RESULTS


def collection(name: str, inputs: Iterable[Input] = (), shared: int = 64, session: int = 24) -> Shared:
    """A cache of its own for many or large results of the same inputs, which worker threads may use, too.

    Args:
        name: of the collection.
        inputs: what all its results are computed from.
        shared: limit in MB, if no input is private.
        session: limit in MB in a visitor's session, where it is replaced as soon as the inputs change.

    Raises:
        RuntimeError: an input is private and this is not the thread of a visitor's script.
    """
    inputs = tuple(inputs)
    if is_private(inputs):
        return _session(name).get(full_key(name, (), inputs), lambda: Shared(session * MEGABYTE))
    with _COLLECTIONS_LOCK:
        return _COLLECTIONS.setdefault(name, Shared(shared * MEGABYTE))


def is_private(inputs: Iterable[Input]) -> bool:
    """The privacy rule: what is computed from a private input is private."""
    return any(one.private for one in inputs)


def _session(name: str) -> Session:
    """The session of the visitor whose script runs in this thread."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:  # Streamlit would use one state for the whole process
        raise RuntimeError(f"{name!r} is private: only the thread of a visitor's script can store it, not a worker")
    return Session(context.session_id)


def activations(shape: tuple[int, ...], distribution: Distribution = "normal", seed: int = 0) -> Tensor:
    """Generated activations on the device, shared by all visitors: never modify them.

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


def size(value: object) -> int:
    """The size of a value in bytes: of its tensors, arrays and strings, also inside containers and dataclasses."""
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(size, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return sum(map(size, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(size(getattr(value, field.name)) for field in dataclasses.fields(value))
    return sys.getsizeof(value)
