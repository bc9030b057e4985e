"""Downloads: lookup, progress, cancellation, resumption, cache; every failure is one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from normviz.images import decode
from normviz.models import download
from normviz.models.catalog import load_classifier
from normviz.models.download import GIGABYTE, LARGEST, cached, fetch, hub_id, look_up, running, start
from normviz.models.hub import read_folder
from normviz.paths import ROOT
from normviz.samples import load_sample
from tests.support.checkpoints import write_checkpoint
from tests.support.fake_hub import Hub, fake_hub

NAME = "someone/small-resnet"
WAIT = 30.0  # seconds


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as stored on the hub, with files that are not needed."""
    folder = write_checkpoint(tmp_path_factory.mktemp("hub") / "resnet", "resnet")
    weights = load_file(folder / "model.safetensors")
    weights["filler"] = torch.zeros(2**19)  # 2 MB, so that there is a progress to see
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "README.md").write_text("words")
    return folder


@pytest.fixture
def hub(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one network, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_JOBS", {})
    with fake_hub({NAME: stored}) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        yield made


def test_a_name_s_forms() -> None:
    for text in (NAME, f"hub:{NAME}", f"https://huggingface.co/{NAME}/", f" {NAME} "):
        assert hub_id(text) == NAME


@pytest.mark.parametrize(
    "text", ["resnet", "../etc/passwd", "/etc/passwd", "a/b/c", "a/..", "a b/c", "a--b/c", "", "hub:", "a/ä"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is named owner/name, such as microsoft/resnet-18; received"):
        hub_id(text)


def test_look_up_lists_what_is_needed_and_its_bytes(hub: Hub, stored: Path) -> None:
    plan = look_up(NAME)
    names = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert [file for file, _ in plan.files] == names
    assert plan.bytes == sum((stored / name).stat().st_size for name in names)
    assert hub.requests == [f"GET /api/models/{NAME}"]


def test_fetched_once_with_progress_and_read(hub: Hub, stored: Path) -> None:
    assert cached(NAME) is None
    plan, seen = look_up(NAME), list[int]()
    folder = fetch(plan, seen.append)
    assert seen == sorted(seen) and seen[-1] == plan.bytes
    assert len(seen) >= plan.bytes / download.CHUNK  # at least once per chunk
    assert sorted(file.name for file in folder.iterdir()) == sorted(file for file, _ in plan.files)  # no pickle file
    assert cached(NAME) == folder
    asked = len(hub.requests)
    classifier = load_classifier(f"hub:{NAME}")
    assert classifier.name == f"hub:{NAME}" and classifier.title == NAME
    assert load_classifier(NAME).model is classifier.model and len(hub.requests) == asked  # no further request
    photo = decode(load_sample("chelsea"))
    expected = read_folder(stored, "x", "x").probabilities(photo)  # (classes,)
    torch.testing.assert_close(classifier.probabilities(photo), expected)


def test_load_classifier_fetches_by_itself_and_says_how_far(hub: Hub) -> None:
    shares: list[float] = []
    classifier = load_classifier(NAME, progress=shares.append)
    assert shares[-1] == 1 and len(classifier.classes) == 4
    with pytest.raises(ValueError, match=r"requires an input of 64 pixels, .*; received size 128"):
        load_classifier(NAME, 128)


def test_a_job_tells_its_progress_is_shared_and_ends(hub: Hub) -> None:
    hub.pause = 0.02
    plan = look_up(NAME)
    job = start(plan)
    assert start(plan) is job and running(NAME) is job
    shares, waits = [], []
    while not job.wait(0.02):
        shares.append(job.share)
        waits.append(job.seconds_left)
    assert job.finished and job.share == 1 and job.error is None and job.folder == cached(NAME)
    assert len({share for share in shares if 0 < share < 1}) >= 3 and shares == sorted(shares)
    assert any(seconds is not None and 0 < seconds < WAIT for seconds in waits)
    assert start(plan) is not job  # a new job with nothing to download


def test_a_stopped_job_ends_soon_and_leaves_nothing_half(hub: Hub) -> None:
    hub.pause = 0.05
    job = start(look_up(NAME))
    while job.share < 0.2:
        assert not job.wait(0.01)
    job.stop()
    assert job.wait(WAIT) and job.folder is None and job.error is None
    assert cached(NAME) is None
    hub.pause = 0.0
    again = start(look_up(NAME))
    assert again.wait(WAIT) and again.folder == cached(NAME) is not None


def test_a_text_model_is_refused_before_its_weights_are_fetched(hub: Hub, stored: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stored, tmp_path / "bert")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    hub.networks["someone/bert"] = folder
    job = start(look_up("someone/bert"))
    assert job.wait(WAIT)
    assert job.error is not None and "is a network of type 'bert' and does not classify images" in job.error
    assert not any("safetensors" in request for request in hub.requests)


def test_what_the_hub_lacks_or_keeps_back(hub: Hub, stored: Path, tmp_path: Path) -> None:
    hub.gated.add("someone/gated")
    for name in ("pickle", "empty", "plain"):
        hub.networks[f"someone/{name}"] = shutil.copytree(stored, tmp_path / name)
        (tmp_path / name / "model.safetensors").unlink()
    (tmp_path / "empty" / "pytorch_model.bin").unlink()
    hub.networks["someone/plain"] = shutil.copytree(stored, tmp_path / "plain2")
    (tmp_path / "plain2" / "preprocessor_config.json").unlink()
    for name, sentence in {
        "nothing": "the hub has no public network someone/nothing; check the name",
        "gated": "requires its license to be accepted",
        "pickle": "provides only pickled weights",
        "empty": "someone/empty has no weights; choose a network whose page lists model.safetensors",
        "plain": "someone/plain has no preprocessor_config.json, so it is no transformers image classifier",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            look_up(f"someone/{name}")
    hub.broken = True
    with pytest.raises(ValueError, match=rf"the hub refuses to send {NAME} \(HTTP 500\); try again later"):
        look_up(NAME)


def test_a_huge_network_is_refused_before_anything_is_fetched(hub: Hub, stored: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stored, tmp_path / "huge")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(LARGEST + 1)  # sparse: it uses no disk space
    hub.networks["someone/huge"] = folder
    with pytest.raises(ValueError, match=r"someone/huge has 2,000 MB, above the limit of 2,000 MB"):
        look_up("someone/huge")


def test_downloads_may_not_fill_the_disk(
    hub: Hub, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.networks["someone/another"] = stored
    one = look_up(NAME).bytes
    monkeypatch.setenv("NORMVIZ_DOWNLOADS", f"{1.5 * one / GIGABYTE:.9f}")
    assert not download.cached_sizes()
    other = look_up("someone/another")
    folder = fetch(look_up(NAME))
    assert list(download.cached_sizes()) == ["models--someone--small-resnet"]
    assert one <= sum(download.cached_sizes().values()) < one + 100  # including the commit file, not the links
    refused = (
        r"someone/another has 2 MB, but downloaded networks already use 0\.0 GB of the limit of 0\.00\d+ GB; .*"
        r"NORMVIZ_DOWNLOADS"
    )
    with pytest.raises(ValueError, match=refused):
        look_up("someone/another")
    asked = len(hub.requests)
    job = start(other)  # looked up before the other one filled the cache
    assert job.wait(WAIT) and job.error and job.error.startswith("someone/another has 2 MB")
    assert len(hub.requests) == asked and cached("someone/another") is None
    assert fetch(look_up(NAME)) == folder  # cached files need no space
    for text in ("10", "inf"):
        monkeypatch.setenv("NORMVIZ_DOWNLOADS", text)
        assert look_up("someone/another") == other
    for text in ("much", "-1", "nan"):
        monkeypatch.setenv("NORMVIZ_DOWNLOADS", text)
        with pytest.raises(ValueError, match=f"NORMVIZ_DOWNLOADS must be a number of GB, .* received '{text}'"):
            look_up("someone/another")


def test_room_is_kept_for_what_is_on_its_way(hub: Hub, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.networks["someone/another"] = stored
    first, other = look_up(NAME), look_up("someone/another")
    monkeypatch.setenv("NORMVIZ_DOWNLOADS", f"{1.5 * first.bytes / GIGABYTE:.9f}")
    hub.gate.clear()
    job = start(first)
    while not job.done:  # until the configuration has arrived, without the weights
        assert not job.wait(0.01)
    with pytest.raises(ValueError, match="someone/another has 2 MB"):
        fetch(other)
    job.stop()
    hub.gate.set()
    assert job.wait(WAIT)
    assert fetch(other) == cached("someone/another")  # the space is available again


def test_what_other_programs_keep_in_the_cache_does_not_count(hub: Hub, tmp_path: Path) -> None:
    """A network without a preprocessor was not downloaded by this application."""
    text = tmp_path / "cache" / "models--someone--bert" / "snapshots" / "1"
    text.mkdir(parents=True)
    (text / "model.safetensors").write_bytes(bytes(1000))
    assert not download.cached_sizes()
    (text / "preprocessor_config.json").write_bytes(bytes(10))
    assert download.cached_sizes() == {"models--someone--bert": 1010}


def test_without_a_connection_there_is_a_sentence_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(look_up(NAME))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # no server on this port
    begin = time.monotonic()
    with pytest.raises(
        ValueError, match=r"someone/else is not on this machine, and http://127.0.0.1:9 cannot be reach"
    ):
        load_classifier("hub:someone/else")
    assert time.monotonic() - begin < download.TIMEOUT + 5
    assert load_classifier(NAME).title == NAME  # a cached network needs no connection
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="someone/else is not on this machine, and HF_HUB_OFFLINE forbids downloads"):
        look_up("someone/else")


def test_transformers_and_the_hub_are_imported_only_when_they_are_needed() -> None:
    script = (
        "import sys, normviz, normviz.models.catalog as c, normviz.ui.inputs.network, app;"
        "c.models(); c.load_classifier();"
        "print([name for name in ('transformers', 'huggingface_hub', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
