"""What stands on a page while something takes long."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from normviz.ui.kit import jobs
from normviz.ui.kit.jobs import IDLE, time_left


def page() -> None:
    """Something that is made in four steps, the last of which is never seen where it is stopped."""
    import streamlit as st

    from normviz.ui.kit.jobs import Preview

    def picture(latest: str, share: float) -> str:
        return f"<p>{latest} at {share:.0%}</p>"

    name = str(st.session_state.get("asked", "first"))
    preview = Preview("thing", name, "Making it", picture, "Keeps it.")
    if preview.stopped():
        try:
            st.text("kept {} at {}".format(*preview.so_far("nothing was made")))
        except ValueError as error:
            st.error(str(error))
        return
    preview.show(0.0)
    for step in (1, 2):
        preview.keep(f"{name} {step}")
        preview.show(step / 4)
    if st.session_state.get("leave", True):
        preview.done()


@pytest.fixture
def test(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(jobs, "EVERY", 0)
    return AppTest.from_function(page)


def html(test: AppTest) -> list[str]:
    return [box.proto.body for box in test.get("html")]


def test_what_is_made_is_seen_and_then_cleared(test: AppTest) -> None:
    test.session_state["leave"] = False
    test.run()
    assert html(test) == ["<p>first 2 at 50%</p>"]
    assert test.button(key="stop-thing").label == "Stop" and test.button(key="stop-thing").help == "Keeps it."
    test.session_state["leave"] = True
    test.run()
    assert not html(test) and not test.button and not test.exception


def test_a_quick_answer_does_not_flicker(test: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "EVERY", 1e12)
    test.session_state["leave"] = False
    test.run()
    assert not html(test) and not test.button and not test.exception


def test_a_stop_keeps_what_there_is_until_something_else_is_asked(test: AppTest) -> None:
    test.session_state["leave"] = False
    test.run()
    test.button(key="stop-thing").click().run()
    assert test.text[0].value == "kept first 2 at 0.5" and not html(test)
    test.run()
    assert test.text[0].value == "kept first 2 at 0.5"
    test.button(key="go-on").click().run()
    assert not test.text and html(test)
    test.button(key="stop-thing").click().run()
    test.session_state["asked"] = "second"
    test.run()
    assert not test.text and html(test) == ["<p>second 2 at 50%</p>"]
    test.session_state["asked"] = "first"
    test.run()
    assert not test.text and html(test) == ["<p>first 2 at 50%</p>"]  # the stop is forgotten


def test_a_stop_before_there_is_anything_is_said(test: AppTest) -> None:
    test.session_state["thing stopped"] = "first"
    test.session_state["thing so far"] = ("second", "second 2", 0.5)
    test.run()
    assert test.error[0].value == "nothing was made: let it go on to the end"
    assert test.button(key="go-on").label == "Go on to the end"


def test_how_long_it_still_takes() -> None:
    assert time_left(0.25, 2.0) == "25%, about 6 s left. Any change stops it."
    assert time_left(1.0, 2.0) == "100%, about 0 s left. Any change stops it."
    assert IDLE == "waiting for a free core"
