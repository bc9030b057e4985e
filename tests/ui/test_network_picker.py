"""The network picker: embedded networks and their input sizes, and downloads from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from streamlit.testing.v1 import AppTest

from normviz.models import download
from normviz.models.catalog import SIZES
from normviz.models.curated import CURATED
from normviz.ui.inputs.network import ANOTHER
from tests.pages.test_pages import errors, open_page, words
from tests.support.checkpoints import write_checkpoint
from tests.support.fake_hub import Hub, fake_hub

WAIT = 60  # seconds
NAME = "someone/small-resnet"


def page() -> None:
    """A page that says which network it got."""
    import streamlit as st

    from normviz.ui.inputs import network
    from normviz.ui.kit import page_layout

    @st.fragment
    def work() -> None:
        with page_layout.guard():
            classifier = network.choose()
            st.text(f"{classifier.name}, {classifier.size} px, {len(classifier.classes)} classes")

    work()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one small network, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_JOBS", {})
    with fake_hub({NAME: write_checkpoint(tmp_path / "resnet", "resnet")}) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        yield made


def opened(**link: str) -> AppTest:
    test = AppTest.from_function(page, default_timeout=WAIT)
    for key, value in link.items():
        test.query_params[key] = value
    return test.run()


def got(test: AppTest) -> str:
    """What the page says of its network; nothing may have failed."""
    assert not test.exception, test.exception
    return test.text[0].value


def labels(test: AppTest) -> list[str]:
    return [button.label for button in test.button]


def captions(test: AppTest) -> str:
    return " ".join(caption.value for caption in test.caption)


def test_the_embedded_network_and_its_sizes() -> None:
    test = opened()
    assert got(test) == "photos, 128 px, 11 classes" and not errors(test)
    for one in CURATED:
        assert f"{one.id}, {one.megabytes} MB" in test.selectbox(key="net").options
    test.selectbox(key="size").select(SIZES[-1]).run()
    assert got(test) == "photos, 224 px, 11 classes"
    assert got(opened(size="160 px")) == "photos, 160 px, 11 classes"


def test_a_network_of_the_hub_is_offered_with_its_size_fetched_and_used(hub: Hub) -> None:
    test = opened(net=NAME)
    size = download.look_up(NAME).bytes
    assert got(test).startswith("photos, ") and labels(test) == [f"Download {size / 1e6:.1f} MB"]
    assert "Until then" in captions(test) and not errors(test)
    asked = len(hub.requests)
    test.run()
    assert len(hub.requests) == asked  # asked once, not at every change
    test.button[0].click().run()
    job = download.running(NAME)
    assert job is not None and job.wait(WAIT)
    test.run()
    assert got(test) == f"hub:{NAME}, 64 px, 4 classes" and not labels(test) and not errors(test)
    assert got(opened(net=ANOTHER, hub=f"https://huggingface.co/{NAME}")) == f"hub:{NAME}, 64 px, 4 classes"


def test_a_running_download_is_shown_and_stopped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gate.clear()
    monkeypatch.setattr(download, "CHUNK", 1024)
    test = opened(net=NAME)
    test.button[0].click().run()
    job = download.running(NAME)
    assert job is not None
    bars = [bar.proto.text for bar in test.get("progress")]
    assert len(bars) == 1 and bars[0].startswith(f"Downloading {NAME}: 0.")
    assert labels(test) == ["Stop download"]
    assert got(opened(net=NAME)).startswith("photos, ")  # another visitor sees the same bar
    test.button[0].click().run()
    hub.gate.set()
    assert job.wait(WAIT) and job.folder is None
    test.run()
    assert labels(test)[0].startswith("Download ") and not errors(test)


def test_what_fails_is_said_and_the_page_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    test = opened(net="someone/nothing")
    assert got(test).startswith("photos, ") and labels(test) == ["Try again"]
    assert "The hub has no public network someone/nothing; check the name." in errors(test)[0]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    offline = opened(net=CURATED[0].id)
    assert f"{CURATED[0].id} is not on this machine, and http://127.0.0.1:9 cannot be reached" in errors(offline)[0]
    assert CURATED[0].teaches in captions(offline) and got(offline).startswith("photos, ")
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.networks[CURATED[0].id] = hub.networks[NAME]
    offline.button(key="hub-again").click().run()
    assert not errors(offline) and labels(offline)[0].startswith("Download ")


def test_a_link_may_name_a_recommended_network_by_its_id(hub: Hub) -> None:
    hub.networks[CURATED[0].id] = hub.networks[NAME]
    for link in (CURATED[0].id, f"hub:{CURATED[0].id}", f"{CURATED[0].id}, {CURATED[0].megabytes} MB"):
        test = opened(net=link)
        assert test.selectbox(key="net").value == CURATED[0].id and "not offered" not in captions(test)
        assert CURATED[0].teaches in captions(test) and not errors(test)


def test_a_full_server_says_so_in_place_of_the_button(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMVIZ_DOWNLOADS", "0")
    test = opened(net=NAME)
    assert got(test).startswith("photos, ") and labels(test) == ["Try again"]
    assert "limit of 0 GB" in errors(test)[0]


def test_what_is_typed_may_not_be_a_folder_of_the_server(hub: Hub, tmp_path: Path) -> None:
    for typed in (str(tmp_path / "resnet"), "../resnet", "resnet", "<b>x</b>"):
        test = opened(net=ANOTHER, hub=typed)
        assert got(test).startswith("photos, ")
        assert "A network on the Hub is named owner/name" in errors(test)[0] and "<b>" not in errors(test)[0]
    assert not hub.requests
    assert "Until you enter an id" in captions(opened(net=ANOTHER))
    assert "not offered here" in captions(opened(net="/etc"))


def test_networks_of_the_server_stand_in_the_list(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMVIZ_LOCAL_MODELS", str(tmp_path))
    monkeypatch.setenv("NORMVIZ_MODELS", "mine=tests.support.user_models:small")
    test = opened(net="resnet")
    assert got(test) == "local:resnet, 64 px, 4 classes" and not errors(test)
    assert got(opened(net="photos, with more")).startswith("photos, ")
    mine = opened(net="mine")
    assert got(mine) == "mine, 32 px, 3 classes" and not errors(mine)


def test_a_real_page_explains_a_network_of_the_hub(hub: Hub) -> None:
    download.fetch(download.look_up(NAME))
    test = open_page("cam", net=NAME)
    assert not test.exception and not errors(test), words(test)
    assert "best guess" in words(test)
