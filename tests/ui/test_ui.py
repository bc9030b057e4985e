"""The shell of the app: link state, knobs, manners on failure, look."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from normviz import normalization as normalization
from normviz.paths import ROOT
from normviz.registry import Knob, Range, methods
from normviz.ui.kit import knobs
from normviz.ui.kit.page_registry import PAGES
from normviz.ui.pages import home

WAIT = 30  # seconds


def run(page: Callable[[], None], **link: str) -> AppTest:
    """A page made of one function, opened with these parameters in its link."""
    test = AppTest.from_function(page, default_timeout=WAIT)
    for name, value in link.items():
        test.query_params[name] = value
    return test.run()


def words(test: AppTest) -> str:
    """All sentences and captions on the page."""
    return " ".join([*(box.proto.body for box in test.get("html")), *(caption.value for caption in test.caption)])


def one_of_each() -> None:
    import streamlit as st

    from normviz.ui.kit import url_widgets

    values = {
        "n": url_widgets.slider("N", 1, 64, 8, "n"),
        "x": url_widgets.slider("X", 0.0, 1.0, 0.5, "x", step=0.1),
        "eps": url_widgets.steps("eps", [1e-6, 1e-5, 1e-4], 1e-5, "eps", text=lambda v: f"{v:.0e}"),
        "method": url_widgets.select("Method", ["a_b", "c"], "a_b", "method", text=lambda v: v.replace("_", " ")),
        "side": url_widgets.segments("Side", ["left", "right"], "left", "side"),
        "on": url_widgets.toggle("On", False, "on"),
        "seed": url_widgets.number("Seed", 0, 99, 3, "seed"),
        "name": url_widgets.text_field("Name", "cat", "name"),
    }
    st.session_state["seen"] = values


DEFAULTS = {"n": 8, "x": 0.5, "eps": 1e-5, "method": "a_b", "side": "left", "on": False, "seed": 3, "name": "cat"}
LINKED = {"n": 16, "x": 0.3, "eps": 1e-4, "method": "c", "side": "right", "on": True, "seed": 7, "name": "dog"}
LINK = {"n": "16", "x": "0.3", "eps": "1e-04", "method": "c", "side": "right", "on": "true", "seed": "7", "name": "dog"}


def test_defaults_stay_out_of_the_link() -> None:
    test = run(one_of_each)
    assert test.session_state["seen"] == DEFAULTS
    assert dict(test.query_params) == {}


def test_a_link_restores_every_widget_and_says_nothing() -> None:
    test = run(one_of_each, **LINK)
    assert not test.exception
    assert test.session_state["seen"] == LINKED
    assert words(test) == ""


@pytest.mark.parametrize(
    ("name", "asked"),
    [("n", "999"), ("n", "many"), ("x", "-1"), ("eps", "0.3"), ("method", "d"), ("side", "up"), ("on", "perhaps"),
     ("seed", "100"), ("seed", "1e400"), ("seed", "nan"), ("x", "nan"), ("n", "inf")],
)  # fmt: skip
def test_what_a_link_asks_for_and_is_not_offered_is_ignored_in_one_sentence(name: str, asked: str) -> None:
    test = run(one_of_each, **{name: asked})
    assert not test.exception
    assert test.session_state["seen"] == DEFAULTS
    assert words(test).count("The link asks for") == 1
    assert f"{name} = '{asked}'" in words(test)
    again = test.run()
    assert words(again) == ""  # said once


def test_a_default_that_stands_in_a_link_is_no_error() -> None:
    assert words(run(one_of_each, n="8.0", on="FALSE", side="left", eps="1e-05")) == ""


def test_going_back_to_the_default_is_no_error() -> None:
    test = run(one_of_each, n="16")
    test.slider(key="n").set_value(8).run()
    assert test.session_state["seen"]["n"] == 8
    assert words(test) == ""


# ------------------------------------------------------------------------------------------- knobs


def draw_all_knobs() -> None:
    import streamlit as st

    from normviz.registry import methods
    from normviz.ui.kit.knobs import knobs

    st.session_state["seen"] = {method.name: knobs(method, f"{method.name}.") for method in methods()}


def test_every_registered_method_gets_widgets_with_its_defaults() -> None:
    assert methods(), "nothing is registered"
    test = run(draw_all_knobs)
    assert not test.exception
    for method in methods():
        assert test.session_state["seen"][method.name] == method.settings()


def draw_some_knobs() -> None:
    import streamlit as st

    from normviz.registry import get
    from normviz.ui.kit.knobs import knobs

    st.session_state["seen"] = knobs(get("group_norm"), offer={"num_groups": [1, 2, 3, 6]})


def test_offered_values_replace_the_range_and_come_from_the_link() -> None:
    test = run(draw_some_knobs, num_groups="3", eps="0.001")
    assert test.session_state["seen"] == {"num_groups": 3, "eps": 1e-3}
    assert isinstance(test.session_state["seen"]["num_groups"], int)
    unoffered = run(draw_some_knobs, num_groups="4")
    assert unoffered.session_state["seen"]["num_groups"] == 6  # the default 8 is not offered: the last one
    assert "num_groups = '4'" in words(unoffered)


def test_stops_of_logarithmic_sliders() -> None:
    assert knobs.scale(Range(1, 64, "G"), 8, whole=True) == [1, 2, 4, 8, 16, 32, 64]
    assert knobs.scale(Range(1, 12, "G"), 3, whole=True) == [1, 2, 3, 4, 8, 12]
    assert knobs.scale(Range(1e-12, 1.0, "e"), 1e-5, whole=False) == [float(f"1e{k}") for k in range(-12, 1)]
    assert knobs.scale(Range(0.05, 2.0, "e"), 0.3, whole=False) == [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "text"), [(8, "8"), (8.0, "8"), (0.5, "0.5"), (1e-5, "1e-5"), (2.5e-6, "2.5e-6"), (1e6, "1e6"), (0, "0")]
)
def test_short_texts_name_the_value(value: float, text: str) -> None:
    assert knobs.short(value) == text
    assert float(text) == value


def test_labels_name_the_knob_and_its_symbol() -> None:
    assert knobs.label(Knob("num_groups", int, 8, "", Range(1, 64, "G"))) == "Num groups $G$"
    assert knobs.label(Knob("per_position", bool, False, "")) == "Per position"


# ------------------------------------------------------------------------------------------- manners
def failing() -> None:
    import streamlit as st

    from normviz.ui.kit import page_layout, url_widgets

    what = url_widgets.select("What", ["fine", "rule", "defect", "stop"], "fine", "what")
    with page_layout.guard():
        if what == "rule":
            raise ValueError("num_groups must divide the channels; received <8> of 30")
        if what == "defect":
            raise RuntimeError("the photo of Alice")
        if what == "stop":
            st.stop()
        st.write("result")
    st.write("after")


def test_a_broken_rule_is_shown_as_it_stands() -> None:
    test = run(failing, what="rule")
    assert not test.exception
    assert "Num_groups must divide the channels; received &lt;8&gt; of 30.</p>" in words(test)
    assert [text.value for text in test.markdown] == ["after"]
    test.selectbox(key="what").set_value("fine").run()
    assert words(test) == ""
    assert [text.value for text in test.markdown] == ["result", "after"]


def test_a_defect_is_an_apology_without_the_data(capfd: pytest.CaptureFixture[str]) -> None:
    test = run(failing, what="defect")
    assert not test.exception
    assert "Sorry" in words(test)
    errors = capfd.readouterr().err
    assert "unexpected RuntimeError" in errors
    assert "test_ui" in errors or "in failing" in errors
    assert "Alice" not in words(test) + re.sub(r".*raise RuntimeError.*", "", errors)
    assert test.selectbox(key="what").value == "defect"  # settings are kept


def test_a_stop_passes_through_the_guard() -> None:
    test = run(failing, what="stop")
    assert words(test) == ""
    assert not test.markdown


# ------------------------------------------------------------------------------------------- look
def luminance(color: str) -> float:
    """Relative luminance after WCAG 2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes() -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Each theme's name, its options, and the style sheet's colors in it."""
    options = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"]
    pairs = re.findall(r"--nv-(\w+): light-dark\((#\w{6}), (#\w{6})\)", (ROOT / "assets/style.css").read_text())
    for index, name in enumerate(("light", "dark"), start=1):
        yield name, options[name], {pair[0]: pair[index] for pair in pairs}


def test_text_has_contrast_aa_on_every_ground() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    for name, theme, style in themes():
        grounds = [theme["backgroundColor"], theme["secondaryBackgroundColor"], theme["sidebar"]["backgroundColor"]]
        for text in (theme["textColor"], theme["linkColor"], theme["primaryColor"], style["quiet"], style["accent"]):
            for ground in (*grounds, style["card"]):
                assert contrast(text, ground) >= 4.5, (name, text, ground)
        for box in ("error", "hint", "good"):
            assert contrast(style["ink"], style[box]) >= 7, (name, box)


def test_nothing_is_fetched_from_elsewhere() -> None:
    config = (ROOT / ".streamlit/config.toml").read_text()
    assert not re.search(r"https?://|//\w", config)
    assert not re.search(r"https?://|@import", (ROOT / "assets/style.css").read_text())
    for face in tomllib.loads(config)["theme"]["fontFaces"]:
        assert (ROOT / face["url"].removeprefix("app/")).stat().st_size > 10_000
    assert "SIL Open Font License" in (ROOT / "static/fonts/OFL.txt").read_text()


def test_without_a_classifier_the_home_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ValueError("no weights are installed in assets/")

    monkeypatch.setattr(home, "load_classifier", missing)
    photo, heatmap = home._heatmap()
    assert photo.caption == "your photo"
    assert heatmap.caption == "no heatmap: no weights are installed in assets/"


def test_home_opens_with_two_doors() -> None:
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=WAIT).run()
    assert not test.exception
    page = words(test)
    assert "nv-sorry" not in page
    assert page.count("<img ") == 4
    assert page.count('alt="') == 4
    links = [link.proto.page for link in test.get("page_link")]
    assert links[:2] == ["cam", "normalize"]
    assert links[2:] == [page.address for group in PAGES.values() for page in group if page.address]
