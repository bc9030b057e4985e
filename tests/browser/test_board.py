"""The board in a real browser: linked hover, kept elements, keyboard, touch, themes, no foreign request."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _chromium() -> str | None:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("app")
    shutil.copy(Path(__file__).parent / "board_demo.py", folder)
    shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
    shutil.copytree(ROOT / "static" / "fonts", folder / "static" / "fonts")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "board_demo.py", "--server.port", str(port)],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = _chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium was found: the browser tests must run here")
        pytest.skip("no Chromium was found; install it to run the browser tests")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def _open(browser: Browser, address: str, **context: Any) -> tuple[Page, list[str]]:
    page = browser.new_context(**({"viewport": {"width": 1440, "height": 1900}} | context)).new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(f"error {error}"))
    page.on("console", lambda said: troubles.append(f"console {said.text}") if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: (
            troubles.append(f"foreign {asked.url}")
            if not asked.url.startswith((address, "data:", f"blob:{address}"))
            else None
        ),
    )
    page.goto(address)
    page.wait_for_selector("[data-panel=classes] .nv-ready", timeout=30_000)
    page.wait_for_function("document.querySelectorAll('.nv-plot:not(.nv-ready)').length === 0")
    page.wait_for_timeout(500)
    return page, troubles


@pytest.fixture(scope="module")
def desktop(browser: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    page, troubles = _open(browser, address)
    yield page, troubles
    page.context.close()


def _ink(page: Page, panel: str) -> int:
    """How many pixels of the highlight's canvas are painted."""
    count: int = page.evaluate(
        """name => { const c = document.querySelector(`[data-panel=${name}] canvas`);
        if (!c.width) return 0;
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }""",
        panel,
    )
    return count


def _plot(panel: str) -> str:
    return f"[data-panel={panel}] .nv-plot"


def _terms(page: Page) -> list[float]:
    """The numbers of x, μ, σ², γ and y that the formula shows."""
    places = [page.locator(f".nv-formula mn[data-term={name}]") for name in ("x", "mu", "var", "gamma", "y")]
    texts = [place.text_content() or "" for place in places]  # MathML has no inner text
    return [float(text.strip("()").replace("−", "-")) for text in texts]


