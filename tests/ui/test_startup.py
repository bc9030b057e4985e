"""The start: everything heavy before the server says it is ready, and a deep link as its first request."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from streamlit.web.server.app_discovery import discover_asgi_app
from websockets.asyncio.client import connect

from normviz.paths import ROOT
from normviz.ui import startup
from normviz.ui.kit import cache
from normviz.ui.kit.page_registry import OLD_ADDRESSES, PAGES
from normviz.ui.pages import home
from scripts.simulate_class import Student, figures, server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that nobody has visited yet."""
    with server() as (address, _):
        yield address


def open_page(url: str, page: str) -> Student:
    """Open a page as a browser does, and read it to its end."""

    async def visit() -> Student:
        async with connect(url.replace("http", "ws", 1) + "/_stcore/stream", subprotocols=["streamlit"]) as socket:  # type: ignore[list-item]
            student = Student(socket, page, random.Random(0))
            answer = await student.run()
            assert not answer.failed, f"the page {page!r} was not found or failed"
            return student

    with ThreadPoolExecutor(1) as fresh:  # in this thread a browser test may have left a running loop
        return fresh.submit(asyncio.run, visit()).result()


def test_the_first_request_to_a_fresh_server_may_be_a_deep_link(url: str) -> None:
    deep = open_page(url, "normalize")
    assert deep.sliders, "another page was shown"
    assert open_page(url, "").page_hash != deep.page_hash
    assert open_page(url, "normalize").page_hash == deep.page_hash


def test_fonts_are_served(url: str) -> None:
    with urlopen(f"{url}/app/static/fonts/open-sans-latin.woff2", timeout=10) as answer:
        assert answer.read(4) == b"wOF2"


def test_streamlit_run_serves_the_app_with_its_start() -> None:
    found = discover_asgi_app(ROOT / "app.py")
    assert found.import_string == "app:app"
    script = "import app; print(app.app._user_lifespan is app.startup.lifespan, app.app.script_path.name)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True app.py"


def test_the_list_of_pages_is_that_of_the_scripts() -> None:
    pages = [page for group in PAGES.values() for page in group]
    assert {Path(page.file) for page in pages} == {file.relative_to(ROOT) for file in (ROOT / "pages").glob("*.py")}
    assert len({page.address for page in pages}) == len({page.title for page in pages}) == len(pages)


def test_preparing_freezes_what_is_loaded_and_makes_the_home_page_s_pictures() -> None:
    before = gc.get_freeze_count()
    try:
        startup.prepare()
        assert gc.get_freeze_count() > before + 100_000
        assert gc.isenabled()
        assert home.pictures() is cache.keep("home previews", (), lambda: pytest.fail("not made at the start"))
        frozen = gc.get_freeze_count()
        later: list[list[int]] = [[] for _ in range(5000)]
        startup.settle("a page")
        assert gc.get_freeze_count() >= frozen + len(later)
        frozen = gc.get_freeze_count()
        startup.settle("a page")
        assert gc.get_freeze_count() <= frozen  # once a page
    finally:
        gc.unfreeze()


def test_figures_of_answers() -> None:
    from scripts.simulate_class import Answer

    answers = [Answer(seconds=k / 1000, received=1024 * k, failed=k == 3) for k in range(1, 101)]
    assert figures(answers) == {
        "answers": 100, "p50 ms": 50.5, "p95 ms": 96.0, "worst ms": 100.0, "KB": 50.5, "errors": 1,
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_refuses_an_old_python_in_a_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = ["make", "run", f"PYTHON={old}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert result.returncode != 0
    assert "NormViz needs Python 3.11 or newer" in result.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("old", "new"), OLD_ADDRESSES.items())
def test_an_old_address_redirects_with_its_parameters(url: str, old: str, new: str) -> None:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", f"/{old}?method=Layer+Normalization&eps=0.1")
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 308
    assert urljoin(f"{url}/{old}", answer.headers["Location"]) == f"{url}/{new}?method=Layer+Normalization&eps=0.1"


def test_every_redirect_leads_to_a_page() -> None:
    addresses = {page.address for group in PAGES.values() for page in group}
    assert set(OLD_ADDRESSES.values()) <= addresses and not set(OLD_ADDRESSES) & addresses
