"""The page Compare maps without a browser: the sheet, the details of a cell, the weaknesses, and the cache."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from torch import Tensor, nn

from normviz.attribution import Probe
from normviz.attribution.compare import Map
from normviz.attribution.diagnosis.terms import terms
from normviz.experiments.drawbacks import drawbacks
from normviz.html import map_tables
from normviz.models.catalog import Classifier
from normviz.prints import map_sheet as figures
from normviz.registry import get
from normviz.samples import load_sample
from normviz.ui.components.map_sheet import MapCell, Row, Shown, cell_at, payload
from normviz.ui.inputs.photo import decoded
from normviz.ui.kit import cache, jobs
from normviz.ui.maps.photo import Photo
from normviz.ui.pages.compare_maps import comparison
from normviz.ui.pages.compare_maps.comparison import ComparisonRequest
from tests.pages.test_pages import errors, open_page, words
from tests.support.nets import pictures, pooled_net


def sheet_of(test: AppTest) -> dict[str, Any]:
    """What the sheet of maps was sent."""
    sent = [json.loads(element.proto.json) for element in test.get("bidi_component") if element.proto.json]
    (sheet,) = [data for data in sent if isinstance(data, dict) and "aspect" in data]
    return dict(sheet)


def fine(test: AppTest) -> None:
    assert not test.exception and not errors(test), words(test)


# The page


def test_methods_stand_beside_classes() -> None:
    test = open_page("compare_maps")
    fine(test)
    sheet = sheet_of(test)
    assert [row["heading"] for row in sheet["rows"]] == [
        get(name, "attribution").title for name in test.multiselect(key="methods").value
    ]
    assert all(row["maps"][0]["title"] == "cat" for row in sheet["rows"])
    assert all(len(row["maps"]) == 3 and "its own scale" in row["note"] for row in sheet["rows"])
    for row in sheet["rows"]:
        for shown in row["maps"]:
            assert shown["picture"].startswith("data:image/") and not shown["refused"]
    grad_cam = sheet["rows"][0]["maps"][0]
    assert grad_cam["cells"] == [8, 8] and len(grad_cam["values"]) == 64
    assert len(json.dumps(sheet)) < 250_000
    assert "sum over all 384 channels" in words(test) and "Grad-CAM, cat: row" in test.subheader[0].value


NORMS = ["batch norm", "group norm", "layer norm", "instance norm", "no normalization"]


@pytest.mark.parametrize("net", ["scenes, group norm", "photo twins, layer norm", "photos, batch norm"])
def test_methods_stand_beside_normalizations(net: str) -> None:
    test = open_page("compare_maps", columns="norms", net=net, methods="Grad-CAM")
    fine(test)
    (row,) = sheet_of(test)["rows"]
    assert [shown["title"] for shown in row["maps"]] == NORMS
    assert len({json.dumps(shown["values"]) for shown in row["maps"]}) == len(NORMS)  # a map of its own each
    assert "accuracy on test pictures" in words(test)
    assert "**Similarity between norms: Grad-CAM**" in [said.value for said in test.markdown]
    assert any("its 5 twins" in said.value for said in test.caption) == (net == "photos, batch norm")


def test_a_network_without_twins_is_told_to_choose_one_with_them() -> None:
    test = open_page("compare_maps", columns="norms", net="scenes, Clever Hans")
    assert "No variants of clever_hans with other normalizations" in " ".join(errors(test))


def test_cam_is_refused_in_its_cells_and_the_others_go_on() -> None:
    test = open_page("compare_maps", columns="layers", methods="CAM", scale=figures.SCALES["method"])
    fine(test)
    (row,) = sheet_of(test)["rows"]
    said = [shown["refused"] for shown in row["maps"]]
    assert all("global average pooling" in text for text in said[:-1]) and not said[-1]
    assert "one scale" in row["note"]


def test_a_cell_in_the_link_is_explained() -> None:
    test = open_page("compare_maps", cell="1, 0, 3, 5")
    fine(test)
    assert test.subheader[0].value == "LayerCAM, cat: row 3, column 5 of 8 × 8"
    assert sheet_of(test)["chosen"] == [1, 0, 3, 5]
    test.text_input(key="cell").set_value("3, 0, 4, 4").run()
    fine(test)
    assert "computed at the input" in words(test)


def test_no_method_is_said() -> None:
    test = open_page("compare_maps")
    test.multiselect(key="methods").set_value([]).run()
    assert "Choose at least one method" in " ".join(errors(test))


@pytest.mark.parametrize("name", ["coarse_at_depth", "cam_refused", "low_activation"])
def test_a_drawback_is_one_link_away(name: str) -> None:
    test = open_page("compare_maps", show=drawbacks()[name].title)
    fine(test)
    assert ">measured<" in words(test)
    assert len(sheet_of(test)["rows"]) >= 1


def test_maps_of_a_visitors_photo_stay_in_the_session() -> None:
    test = open_page("compare_maps", net="scenes, batch norm", methods="Grad-CAM")
    before = set(cache.collection("photo maps")._entries)
    test.file_uploader(key="photo-file").set_value(("cat.png", load_sample("coffee"), "image/png")).run()
    fine(test)
    assert set(cache.collection("photo maps")._entries) == before
    own = test.session_state["private photo maps"][1]
    assert {key[0] for key in own._entries} >= {"map", "probe"}  # also what a worker made
    assert sheet_of(test)["rows"][0]["maps"][0]["picture"]


# What it keeps


class Counted(nn.Module):
    """A network that counts its forward passes, its copies' too."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.passes = net, [0]

    def __deepcopy__(self, memo: dict[int, object]) -> Counted:
        other = Counted(copy.deepcopy(self.net, memo))
        other.passes = self.passes
        return other

    def forward(self, x: Tensor) -> Tensor:
        self.passes[0] += 1
        return self.net(x)  # type: ignore[no-any-return]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ComparisonRequest:
    """Two methods beside two classes of a small network that counts."""
    monkeypatch.setenv("NORMVIZ_DEVICE", "cpu")
    monkeypatch.setattr(cache, "_COLLECTIONS", {})
    model = Counted(pooled_net(torch.float32).eval().requires_grad_(False))
    classifier = Classifier("small", "a small network", model, ("ant", "bee", "cat", "dog"), None, size=16)
    photo = Photo("a cat", decoded(load_sample("chelsea")), "chelsea", "chelsea")
    return ComparisonRequest(
        photo,
        (classifier,),
        (get("grad_cam", "attribution"), get("cam", "attribution")),
        "classes",
        (2, 0),
        ("net.relu",),
    )


