"""The networks in memory: each loaded once for all threads, at most two big ones, the longest unused dropped first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from torch import nn

T = TypeVar("T")  # what is known of a network beside its weights: the names of its classes, say

MEGABYTE = 10**6
BIG = 40 * MEGABYTE  # bytes of parameters and buffers from which on a network is big
MOST_BIG = 2  # big networks that stay in memory
SMALL_TOTAL = 400 * MEGABYTE  # bytes of all small networks together


def weigh(model: nn.Module) -> int:
    """The bytes of a network's parameters and buffers; memory that several of them share counts once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
                for t in (*model.parameters(), *model.buffers())}  # fmt: skip
    return sum(storages.values())


class Resident:
    """Networks by key, shared by all threads.

    What is dropped is only no longer held here: whoever still works with a network keeps it alive, and gets the same
    one if he asks again meanwhile. So nothing is torn down in use, and nothing is in memory twice.

    Args:
        big: bytes from which on a network is big.
        most: how many big ones are held.
        small: bytes of all small ones together that are held.
    """

    def __init__(self, big: int = BIG, most: int = MOST_BIG, small: int = SMALL_TOTAL) -> None:
        self.big, self.most, self.small = big, most, small
        self._held: OrderedDict[Hashable, tuple[nn.Module, int]] = OrderedDict()  # the longest unused first
        self._alive: WeakValueDictionary[Hashable, nn.Module] = WeakValueDictionary()  # and what others still use
        self._facts: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()  # guards the tables
        self._loading = threading.Lock()  # one network is read at a time: several big ones at once would fill memory

    def get(self, key: Hashable, load: Callable[[], tuple[nn.Module, T]]) -> tuple[nn.Module, T]:
        """The network of `key` and its facts; the first to ask loads it, others wait. A failure is not kept.

        Args:
            key: tells one network from the next.
            load: reads it; it must not download, as whoever loads another network waits meanwhile.
        """
        if (found := self._find(key)) is not None:
            return found
        with self._loading:
            if (found := self._find(key)) is not None:  # another thread has loaded it meanwhile
                return found
            model, facts = load()
            with self._lock:
                self._alive[key], self._facts[model] = model, facts
            return self._find(key) or (model, facts)

    def _find(self, key: Hashable) -> tuple[nn.Module, Any] | None:
        """A network that is still in memory, which is held again then."""
        with self._lock:
            model = self._alive.get(key)
            if model is None:
                return None
            self._held[key] = (model, weigh(model))
            self._held.move_to_end(key)
            self._drop()
            return model, self._facts[model]

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._held

    def _drop(self) -> None:
        """Let go of the longest unused big networks beyond `most`, and of small ones beyond `small` bytes."""
        big = [key for key, (_, weight) in self._held.items() if weight > self.big]
        for key in big[: max(0, len(big) - self.most)]:
            del self._held[key]
        small = {key: weight for key, (_, weight) in self._held.items() if weight <= self.big}
        total = sum(small.values())
        for key, weight in small.items():
            if total <= self.small:
                break
            del self._held[key]
            total -= weight


RESIDENT = Resident()  # of this process
