"""Slow work: progress, previews, the Stop button, sharing among visitors, and giving way to a visitor's next change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TypeVar

import pytest
from streamlit.testing.v1 import AppTest

from normviz.device import cores
from normviz.ui.kit import cache, jobs
from normviz.ui.kit.jobs import IDLE, time_left

T = TypeVar("T")


def run_job(work: Callable[[jobs.Job[T]], T], show: Callable[[float], object]) -> T:
    """The result of slow work that is not shared."""
    job = jobs.Job(work)
    job.join()
    return job.result(lambda job: show(job.share))


def keep(store: cache.Shared, key: str, work: Callable[[jobs.Job[T]], T], show: Callable[[float], object]) -> T:
    """The result of slow work, shared by all threads that wait for it."""
    return jobs.keep_in(store, (key,), work, lambda job: show(job.share))


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
    threads = [threading.Thread(target=lambda: names.append(jobs.compute(work))) for _ in range(4 * cores())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == cores()
    assert len(names) == 4 * cores() and len(set(names)) == cores()  # always the same threads


def test_slow_work_shows_how_far_it_is_and_gives_its_result() -> None:
    shown: list[float] = []

    def make(job: jobs.Job[int]) -> int:
        for step in range(1, 5):
            job.progress(step / 4)
            time.sleep(0.12)
        return 7

    assert run_job(make, shown.append) == 7
    assert shown and shown == sorted(shown) and 0 < shown[-1] <= 1


def test_slow_work_of_a_visitor_who_went_on_is_given_up_and_made_for_the_next() -> None:
    class TurnedAway(BaseException):
        pass

    shared, begun, steps = cache.Shared(1000), threading.Event(), [0]

    def make(job: jobs.Job[int]) -> int:
        begun.set()
        for step in range(1000):
            steps[0] += 1
            job.progress(step / 1000)
            time.sleep(0.02)
        return 7

    def leave(share: float) -> None:
        raise TurnedAway

    first: list[str] = []

    def ask_and_leave() -> None:
        try:
            shared.get("map", lambda: run_job(make, leave))
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


def counting(steps: list[int], pause: float = 0.02) -> Callable[[jobs.Job[int]], int]:
    """Work of some hundred steps that counts them."""

    def make(job: jobs.Job[int]) -> int:
        for step in range(100):
            steps[0] += 1
            job.progress((step + 1) / 100)
            time.sleep(pause)
        return 7

    return make


def test_all_who_wait_for_slow_work_see_how_far_it_is_and_it_is_done_once() -> None:
    shared, steps = cache.Shared(1000), [0]
    seen: list[list[float]] = [[], [], []]
    results: list[int] = []

    def ask(number: int) -> None:
        results.append(keep(shared, "map", counting(steps), seen[number].append))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert results == [7, 7, 7] and steps == [100]
    assert all(len(shares) > 3 and shares == sorted(shares) for shares in seen)
    assert keep(shared, "map", counting(steps), lambda share: pytest.fail("made again")) == 7 and steps == [100]  # kept
    assert not jobs._RUNNING


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
            keep(shared, "map", counting(steps), leave)
        except TurnedAway:
            gone.append("left")

    first = threading.Thread(target=ask_and_leave)
    first.start()
    assert keep(shared, "map", counting(steps), stay) == 7
    first.join()
    assert gone == ["left"] and steps == [100]  # what the first had begun was finished for the second
    with pytest.raises(TurnedAway):
        keep(shared, "another", counting(steps), leave)
    time.sleep(0.1)
    before = steps[0]
    time.sleep(0.1)
    assert steps[0] == before < 200 and not jobs._RUNNING


def test_a_failure_of_slow_work_reaches_everyone_and_is_not_kept() -> None:
    shared, caught = cache.Shared(1000), [0]

    def fail(job: jobs.Job[int]) -> int:
        time.sleep(0.3)
        raise ValueError("no")

    def ask() -> None:
        with pytest.raises(ValueError, match="no"):
            keep(shared, "map", fail, lambda share: None)
        caught[0] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caught == [3] and ("map",) not in shared and not jobs._RUNNING


def test_short_work_does_not_stand_in_line_behind_slow_work() -> None:
    over, names = threading.Event(), []

    def slow(job: jobs.Job[None]) -> None:
        names.append(threading.current_thread().name)
        over.wait(10)

    threads = [threading.Thread(target=run_job, args=(slow, lambda share: None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(names) < cores():
        time.sleep(0.01)
    quick = jobs.compute(lambda: threading.current_thread().name)  # would wait ten seconds
    assert not over.is_set() and quick not in names
    over.set()
    for thread in threads:
        thread.join()


def test_slow_work_gives_way_where_a_fragment_was_asked_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit would finish the run first; what was asked for must not be dropped."""
    from streamlit.runtime.scriptrunner import StopException
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests, ScriptRequestType

    requests, steps = ScriptRequests(), [0]
    monkeypatch.setattr(jobs, "get_script_run_ctx", lambda **_: SimpleNamespace(script_requests=requests))

    def make(job: jobs.Job[int]) -> int:
        for step in range(1000):
            steps[0] = step
            job.progress(step / 1000)
            time.sleep(0.02)
        return 7

    def show(share: float) -> None:
        if steps[0] >= 10:
            requests.request_rerun(RerunData(fragment_id="one"))

    with pytest.raises(StopException):
        run_job(make, show)
    assert 10 <= steps[0] < 999
    assert requests.on_scriptrunner_ready().type == ScriptRequestType.RERUN


