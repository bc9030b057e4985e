"""The model cache: at most two large networks, each loaded once, none released while in use."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from normviz.attribution import Probe, grad_cam
from normviz.models.model_cache import LARGE_BYTES, MAX_LARGE, ModelCache, memory_size

SMALL, LARGE = 10, 1000  # number of weights


def net(size: int) -> tuple[nn.Module, tuple[str, ...]]:
    return nn.Linear(size, 1, bias=False), ("a",)


def resident() -> ModelCache:
    return ModelCache(large=2000, max_large=2, small_total=100)


def test_weight_is_that_of_parameters_and_buffers_and_shared_memory_counts_once() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert memory_size(model) == 4 * (12 + 4 + 4 + 4 + 4 + 4) + 8
    twin = nn.Linear(3, 4)
    twin.weight = model[0].weight  # type: ignore[assignment]
    assert memory_size(nn.ModuleList([model, twin])) == memory_size(model) + 16
    assert memory_size(nn.Linear(5, 1, bias=False).half()) == 10
    assert (LARGE_BYTES, MAX_LARGE) == (40_000_000, 2)


def test_the_longest_unused_big_network_is_dropped_and_its_memory_freed() -> None:
    kept = resident()
    alive = {name: weakref.ref(kept.get(name, lambda: net(LARGE))[0]) for name in "ab"}
    kept.get("a", lambda: pytest.fail("it is here"))
    alive["c"] = weakref.ref(kept.get("c", lambda: net(LARGE))[0])
    gc.collect()
    assert ["a" in kept, "b" in kept, "c" in kept] == [True, False, True]
    assert alive["b"]() is None and alive["a"]() is not None


def test_small_networks_stay_beside_big_ones_up_to_their_own_limit() -> None:
    kept = resident()
    kept.get("small", lambda: net(SMALL))  # 40 bytes
    for name in "abcd":
        kept.get(name, lambda: net(LARGE))
    assert "small" in kept and "c" in kept and "d" in kept and "b" not in kept
    kept.get("small 2", lambda: net(SMALL))
    kept.get("small", lambda: pytest.fail("it is here"))
    kept.get("small 3", lambda: net(SMALL))  # 120 bytes: one too many
    assert ["small" in kept, "small 2" in kept, "small 3" in kept, "d" in kept] == [True, False, True, True]


def test_who_still_uses_a_dropped_network_keeps_it_and_gets_the_same_again() -> None:
    kept = resident()
    used, facts = kept.get("a", lambda: net(LARGE))
    for name in "bc":
        kept.get(name, lambda: net(LARGE))
    assert "a" not in kept
    assert used(torch.ones(1, LARGE)).shape == (1, 1)  # it was not released
    again = kept.get("a", lambda: net(SMALL))
    assert again == (used, facts) and "a" in kept and "b" not in kept


def test_a_network_that_was_explained_can_go() -> None:
    kept = ModelCache(large=10, max_large=1)
    model, _ = kept.get(
        "a", lambda: (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 0)
    )
    grad_cam(Probe(model, torch.rand(1, 3, 8, 8)))
    alive = weakref.ref(model)
    del model
    kept.get("b", lambda: net(LARGE))
    gc.collect()
    assert alive() is None


def test_a_network_is_loaded_once_for_all_threads_and_one_at_a_time() -> None:
    kept, loads, together, most = resident(), list[str](), 0, 0
    lock = threading.Lock()

    def load(name: str) -> tuple[nn.Module, str]:
        nonlocal together, most
        with lock:
            loads.append(name)
            together += 1
            most = max(most, together)
        time.sleep(0.02)
        with lock:
            together -= 1
        return nn.Linear(SMALL, 1, bias=False), name

    def ask(name: str) -> int:
        model, facts = kept.get(name, lambda: load(name))
        assert facts == name
        return id(model)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, ["a", "b"] * 8))
    assert sorted(loads) == ["a", "b"] and len(set(found)) == 2 and most == 1


def test_who_asks_for_a_network_that_is_here_does_not_wait_for_another_to_load() -> None:
    kept = resident()
    kept.get("here", lambda: net(SMALL))
    loading, go_on = threading.Event(), threading.Event()

    def slow() -> tuple[nn.Module, tuple[str, ...]]:
        loading.set()
        assert go_on.wait(30)
        return net(SMALL)

    thread = threading.Thread(target=kept.get, args=("slow", slow))
    thread.start()
    assert loading.wait(30)
    kept.get("here", lambda: pytest.fail("it is here"))
    assert thread.is_alive()
    go_on.set()
    thread.join(30)
    assert "slow" in kept


def test_a_failure_is_raised_and_not_kept() -> None:
    kept = resident()

    def fail() -> tuple[nn.Module, str]:
        raise ValueError("damaged")

    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            kept.get("a", fail)
    assert kept.get("a", lambda: net(SMALL))[1] == ("a",)
