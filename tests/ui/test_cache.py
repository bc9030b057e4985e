"""The caches: what is shared and what stays private, what is dropped, and how slow work is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from normviz.device import cores
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


def test_no_more_heavy_work_at_once_than_there_are_cores() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work() -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return threading.current_thread().name

    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(cache.compute(work))) for _ in range(4 * cores())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == cores()
    assert len(names) == 4 * cores() and len(set(names)) == cores()  # always the same threads


def test_slow_work_shows_how_far_it_is_and_gives_its_result() -> None:
    shown: list[float] = []

    def make(advance: Callable[[float], None]) -> int:
        for step in range(1, 5):
            advance(step / 4)
            time.sleep(0.12)
        return 7

    assert cache.compute_slowly(make, shown.append) == 7
    assert shown and shown == sorted(shown) and 0 < shown[-1] <= 1


def test_slow_work_of_a_visitor_who_went_on_is_given_up_and_made_for_the_next() -> None:
    class TurnedAway(BaseException):
        pass

    shared, begun, steps = cache.Shared(1000), threading.Event(), [0]

    def make(advance: Callable[[float], None]) -> int:
        begun.set()
        for step in range(1000):
            steps[0] += 1
            advance(step / 1000)
            time.sleep(0.02)
        return 7

    def leave(share: float) -> None:
        raise TurnedAway

    first: list[str] = []

    def ask_and_leave() -> None:
        try:
            shared.get("map", lambda: cache.compute_slowly(make, leave))
        except TurnedAway:
            first.append("left")

    thread = threading.Thread(target=ask_and_leave)
    thread.start()
    begun.wait(10)
    assert shared.get("map", lambda: 8) == 8  # waits, then makes it itself
    thread.join()
    assert first == ["left"]
    before = steps[0]
    time.sleep(0.1)
    assert steps[0] <= before + 1  # the worker has stopped


def counting(steps: list[int], pause: float = 0.02) -> Callable[[Callable[[float], None]], int]:
    """Work of some hundred steps that counts them."""

    def make(advance: Callable[[float], None]) -> int:
        for step in range(100):
            steps[0] += 1
            advance((step + 1) / 100)
            time.sleep(pause)
        return 7

    return make


def test_all_who_wait_for_slow_work_see_how_far_it_is_and_it_is_done_once() -> None:
    shared, steps = cache.Shared(1000), [0]
    seen: list[list[float]] = [[], [], []]
    results: list[int] = []

    def ask(number: int) -> None:
        results.append(shared.get_slowly("map", counting(steps), seen[number].append))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert results == [7, 7, 7] and steps == [100]
    assert all(len(shares) > 3 and shares == sorted(shares) for shares in seen)
    assert shared.get_slowly("map", counting(steps), lambda share: pytest.fail("made again")) == 7 and steps == [
        100
    ]  # kept
    assert not shared._works


def test_slow_work_goes_on_while_somebody_waits_and_ends_with_the_last() -> None:
    class TurnedAway(BaseException):
        pass

    shared, steps, patient = cache.Shared(1000), [0], threading.Event()

    def leave(share: float) -> None:
        patient.wait(10)
        raise TurnedAway

    def stay(share: float) -> None:
        patient.set()

    gone: list[str] = []

    def ask_and_leave() -> None:
        try:
            shared.get_slowly("map", counting(steps), leave)
        except TurnedAway:
            gone.append("left")

    first = threading.Thread(target=ask_and_leave)
    first.start()
    assert shared.get_slowly("map", counting(steps), stay) == 7
    first.join()
    assert gone == ["left"] and steps == [100]  # what the first had begun was finished for the second
    with pytest.raises(TurnedAway):
        shared.get_slowly("another", counting(steps), leave)
    time.sleep(0.1)
    before = steps[0]
    time.sleep(0.1)
    assert steps[0] == before < 200 and not shared._works


def test_a_failure_of_slow_work_reaches_everyone_and_is_not_kept() -> None:
    shared, caught = cache.Shared(1000), [0]

    def fail(advance: Callable[[float], None]) -> int:
        time.sleep(0.3)
        raise ValueError("no")

    def ask() -> None:
        with pytest.raises(ValueError, match="no"):
            shared.get_slowly("map", fail, lambda share: None)
        caught[0] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caught == [3] and "map" not in shared and not shared._works


def test_short_work_does_not_stand_in_line_behind_slow_work() -> None:
    over, names = threading.Event(), []

    def slow(advance: Callable[[float], None]) -> None:
        names.append(threading.current_thread().name)
        over.wait(10)

    threads = [threading.Thread(target=cache.compute_slowly, args=(slow, lambda share: None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(names) < cores():
        time.sleep(0.01)
    quick = cache.compute(lambda: threading.current_thread().name)  # would wait ten seconds
    assert not over.is_set() and quick not in names
    over.set()
    for thread in threads:
        thread.join()


def test_slow_work_gives_way_where_a_fragment_was_asked_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit would finish the run first; what was asked for must not be dropped."""
    from streamlit.runtime.scriptrunner import StopException
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests, ScriptRequestType

    requests, steps = ScriptRequests(), [0]
    monkeypatch.setattr(cache, "get_script_run_ctx", lambda **_: SimpleNamespace(script_requests=requests))

    def make(advance: Callable[[float], None]) -> int:
        for step in range(1000):
            steps[0] = step
            advance(step / 1000)
            time.sleep(0.02)
        return 7

    def show(share: float) -> None:
        if steps[0] >= 10:
            requests.request_rerun(RerunData(fragment_id="one"))

    with pytest.raises(StopException):
        cache.compute_slowly(make, show)
    assert 10 <= steps[0] < 999
    assert requests.on_scriptrunner_ready().type == ScriptRequestType.RERUN


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
        st.session_state["value"] = int(cache.private("photo", identity, decode)[0, 0, 0])
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
    with pytest.raises(RuntimeError, match="only the script of a visitor can keep 'photo'"):
        cache.private("photo", "one", lambda: 7)
