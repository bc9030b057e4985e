"""A headless Chromium; the running app, where a console error or a foreign request fails a test; the board alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from normviz.paths import ROOT
from scripts.simulate_class import server
from tests.browser.board_page import open_board

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# Opened by a deep link, Streamlit's own script looks for the server below the page's path first, and at the root then.
PROBES = ("_stcore/health", "_stcore/host-config")

ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

Open = Callable[..., Page]


def executable() -> str | None:
    """The path of an installed Chromium or Chrome; `NORMVIZ_CHROMIUM` names another."""
    named = os.environ.get("NORMVIZ_CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or (MAC if os.path.exists(MAC) else None)  # noqa: PTH110


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    path = executable()
    if path is None:
        sentence = "no Chromium is installed, so nothing was tried in a browser (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The address of the running app."""
    with server() as (address, _):
        yield address


@pytest.fixture
def open_page(chromium: Browser, url: str) -> Iterator[Open]:
    """A function that opens `path` in a fresh browser context, `width` by `height` pixels, light or dark.

    After the test, every console error and every request to another host is a failure.
    """
    troubles: list[str] = []
    contexts: list[BrowserContext] = []

    def console(message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        if message.type == "error" and not where.endswith(PROBES):
            troubles.append(f"console: {message.text} ({where})")

    def request(sent: Request) -> None:
        if sent.url.split(":")[0] not in ("data", "blob") and urlsplit(sent.url).netloc != urlsplit(url).netloc:
            troubles.append(f"foreign request: {sent.url}")

    def open_page(path: str = "", width: int = 1440, height: int = 900, scheme: str = "light") -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", console)
        page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
        page.on("request", request)
        page.goto(f"{url}/{path}")
        page.locator(".nv-page h1").wait_for()
        settled(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles, "\n".join(troubles)


def settled(page: Page) -> None:
    """Wait until the page's run has finished."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `board_demo.py`."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copy(Path(__file__).parent / "board_demo.py", folder)
    shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
    shutil.copytree(ROOT / "static" / "fonts", folder / "static" / "fonts")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "board_demo.py", "--server.port", str(port)],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:  # not listening yet, or still starting
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        running.terminate()
        running.wait(30)


@pytest.fixture
def fresh(chromium: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    """The page of `board_demo.py` for one test, and its troubles."""
    page, troubles = open_board(chromium, address)
    yield page, troubles
    page.context.close()