def page() -> None:
    """Something that is computed in three steps, and takes longer than the test waits."""
    import streamlit as st

    from normviz.ui.kit import jobs, page_layout
    from tests.ui.test_jobs import three_steps

    what = str(st.session_state.get("asked", "first"))
    preview: jobs.Preview[str, str] | None = None
    if st.session_state.get("preview", True):
        preview = jobs.Preview(
            lambda latest, share: f"<p>{latest} at {share:.0%}</p>",
            lambda latest, share: f"kept {latest} at {share:.0%}",
            "nothing was made",
        )
    with page_layout.guard():
        st.text(jobs.run("thing", what, three_steps(what), "Making it", preview=preview))


def three_steps(what: str) -> Callable[[jobs.Job[str]], str]:
    """Work that reports two steps and then waits until nobody waits for it any more, or for RELEASED."""

    def work(job: jobs.Job[str]) -> str:
        for step in (1, 2):
            job.preview(f"{what} {step}")
            job.progress(step / 4)
        while not RELEASED.is_set():
            job.progress(0.5)
            time.sleep(0.01)
        return f"all of {what}"

    return work


RELEASED = threading.Event()


@pytest.fixture
def test(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, whose script stops waiting as soon as it has drawn something."""
    from streamlit.runtime.scriptrunner import StopException

    monkeypatch.setattr(jobs, "REDRAW", 0)
    monkeypatch.setattr(jobs, "POLL", 0.05)
    monkeypatch.setattr(jobs, "_RUNNING", {})
    monkeypatch.setattr(cache, "_RESULTS", cache.Shared(1000))
    RELEASED.clear()
    show = jobs.Bar.show

    def once(bar: jobs.Bar, label: str, share: float) -> bool:
        drawn = show(bar, label, share)
        if bar in drawn_once and not RELEASED.is_set():
            raise StopException
        if drawn:
            drawn_once.add(bar)
        return drawn

    drawn_once: set[jobs.Bar] = set()
    monkeypatch.setattr(jobs.Bar, "show", once)
    return AppTest.from_function(page)


def html(test: AppTest) -> list[str]:
    return [box.proto.body for box in test.get("html")]


def test_a_preview_and_a_button_are_shown_until_it_is_finished(test: AppTest) -> None:
    test.run()
    assert html(test) == ["<p>first 2 at 50%</p>"]
    assert test.button(key="stop-thing").label == "Stop"
    assert test.button(key="stop-thing").help == "Keeps what is there so far."
    RELEASED.set()
    test.run()
    assert test.text[0].value == "all of first"
    assert not html(test) and not test.button and not test.exception


def test_a_quick_result_does_not_flicker(test: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REDRAW", 1e12)
    threading.Timer(0.3, RELEASED.set).start()
    test.run()
    assert not html(test) and not test.button and not test.exception


def test_a_stop_keeps_the_preview_until_something_else_is_requested(test: AppTest) -> None:
    test.run()
    test.button(key="stop-thing").click().run()
    assert test.text[0].value == "kept first 2 at 50%" and not html(test)
    test.run()
    assert test.text[0].value == "kept first 2 at 50%"
    test.button(key="go-on").click().run()
    assert not test.text and html(test)
    test.button(key="stop-thing").click().run()
    test.session_state["asked"] = "second"
    test.run()
    assert not test.text and html(test) == ["<p>second 2 at 50%</p>"]
    test.session_state["asked"] = "first"
    test.run()
    assert not test.text and html(test) == ["<p>first 2 at 50%</p>"]  # the stop is forgotten


def test_a_stop_before_the_first_preview_is_reported(test: AppTest) -> None:
    test.session_state["thing stopped"] = ("thing", "first")
    test.session_state["thing so far"] = (("thing", "second"), "second 2", 0.5)
    test.run()
    assert "Nothing was made: let it go on to the end." in html(test)[0]
    assert test.button(key="go-on").label == "Go on to the end"


def test_a_stop_without_a_preview_offers_to_go_on(test: AppTest) -> None:
    test.session_state["preview"] = False
    test.run()
    assert not html(test)
    test.button(key="stop-thing").click().run()
    assert "Stopped: change something, or go on." in html(test)[0] and not test.text
    RELEASED.set()
    test.button(key="go-on").click().run()
    assert test.text[0].value == "all of first"


def test_how_long_it_still_takes() -> None:
    assert time_left(0.25, 2.0) == "25%, about 6 s left. Any change stops it."
    assert time_left(1.0, 2.0) == "100%, about 0 s left. Any change stops it."
    assert IDLE == "waiting for a free core"
