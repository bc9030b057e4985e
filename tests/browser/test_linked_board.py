"""The board in a real browser: linked hover, kept elements, keyboard, touch, themes, no foreign request."""

import os
import re
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
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
expect.set_options(timeout=30_000)


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
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _open(browser: Browser, address: str, **context: Any) -> tuple[Page, list[str]]:
    page = browser.new_context(**({"viewport": {"width": 1440, "height": 1900}} | context)).new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(COUNT_FRAMES)
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
    page.goto(address, wait_until="commit")
    page.wait_for_selector("[data-panel=classes] .nv-ready")
    page.wait_for_function("document.querySelectorAll('.nv-plot:not(.nv-ready)').length === 0")
    return page, troubles


@pytest.fixture(scope="module")
def desktop(chromium: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    page, troubles = _open(chromium, address)
    yield page, troubles
    page.context.close()


COUNT_FRAMES = """window.framesSent = 0; window.bytesReceived = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (frame) { window.framesSent++; return send.call(this, frame); };
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener('message', (m) => {
        window.bytesReceived += m.data.byteLength ?? m.data.size; });
    }
  };"""
INK = """name => { const c = document.querySelector(`[data-panel=${name}] canvas`);
  if (!c.width) return 0;
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""


def _lit(page: Page, *panels: str) -> None:
    """Wait until the highlight of each of these panels is painted."""
    for panel in panels:
        page.wait_for_function(f"({INK})('{panel}') > 500")


def _dark(page: Page, *panels: str) -> None:
    """Wait until nothing is highlighted in these panels."""
    for panel in panels:
        page.wait_for_function(f"({INK})('{panel}') === 0")


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
    _dark(page, "cube", "before", "after", "bars")
    sent = page.evaluate("window.framesSent")
    page.hover(_plot("before"), position={"x": 200, "y": 100})
    _lit(page, "cube", "before", "after", "bars")
    expect(page.locator("tr.nv-lit th")).to_have_text("channel 3")
    expect(page.locator(".nv-formula mn.nv-lit")).to_have_count(1)  # x, the number of this picture
    x, mean, variance, gamma, y = _terms(page)
    assert gamma * (x - mean) / (variance + 1e-5) ** 0.5 == pytest.approx(y, abs=0.03)
    page.hover(_plot("cube"), position={"x": 110, "y": 150})
    expect(page.locator("tr.nv-lit th")).to_have_text(re.compile("channel [01]$"))
    page.hover(".nv-table tbody tr:nth-child(6)")
    expect(page.locator(".nv-line").first).to_have_text("channel 5")
    _lit(page, "cube", "bars")
    page.mouse.move(2, 2)
    _dark(page, "cube", "before", "after", "bars")
    assert page.evaluate("window.framesSent") == sent > 0  # the server was not asked
    assert not troubles


def test_pointing_at_a_number_of_the_formula_lights_its_picture(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(".nv-formula mn[data-term=mu]")
    expect(page.locator("[data-panel=cube].nv-lit")).to_have_count(1)
    _lit(page, "bars", "cube")
    page.mouse.move(2, 2)
    expect(page.locator(".nv-panel.nv-lit")).to_have_count(0)
    assert not troubles


def test_photo_map_and_overlay_share_the_place(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(_plot("photo"), position={"x": 120, "y": 80})
    _lit(page, "photo", "map", "overlay")
    widths = [
        page.evaluate(f"document.querySelector('[data-panel={name}] .nv-chart')._fullLayout.xaxis._length")
        for name in ("photo", "map", "overlay")
    ]
    assert max(widths) - min(widths) < 1.5  # pixels
    line = page.locator(".nv-board").nth(1).locator(".nv-line")
    expect(line).to_have_text(
        re.compile(r"Row \d+ of 14, column \d+ of 14\s*[\d.·⁻⁰-⁹¹²³]+ logits.*% of all positive evidence")
    )
    assert not troubles


def test_the_keyboard_moves_the_cell(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    page.focus(_plot("map"))
    line = page.locator(".nv-board").nth(1).locator(".nv-line")
    for key, place in (("ArrowUp", None), ("ArrowUp", -1), ("ArrowDown", 1)):
        before = re.search(r"Row (\d+)", line.inner_text())
        page.keyboard.press(key)
        after = re.search(r"Row (\d+)", line.inner_text())
        assert before and after
        assert place is None or int(after[1]) - int(before[1]) == place
    expect(page.locator(".nv-spoken").nth(1)).to_have_text(re.compile("^Row"))
    _lit(page, "photo", "map", "overlay")
    page.keyboard.press("Escape")
    _dark(page, "photo", "map", "overlay")
    assert not troubles


def test_a_slider_changes_the_picture_keeps_the_elements_and_is_fast(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.evaluate("document.querySelectorAll('.nv-chart, .nv-chart .main-svg').forEach(e => (e.dataset.mine = '1'))")
    mine = page.locator(".nv-chart[data-mine]").count()
    assert mine == 8
    slider = page.locator(".st-key-gain input")
    slider.focus()
    waits = []
    received = page.evaluate("window.bytesReceived")
    for _ in range(20):
        page.evaluate(
            """() => {
              const image = () => document.querySelector('[data-panel=after] .hm image').href.baseVal;
              const old = image();
              window.changed = new Promise((done, fail) => {
                setTimeout(() => fail(new Error('the picture did not change')), 30000);
                const look = () => (image() === old ? requestAnimationFrame(look) : done(performance.now()));
                look();
              });
            }"""
        )
        start = page.evaluate("performance.now()")
        page.keyboard.press("ArrowRight")
        waits.append(page.evaluate("window.changed") - start)
    p50, p95 = median(waits), quantiles(waits, n=20)[-1]
    kilobytes = (page.evaluate("window.bytesReceived") - received) / 1000 / len(waits)
    print(f"slider to changed picture: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {kilobytes:.1f} KB a change")
    assert 5 < kilobytes < 40
    assert page.locator(".nv-chart[data-mine]").count() == mine
    assert page.locator(".nv-chart .main-svg[data-mine]").count() >= mine
    assert all(wait > 0 for wait in waits)
    assert not troubles


def test_a_zoom_is_kept_and_shared(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    box = page.locator("[data-panel=before] .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90, steps=5)
    page.mouse.up()
    ranges = "name => document.querySelector(`[data-panel=${name}] .nv-chart`)._fullLayout.xaxis.range.map(Number)"
    page.wait_for_function(f"Math.abs(({ranges})('after')[1] - ({ranges})('after')[0]) < 40")  # of 56
    before, after = page.evaluate(ranges, "before"), page.evaluate(ranges, "after")
    assert before == pytest.approx(after)
    drawn = int(page.locator(".nv-board").first.get_attribute("data-drawn") or 0)
    page.locator(".st-key-gain input").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"Number(document.querySelector('.nv-board').dataset.drawn) > {drawn}")
    assert page.evaluate(ranges, "before") == pytest.approx(before)
    assert page.evaluate(ranges, "after") == pytest.approx(before)
    page.mouse.dblclick(box["x"] + 50, box["y"] + 50)
    page.wait_for_function(f"Math.abs(({ranges})('after')[1] - 55.5) < .01 && ({ranges})('before')[0] === -0.5")
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
def test_a_phone_stacks_the_panels_and_a_tap_lights_up(chromium: Browser, address: str, scheme: Any) -> None:
    page, troubles = _open(
        chromium, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
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
    _lit(page, "cube", "before", "after", "bars")
    assert not troubles
    page.context.close()
