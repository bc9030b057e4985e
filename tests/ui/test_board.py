"""The board without a browser: what it sends, the files that it serves, the plain charts in its place."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit import config
from streamlit.testing.v1 import AppTest

from normviz.figures import formula, link, maps
from normviz.figures.normalization import cube, tensors
from normviz.ui.components import board as board_module
from normviz.ui.components.board import PLAIN, Panel, size_of

APP = """
import numpy as np
import streamlit as st
from normviz.figures import formula, maps
from normviz.figures.normalization import tensors
from normviz.ui.components.board import Panel, board

values = np.arange(12.0).reshape(3, 4) - 5
table = formula.GroupStatistics(np.arange(4), list("abcd"), *np.ones((4, 4)))
panels = [
    Panel("before", "Before", tensors.slice_heatmap(values, -6, 6, np.arange(4)[None].repeat(3, 0), ("N", "C"))),
    Panel("after", "After", tensors.slice_heatmap(values / 3, -6, 6, 0, role="after"), caption="One scale."),
    Panel("classes", "Classes", maps.class_bars(["cat", "dog"], [0.9, 0.1]), span=2),
]
clicked = board(panels, "board", formula.normalization(table, 0.5, cell=(2, 3)), on_click=lambda name: None)
st.text(f"clicked {clicked}")
"""


@pytest.fixture
def app(tmp_path: Path) -> Callable[[], AppTest]:
    """A function that runs the small app in a folder of its own."""
    (tmp_path / "app.py").write_text(APP)

    def run() -> AppTest:
        at = AppTest.from_file(str(tmp_path / "app.py"), default_timeout=60)
        at.run()
        assert not at.exception
        return at

    return run


def sent(at: AppTest) -> dict[str, Any]:
    """What the component receives."""
    (element,) = at.get("bidi_component")
    data: dict[str, Any] = json.loads(zlib.decompress(element.proto.bytes))
    return data


def test_the_board_sends_one_element_with_all_figures(app: Callable[[], AppTest]) -> None:
    at = app()
    data = sent(at)
    assert [panel["id"] for panel in data["panels"]] == ["before", "after", "classes"]
    assert data["panels"][2]["span"] == 2 and data["panels"][1]["caption"] == "One scale."
    assert data["panels"][0]["alt"] == "Before"  # the title stands in
    assert data["panels"][0]["figure"]["data"][0]["z"]["dtype"] == "u2"
    assert data["readout"]["eps"] == 0.5 and data["readout"]["statistics"]["labels"] == ["a", "b", "c", "d"]
    assert at.text[0].value == "clicked None"
    assert data["clicks"] is True and data["readout"]["cell"] == [2, 3]
    assert data["colors"][-1] == link.PADDING  # the last color is that of padding


@pytest.mark.parametrize("base", ["", "/tools/normviz/"])
def test_the_boards_files_are_served_from_where_they_are_installed(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "get_option", lambda name: base)
    data = board_module.payload([])
    client = TestClient(Starlette(routes=board_module.asset_routes()))
    script = client.get(data["script"])
    assert data["script"].startswith(f"{base.rstrip('/')}/board/") and script.headers["content-type"].startswith(
        "text/javascript"
    )
    assert "immutable" in script.headers["cache-control"]
    assert client.get(data["style"]).headers["content-type"].startswith("text/css")
    assert client.get(data["plotly"]).text == get_plotlyjs()
    folder = data["script"].rpartition("/")[0]
    imported = re.findall(r'from "\./(\w+\.js)"', script.text)
    assert len(imported) > 3 and all(client.get(f"{folder}/{name}").status_code == 200 for name in imported)


def test_plain_charts_on_request_hold_the_same_numbers(
    app: Callable[[], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLAIN, "1")
    at = app()
    figures = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    monkeypatch.delenv(PLAIN)
    assert [m.value for m in at.markdown] == ["**Before**", "**After**", "**Classes**"]
    assert [c.value for c in at.caption] == ["One scale."]
    assert at.dataframe[0].value["statistic"].tolist() == ["a", "b", "c", "d"]
    linked = [panel["figure"] for panel in sent(app())["panels"]]
    assert [f["data"][0].get("z") for f in figures] == [f["data"][0].get("z") for f in linked]


def test_a_cached_board_reports_clicks_only_with_a_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[bytes, Any]] = []
    monkeypatch.setattr(board_module, "_send", lambda data, key, on_click: sent.append((data, on_click)))
    drawn: list[int] = []

    def draw() -> tuple[list[Panel], None]:
        drawn.append(1)
        return [Panel("before", "Before", tensors.slice_heatmap(np.zeros((2, 2)), -1, 1))], None

    def hear(text: str) -> None:
        raise AssertionError(text)

    for on_click in (None, hear, hear):
        board_module.cached_board(draw, "board", ("kept for clicks",), on_click)
    asked = [json.loads(zlib.decompress(data))["clicks"] for data, _ in sent]
    assert asked == [False, True, True] and [heard for _, heard in sent] == [None, hear, hear]
    assert len(drawn) == 2  # one a kind, the third was kept


def test_a_normalize_screen_fits_its_budget() -> None:
    values = np.random.default_rng(0).normal(size=(56, 56))
    ids = np.arange(64)
    table = formula.GroupStatistics(ids, [f"channel {k}" for k in ids], *values[:4].repeat(2, 1)[:, :64])
    panels = [Panel(role, role, tensors.slice_heatmap(values, -4, 4, 3, role=role)) for role in ("before", "after")]
    assert size_of(panels, formula.normalization(table, 1e-5)) < 20_000
    assert size_of([Panel("c", "c", maps.class_bars(["cat"] * 11, [1 / 11] * 11))]) < 2_000
    block = np.arange(72).reshape(6, 12, 1).repeat(6, 2)  # the usual block, one statistic per example and channel
    turnable = Panel("cube", "Cube", cube.shared_axes_cube(block, ("N", "C", "H, W"), (32, 64, 3136)))
    assert size_of([turnable]) < 6_000
    assert size_of([turnable, *panels], formula.normalization(table, 1e-5)) < 26_000
