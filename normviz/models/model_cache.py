"""Cache of loaded networks, shared by all threads; large networks are limited in number, small ones in total size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from torch import nn

T = TypeVar("T")  # metadata of a network, such as its class names

MEGABYTE = 10**6
LARGE_BYTES = 40 * MEGABYTE  # a network with more bytes of parameters and buffers counts as large
MAX_LARGE = 2  # large networks kept in memory
SMALL_TOTAL = 400 * MEGABYTE  # bytes of all small networks together


def memory_size(model: nn.Module) -> int:
    """The size of a network's parameters and buffers in bytes; shared memory counts once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
                for t in (*model.parameters(), *model.buffers())}  # fmt: skip
    return sum(storages.values())


class ModelCache:
    """Networks by key, shared by all threads; the least recently used entries are evicted.

    Eviction only removes the cache's own reference. A network that is still in use elsewhere stays alive, and a
    request for its key returns the same object, so no network is in memory twice.

    Args:
        large: a network with more bytes than this counts as large.
        max_large: number of large networks to keep.
        small_total: bytes of all small networks together.
    """

    def __init__(self, large: int = LARGE_BYTES, max_large: int = MAX_LARGE, small_total: int = SMALL_TOTAL) -> None:
        self.large, self.max_large, self.small_total = large, max_large, small_total
        self._cached: OrderedDict[Hashable, tuple[nn.Module, int]] = OrderedDict()  # least recently used first
        self._alive: WeakValueDictionary[Hashable, nn.Module] = WeakValueDictionary()  # evicted ones in use, too
        self._metadata: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()  # guards the tables
        self._loading = threading.Lock()  # one network is loaded at a time, to limit peak memory

    def get(self, key: Hashable, load: Callable[[], tuple[nn.Module, T]]) -> tuple[nn.Module, T]:
        """Return the network of `key` and its metadata; load it on the first call. Failures are not cached.

        Args:
            key: identifies the network.
            load: reads the network and its metadata; must not download, because other threads wait meanwhile.
        """
        if (entry := self._find(key)) is not None:
            return entry
        with self._loading:
            if (entry := self._find(key)) is not None:  # another thread has loaded it meanwhile
                return entry
            model, metadata = load()
            with self._lock:
                self._alive[key], self._metadata[model] = model, metadata
            return self._find(key) or (model, metadata)

    def _find(self, key: Hashable) -> tuple[nn.Module, Any] | None:
        """A network that is still in memory; it becomes the most recently used entry."""
        with self._lock:
            model = self._alive.get(key)
            if model is None:
                return None
            self._cached[key] = (model, memory_size(model))
            self._cached.move_to_end(key)
            self._evict()
            return model, self._metadata[model]

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._cached

    def _evict(self) -> None:
        """Evict the least recently used large networks beyond `max_large`, and small ones beyond `small_total`."""
        large = [key for key, (_, size) in self._cached.items() if size > self.large]
        for key in large[: max(0, len(large) - self.max_large)]:
            del self._cached[key]
        small = {key: size for key, (_, size) in self._cached.items() if size <= self.large}
        total = sum(small.values())
        for key, size in small.items():
            if total <= self.small_total:
                break
            del self._cached[key]
            total -= size


MODEL_CACHE = ModelCache()  # of this process