def quiet(label: str) -> jobs.Watch:
    return lambda job: None


def test_another_method_and_another_class_need_no_forward_pass(asked: ComparisonRequest) -> None:
    assert isinstance(asked.classifier.model, Counted)
    passes = asked.classifier.model.passes
    comparison.maps(asked, quiet)
    first = passes[0]
    methods = (get("grad_cam", "attribution"), get("layer_cam", "attribution"), get("grad_cam_pp", "attribution"))
    more = ComparisonRequest(asked.photo, asked.networks, methods, "classes", (2, 0), asked.layers)
    found = comparison.maps(more, quiet)
    other = ComparisonRequest(asked.photo, asked.networks, more.methods, "classes", (3, 1, 2), asked.layers)
    comparison.maps(other, quiet)
    assert passes[0] == first
    probe = Probe(asked.classifier.model, asked.classifier.prepare(asked.photo.image), 0, "net.relu")
    for line, method in zip(found, more.methods, strict=True):
        assert line[1].raw is not None
        np.testing.assert_allclose(line[1].raw, method.function(probe)[0].numpy(), rtol=1e-5, atol=1e-8)


def test_a_heavy_probe_is_not_kept(asked: ComparisonRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MAX_PROBE_BYTES", 0)
    comparison.maps(asked, quiet)
    assert all(key[0] == "map" for key in cache.collection("photo maps")._entries)  # type: ignore[index]


def test_a_slow_method_says_its_name_and_how_far_it_is(asked: ComparisonRequest) -> None:
    labels: list[str] = []
    slow = ComparisonRequest(
        asked.photo, asked.networks, (get("score_cam", "attribution"),), "classes", (2,), asked.layers
    )

    def watch(label: str) -> jobs.Watch:
        labels.append(label)
        return lambda job: None

    ((one,),) = comparison.maps(slow, watch)
    assert one.raw is not None and labels == ["Score-CAM of cat at net.relu"]


def test_the_download_holds_the_raw_maps(asked: ComparisonRequest) -> None:
    found = comparison.maps(asked, quiet)
    held = np.load(io.BytesIO(comparison.archive(asked, found)))
    assert sorted(held) == ["cam-ant", "cam-cat", "grad_cam-ant", "grad_cam-cat"]
    np.testing.assert_array_equal(held["cam-ant"], found[1][1].raw)


def test_the_sheet_is_printed(asked: ComparisonRequest) -> None:
    found = comparison.maps(asked, quiet)
    refused = [(*line[:1], Map("cam", 0, "x", None, "it needs another head")) for line in found]
    pixels = asked.photo.pixels
    for maps in (found, refused):
        picture = Image.open(io.BytesIO(comparison.printed(asked, maps, "own", pixels, 0.7, "inferno")))
        assert picture.width >= 900 and picture.height > 400
    with pytest.raises(ValueError, match="at least one map"):
        figures.print_sheet("none", "", [], pixels, 0.5, "inferno")


# Cells and scales


def test_a_click_is_a_cell() -> None:
    values = np.arange(24.0).reshape(4, 6)
    rows = [Row("", "", (Shown("a", cells=(4, 6), values=values), Shown("b", cells=(2, 3))))]
    assert cell_at("0,0,0.3,0.99", rows) == MapCell(0, 0, 1, 5)
    assert cell_at("0,0,-1,-1", rows) == MapCell(0, 0, 3, 5)  # from the keyboard: the strongest
    assert cell_at("0,1,0,0", rows) == MapCell(0, 1, 0, 0)
    assert cell_at("0,1,-1,-1", rows) == MapCell(0, 1, 1, 1)


def test_a_cell_is_read_as_it_was_written(asked: ComparisonRequest) -> None:
    found = comparison.maps(asked, quiet)
    for place in (MapCell(0, 0, 2, 3), MapCell(1, 1, 15, 0)):
        assert comparison.parse_cell(comparison.format_cell(place), found, asked.methods) == place
    strongest = comparison.strongest(found)
    for text in ("", "cat", "9, 0, 0, 0", "-1, 0, 0, 0", "0, 0, 0", "0, 0, ², 0"):
        assert comparison.parse_cell(text, found, asked.methods) == strongest
    assert comparison.parse_cell("1, 1, 99, 0", found, asked.methods) == comparison.strongest(found, 1, 1)


def test_scales_are_a_maps_own_or_a_methods() -> None:
    first, second, signed = np.array([[0.0, 2.0]]), np.array([[1.0, 8.0]]), np.array([[-3.0, 1.0]])
    rows: list[list[np.ndarray | None]] = [[first, None, second], [signed, first]]
    assert figures.limits(rows, "own") == [[(0, 2), (0, 8), (0, 8)], [(-3, 3), (0, 2)]]
    assert figures.limits(rows, "method") == [[(0, 8)] * 3, [(-3, 3)] * 2]
    assert figures.limits([[None]], "method") == [[(0, 1)]]


def test_only_small_maps_send_their_values() -> None:
    small, large = np.full((3, 2), 0.12345), np.zeros((64, 64))
    sent = payload([Row("a", "b", (Shown("s", values=small), Shown("l", values=large)))], "", 1.5, 0.7)
    first, second = sent["rows"][0]["maps"]
    assert first["values"] == ["0.123"] * 6 and second["values"] is None and not sent["live"]


def test_tables_say_what_they_hold() -> None:
    table = np.array([[1.0, -0.001, np.nan], [-0.001, 1.0, np.nan], [np.nan, np.nan, np.nan]])
    text = map_tables.similarity(["a<b", "c", "d"], table)
    assert "a&lt;b" in text and text.count(">–</td>") == 5 and ">0.00<" in text and "−0.00" not in text
    probe = Probe(pooled_net(), pictures(1), 2, "relu")
    apart = terms(get("grad_cam", "attribution"), probe, 1, 1, count=2)
    shown = map_tables.channels(apart, np.zeros((2, 12, 12), np.float32), 0.0, 1.0, relu=True)
    assert "the other 4 channels" in shown and "sum over all 6 channels" in shown
    assert ("a negative sum is set to 0" in shown) == (apart.total < 0)


def test_captions() -> None:
    assert comparison.caption(np.array([[-0.25, 4.64e-5]])) == "−0.25 to 4.6e−5"
    assert comparison.caption(np.zeros((2, 2))) == "blank: 0 everywhere"
