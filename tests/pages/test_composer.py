"""The composer's page: presets set the ticks, ticks name the norm, and a link restores both."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from normviz.activations import LAYOUTS, Layout
from normviz.normalization.analysis.compose import code
from normviz.normalization.analysis.identify import presets
from normviz.ui.inputs.source import SHAPES
from tests.pages.test_pages import errors, open_page, words

SMALL: dict[Layout, tuple[int, ...]] = {
    "nc": (8, 16),
    "ntd": (8, 12, 16),
    "nchw": (8, 16, 4, 4),
    "ncdhw": (8, 16, 4, 4, 4),
}
PRESETS = [(layout, name) for layout in LAYOUTS for name in presets(layout, SMALL[layout])]


def ticked(test: AppTest) -> str:
    """The letters of the axes that are averaged over."""
    keys = [str(toggle.key) for toggle in test.toggle if toggle.value]
    return "".join(key[-1] for key in keys if key.startswith("over-")).lower()


def verdict(test: AppTest) -> str:
    """The sentence that names the norm."""
    assert not test.exception and not errors(test), words(test)
    return next(str(box.proto.body) for box in test.get("html") if "nv-sentence" in box.proto.body)


@pytest.mark.parametrize(("layout", "name"), PRESETS)
def test_a_link_to_a_known_norm_sets_the_ticks(layout: Layout, name: str) -> None:
    test = open_page("composer", shape=SHAPES[layout], known=name)
    choice = presets(layout, SMALL[layout])[name]
    assert f"This is {name}" in verdict(test)
    assert ticked(test) == choice.axes
    assert test.selectbox("known").value == name
    assert test.code[0].value == code(choice)


def test_the_first_view_is_batch_norm() -> None:
    test = open_page("composer")
    assert "This is Batch Normalization." in verdict(test)
    assert test.selectbox("known").value == "Batch Normalization"
    assert "8 \\cdot 16 \\cdot 16 = 2{,}048" in test.latex[0].value


def test_ticks_rename_the_norm_and_presets_set_them_again() -> None:
    test = open_page("composer")
    test.toggle("over-N").set_value(False).run()
    assert "This is Instance Normalization" in verdict(test)
    assert test.selectbox("known").value == "Instance Normalization"
    test.toggle("over-C").set_value(True).run()
    assert "This is Layer Normalization" in verdict(test)
    test.select_slider("groups").set_value(4).run()
    assert "This is Group Normalization (G = 4)" in verdict(test)
    assert test.selectbox("known").value == "Group Normalization"
    test.selectbox("known").set_value("RMS Normalization, per position").run()
    assert (ticked(test), test.toggle("centered").value) == ("c", False)
    test.selectbox("known").set_value("Batch Normalization, at inference").run()
    assert (ticked(test), test.toggle("running").value) == ("nhw", True)
    assert "def update(x)" in test.code[0].value
    test.selectbox("shape").set_value("ntd").run()
    assert (ticked(test), test.toggle("running").value) == ("nt", True)
    assert "This is Batch Normalization, at inference" in verdict(test)


def test_ticks_in_a_link_go_before_the_known_norm() -> None:
    test = open_page("composer", known="Layer Normalization", **{"over-C": "false"})
    assert "This is Instance Normalization" in verdict(test)
    test.run()
    assert ticked(test) == "hw"
    assert test.selectbox("known").value == "Instance Normalization"


def test_nobodys_norm_is_said_with_what_is_near() -> None:
    test = open_page("composer", **{"over-N": "false", "running": "true"})
    assert "This norm has no name yet" in verdict(test)
    assert "Instance Normalization (use the statistics of the batch)" in verdict(test).replace("&#x27;", "'")
    assert any("track_running_stats=True" in caption.value for caption in test.caption)
    assert test.selectbox("known").value == "my own choice"
    assert not test.get("page_link")


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"over-H": "false", "over-W": "false", "running": "true"}, "every later input must have this size"),
        ({"known": "Layer Normalization", "running": "true"}, "makes little sense"),
        ({"known": "RMS Normalization", "over-H": "false", "over-W": "false"}, "L2 Normalization"),
        ({"known": "Instance Normalization"}, "Adaptive Instance Normalization"),
        ({"known": "unicorn"}, "not offered"),
    ],
)
def test_what_should_be_known_is_said(link: dict[str, str], said: str) -> None:
    test = open_page("composer", **link)
    assert not errors(test)
    assert any(said in caption.value for caption in test.caption), [caption.value for caption in test.caption]


def test_no_axis_at_all_is_said() -> None:
    test = open_page("composer", shape="N, C", **{"over-N": "false"})
    assert "nothing is shared" in verdict(test)
    test.toggle("centered").set_value(False).run()
    assert "only the sign" in verdict(test)


@pytest.mark.parametrize("name", ["Group Normalization", "Batch Normalization, at inference", "Lp Normalization"])
def test_the_link_opens_the_explorer_on_the_same_norm(name: str) -> None:
    link = open_page("composer", known=name).get("page_link")[0].proto
    explorer = open_page("normalize", **{key: values[0] for key, values in parse_qs(link.query_string).items()})
    assert not explorer.exception and not errors(explorer)
    assert explorer.selectbox("method").format_func(explorer.selectbox("method").value) == name.partition(",")[0]
    if name.startswith("Group"):
        assert explorer.select_slider("num_groups").value == 8
    if name.startswith("Batch"):
        assert explorer.segmented_control(key="training").value is False
    if name.startswith("Lp"):
        assert explorer.slider("p").value == 3
