"""The caches: what is shared, what stays in a session, and what is evicted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from normviz.ui.kit import cache
from tests.support.comparison import identical
from tests.ui.test_ui import run


def test_thirty_threads_that_ask_at_once_compute_once() -> None:
    shared, made = cache.Shared(1000), []

    def make() -> bytes:
        time.sleep(0.05)
        made.append(1)
        return b"x" * 10

    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(shared.get("k", make))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len({id(result) for result in results}) == 1
    assert len(results) == 30


def test_the_longest_unused_value_goes_first_and_the_limit_holds() -> None:
    shared = cache.Shared(3 * 4000)
    for name in "abc":
        shared.get(name, lambda: torch.zeros(1000))
    assert shared.bytes() == 12000
    shared.get("a", lambda: pytest.fail("a was dropped"))
    shared.get("d", lambda: torch.zeros(1000))
    assert [name in shared for name in "abcd"] == [True, False, True, True]
    assert shared.bytes() == 12000
    assert shared.get("large", lambda: torch.zeros(10_000)).nbytes == 40000  # given, not kept
    assert shared.bytes() <= 12000


def test_a_failure_reaches_everyone_and_is_not_kept() -> None:
    shared, tries = cache.Shared(1000), []

    def make() -> int:
        tries.append(1)
        time.sleep(0.02)
        raise ValueError("no")

    def ask() -> None:
        with pytest.raises(ValueError, match="no"):
            shared.get("k", make)
        caught.append(1)

    caught: list[int] = []
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caught) == 5
    assert "k" not in shared
    assert shared.get("k", lambda: 7) == 7


def test_sizes() -> None:
    @dataclass
    class Result:
        y: torch.Tensor
        bars: Any

    assert cache.size(torch.zeros(10)) == 40
    assert cache.size(Result(torch.zeros(10), {"a": np.zeros(3), "b": [np.zeros(1), np.zeros(2)]})) == 40 + 24 + 24
    assert cache.size("a" * 1000) >= 1000


def test_generated_activations_are_shared_and_right() -> None:
    first = cache.activations((2, 3, 4, 4), "shifted", 5)
    assert cache.activations((2, 3, 4, 4), "shifted", 5) is first
    assert not identical(cache.activations((2, 3, 4, 4), "shifted", 6), first)
    with pytest.raises(ValueError, match="received shape"):
        cache.activations((2,), "shifted", 5)


def private_photo() -> None:
    import numpy as np
    import streamlit as st

    from normviz.ui.kit import cache, url_widgets

    identity = url_widgets.text_field("Id", "one", "id")
    made = st.session_state.setdefault("made", [])

    def decode() -> np.ndarray:
        made.append(identity)
        if identity == "broken":
            raise ValueError("no picture")
        return np.full((2, 2, 3), len(made), np.uint8)

    try:
        st.session_state["value"] = int(cache.keep("photo", (), decode, [cache.Private(identity)])[0, 0, 0])
    except ValueError:
        st.session_state["value"] = None


def test_a_photo_stays_in_its_session_and_is_decoded_once() -> None:
    test = run(private_photo)
    test.run()
    assert test.session_state["made"] == ["one"]
    test.text_input(key="id").set_value("broken").run()
    assert test.session_state["value"] is None
    test.text_input(key="id").set_value("two").run()
    assert test.session_state["made"] == ["one", "broken", "two"]
    assert test.session_state["value"] == 3
    other = run(private_photo)
    assert other.session_state["made"] == ["one"]  # another visitor decodes again


def test_only_the_visitors_own_script_can_keep_something_in_the_session() -> None:
    """Elsewhere Streamlit would keep it in one state of the process."""
    with pytest.raises(RuntimeError, match="'photo' is private: only the thread of a visitor's script can store it"):
        cache.keep("photo", "one", lambda: 7, [cache.Private("file")])
    with pytest.raises(RuntimeError, match="'photos' is private"):
        cache.collection("photos", [cache.Private("file")])


@dataclass(frozen=True)
class Data:
    """An input that may be private."""

    identity: str
    private: bool


def test_the_inputs_decide_what_is_shared() -> None:
    sample, own = Data("sample", private=False), Data("own", private=True)
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert cache.keep("test result", 1, make, [sample]) == cache.keep("test result", 1, make, [sample]) == 1
    assert cache.keep("test result", 1, make, [Data("another", private=False)]) == 2
    assert cache.keep("test result", 2, make) == 3
    with pytest.raises(RuntimeError, match="is private"):
        cache.keep("test result", 1, make, [sample, own])  # one private input is enough
    assert len(made) == 3
    assert cache.collection("test collection") is cache.collection("test collection", [sample])