def test_a_cell_under_the_pointer_lights_up_everywhere_and_in_the_formula(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    page.wait_for_timeout(150)
    assert [_ink(page, name) for name in ("cube", "before", "after", "bars")] == [0, 0, 0, 0]
    requests: list[str] = []
    page.on("websocket", lambda socket: requests.append(socket.url))
    page.hover(_plot("before"), position={"x": 200, "y": 100})
    page.wait_for_timeout(150)
    assert all(_ink(page, name) > 1000 for name in ("cube", "before", "after", "bars"))
    assert page.locator("tr.nv-lit").inner_text().startswith("channel 3")
    assert page.locator(".nv-formula mn.nv-lit").count() == 1  # x is lit
    x, mean, variance, gamma, y = _terms(page)
    assert gamma * (x - mean) / (variance + 1e-5) ** 0.5 == pytest.approx(y, abs=0.03)
    page.hover(_plot("cube"), position={"x": 150, "y": 120})
    page.wait_for_timeout(150)
    lit = page.locator("tr.nv-lit").inner_text()
    assert lit.startswith("channel") and not lit.startswith("channel 3\t")
    page.hover(".nv-table tbody tr:nth-child(6)")
    page.wait_for_timeout(150)
    assert "channel 5" in page.locator(".nv-line").first.inner_text()
    assert _ink(page, "cube") > 1000
    page.mouse.move(2, 2)
    page.wait_for_timeout(150)
    assert _ink(page, "cube") == 0
    assert not requests and not troubles


def test_pointing_at_a_number_of_the_formula_lights_its_picture(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(".nv-formula mn[data-term=mu]")
    page.wait_for_timeout(150)
    assert page.locator("[data-panel=cube].nv-lit").count() == 1
    assert _ink(page, "bars") > 1000
    page.mouse.move(2, 2)
    page.wait_for_timeout(150)
    assert page.locator(".nv-panel.nv-lit").count() == 0 and not troubles


def test_photo_map_and_overlay_share_the_place(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(_plot("photo"), position={"x": 120, "y": 80})
    page.wait_for_timeout(150)
    assert all(_ink(page, name) > 300 for name in ("photo", "map", "overlay"))
    readout = page.locator(".nv-board").nth(1).locator(".nv-line").inner_text()
    assert "of 14" in readout and "logits" in readout and "% of all positive evidence" in readout
    assert not troubles


def test_the_keyboard_moves_the_cell(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    page.focus(_plot("map"))
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    line = page.locator(".nv-board").nth(1).locator(".nv-line")
    before = line.inner_text()
    page.keyboard.press("ArrowDown")
    assert line.inner_text() != before
    assert page.locator(".nv-spoken").nth(1).inner_text()
    page.keyboard.press("Escape")
    page.wait_for_timeout(150)
    assert _ink(page, "map") == 0 and not troubles


def test_a_slider_changes_the_picture_keeps_the_elements_and_is_fast(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.evaluate("document.querySelectorAll('.nv-chart, .nv-chart .main-svg').forEach(e => (e.dataset.mine = '1'))")
    mine = page.locator(".nv-chart[data-mine]").count()
    assert mine == 8
    slider = page.locator("[data-testid=stSlider] [role=slider]").nth(1)
    slider.focus()
    waits = []
    for _ in range(20):
        page.evaluate(
            """() => {
              const image = () => document.querySelector('[data-panel=after] .hm image').href.baseVal;
              const old = image();
              window.changed = new Promise(done => {
                const look = () => (image() === old ? requestAnimationFrame(look) : done(performance.now()));
                look();
              });
            }"""
        )
        start = page.evaluate("performance.now()")
        page.keyboard.press("ArrowRight")
        waits.append(page.evaluate("window.changed") - start)
    p50, p95 = median(waits), quantiles(waits, n=20)[-1]
    print(f"slider to changed picture: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    assert page.locator(".nv-chart[data-mine]").count() == mine
    assert page.locator(".nv-chart .main-svg[data-mine]").count() >= mine
    assert p50 < 1500, "one change of a slider takes more than a second and a half"
    assert not troubles


def test_a_zoom_is_kept_and_shared(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    box = page.locator("[data-panel=before] .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90, steps=5)
    page.mouse.up()
    page.wait_for_timeout(600)
    ranges = "name => document.querySelector(`[data-panel=${name}] .nv-chart`)._fullLayout.xaxis.range.map(Number)"
    before, after = page.evaluate(ranges, "before"), page.evaluate(ranges, "after")
    assert before == pytest.approx(after)
    assert abs(before[1] - before[0]) < 40  # of 56
    drawn = int(page.locator(".nv-board").first.get_attribute("data-drawn") or 0)
    page.locator("[data-testid=stSlider] [role=slider]").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"Number(document.querySelector('.nv-board').dataset.drawn) > {drawn}")
    assert page.evaluate(ranges, "before") == pytest.approx(before)
    page.mouse.dblclick(box["x"] + 50, box["y"] + 50)
    page.wait_for_timeout(600)
    assert page.evaluate(ranges, "after") == pytest.approx([-0.5, 55.5])
    assert not troubles


def test_a_click_on_a_class_reports_it(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    page.click(_plot("classes"), position={"x": 200, "y": 70})
    page.wait_for_selector("text=Chosen: dog")
    page.focus(_plot("classes"))
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("text=Chosen: tench")
    assert not troubles


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_stacks_the_panels_and_a_tap_lights_up(browser: Browser, address: str, scheme: Any) -> None:
    page, troubles = _open(
        browser, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    left = page.evaluate(
        "[...document.querySelectorAll('.nv-panel')].map(e => Math.round(e.getBoundingClientRect().x))"
    )
    assert len(set(left)) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    font = page.evaluate("getComputedStyle(document.querySelector('[data-panel=bars] .xtick text')).fill")
    assert font == ("rgb(29, 39, 51)" if scheme == "light" else "rgb(232, 230, 225)")
    page.locator(_plot("before")).scroll_into_view_if_needed()
    page.tap(_plot("before"), position={"x": 150, "y": 100})
    page.wait_for_timeout(200)
    assert _ink(page, "before") > 1000 and _ink(page, "after") > 1000
    assert not troubles
    page.context.close()
