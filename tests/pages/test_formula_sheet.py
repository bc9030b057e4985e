"""The formula sheet: every normalization stands on it with its facts, and the search finds it by any of its names."""

from __future__ import annotations

import re
from unittest.mock import ANY
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from normviz.registry import Normalization, get, methods
from normviz.ui.pages.formula_sheet import fits
from tests.pages.test_pages import errors, open_page, words

METHODS = methods("normalization")


@pytest.fixture(scope="module")
def sheet() -> AppTest:
    return open_page("formula_sheet")


def entries(test: AppTest) -> dict[str, str]:
    """The entries' texts by their titles."""
    texts = [element.value for element in test.markdown if element.value.startswith("### ")]
    return {text.partition("\n")[0].removeprefix("### "): text for text in texts}


def shown(**link: str) -> set[str]:
    """The names of the methods that a link leaves on the sheet."""
    test = open_page("formula_sheet", **link)
    assert not test.exception
    hidden = set(re.findall(r"st-key-nv-entry-(\w+)\)", words(test)))
    assert "display: none" in words(test) or not hidden
    count = f"{len(METHODS) - len(hidden)} of " if hidden else f"{len(METHODS)} normalizations"
    assert count in words(test)
    return {method.name for method in METHODS} - hidden


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_is_there_with_its_facts(sheet: AppTest, method: Normalization) -> None:
    text = entries(sheet)[method.title]
    for fact in (method.summary, method.formula, method.use, method.torch, method.common_mistake, *method.aliases):
        assert fact in text
    assert method.citation in text
    for knob in method.knobs:
        assert f"- `{knob.name}`" in text and knob.help in text


def test_the_sheet_is_whole_and_draws_without_a_word_of_trouble(sheet: AppTest) -> None:
    assert not sheet.exception and not errors(sheet)
    assert list(entries(sheet)) == [method.title for method in METHODS]
    assert f"{len(METHODS)} normalizations" in words(sheet)


def test_what_shares_is_said_in_words(sheet: AppTest) -> None:
    texts = entries(sheet)
    assert "over C/G, H, W in (N, C, H, W)" in texts["Group Normalization"]
    assert "With `training`, one statistic over N in (N, C)" in texts["Batch Normalization"]
    assert "With `per_position`, one statistic over C in (N, C, H, W)" in texts["Layer Normalization"]
    assert "No fixed groups in (N, C, H, W)" in texts["Local Response Normalization"]
    assert "It acts on the weights" in texts["Weight Normalization"]


def test_each_entry_leads_to_its_method(sheet: AppTest) -> None:
    links = [element.proto for element in sheet.get("page_link")]
    for method, link in zip(METHODS, links, strict=True):
        assert link.label == ("Open in Normalize" if method.takes_activations else "Open in Weights and blocks")
        asked = parse_qs(link.query_string)
        assert asked.pop("method") == [method.title]
        assert asked == ({} if not method.takes_activations or "nchw" in method.layouts() else {"shape": ANY})


def test_a_link_to_the_explorer_shows_the_method(sheet: AppTest) -> None:
    for name in ("group_norm", "ada_layer_norm"):  # the second takes no maps: the link names a shape
        link = sheet.get("page_link")[[method.name for method in METHODS].index(name)].proto
        asked = {key: values[0] for key, values in parse_qs(link.query_string).items()}
        explorer = open_page("normalize", **asked)
        assert not explorer.exception and not errors(explorer)
        assert explorer.selectbox("method").value == name


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("GN", "group_norm"), ("BatchNorm2D", "batch_norm"), ("batch-norm 2d", "batch_norm"),
        ("group_norm", "group_norm"), ("contrast normalization", "instance_norm"), ("power norm", "lp_norm"),
        ("ADAIN", "adaptive_instance_norm"), ("switchable", "switchable_norm"), ("root mean square", "rms_norm"),
    ],
)  # fmt: skip
def test_a_method_is_found_by_any_of_its_names(query: str, name: str) -> None:
    found = shown(find=query)
    assert name in found
    assert len(found) < len(METHODS) / 2


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_name_and_alias_finds_its_method(method: Normalization) -> None:
    for name in (method.title, method.name, *method.aliases):
        assert all(fits(method, asked) for asked in (name, name.upper(), name.replace(" ", ""), name[:3]))
    assert not fits(method, f"{method.title} unicorn")


def test_filters() -> None:
    assert shown(family="weight") == {method.name for method in METHODS if method.family == "weight"}
    assert shown(on="training") == {method.name for method in METHODS if method.acts_on == "training"}
    assert shown(find="norm", family="layer", on="activations") == {
        method.name for method in METHODS if method.family == "layer"
    }


def test_nothing_found_is_said() -> None:
    test = open_page("formula_sheet", find="unicorn")
    assert "No results" in words(test)
    assert f"0 of {len(METHODS)}" in words(test)


def test_typing_changes_what_is_shown() -> None:
    test = open_page("formula_sheet")
    test.text_input("find").set_value("spectral").run()
    assert "1 of" in words(test)
    assert get("spectral_norm").name not in re.findall(r"st-key-nv-entry-(\w+)\)", words(test))
