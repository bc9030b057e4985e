"""The board in a real browser: linked hover, pins, turned cubes, kept elements, keyboard, touch, themes."""

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


def _open(browser: Browser, address: str, path: str = "", **context: Any) -> tuple[Page, list[str]]:
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
    page.goto(f"{address}/{path}", wait_until="commit")
    page.wait_for_selector("[data-panel=pie] .nv-ready")
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
INK = """name => { const c = document.querySelector(`[data-panel=${name}] .nv-over`);
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
    formula = page.locator(".nv-formula").first
    places = [formula.locator(f"mn[data-term={name}]") for name in ("x", "mu", "var", "gamma", "y")]
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
    expect(page.locator("tr.nv-lit th")).to_have_text(re.compile("channel [0-3]$"))
    page.locator(".nv-table").first.locator("tbody tr:nth-child(6)").hover()
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
    assert mine == 13
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
    page.mouse.move(2, 2)
    page.focus(_plot("classes"))
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("text=Chosen: tench")
    assert not troubles


def _row(page: Page, board: int = 0) -> str:
    """The lit row of a board's table."""
    row = page.locator(".nv-board").nth(board).locator("tr.nv-lit th")
    expect(row).to_have_count(1)
    return row.inner_text()


def _block(page: Page, panel: str = "cube") -> str:
    """The painted block, as an address of its pixels."""
    drawn: str = page.evaluate("name => document.querySelector(`[data-panel=${name}] .nv-block`).toDataURL()", panel)
    return drawn


def _drag(page: Page, across: float, below: float, start: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
    """Drag the cube from a place given in shares of its size; returns the place of the pointer."""
    box = page.locator(_plot("cube")).bounding_box()
    assert box is not None
    x, y = box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + below, steps=12)
    page.wait_for_timeout(60)  # a frame
    return x + across, y + below


@pytest.fixture
def fresh(chromium: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    page, troubles = _open(chromium, address)
    yield page, troubles
    page.context.close()


COLOURS = """([x, y]) => {
  const block = document.querySelector('[data-panel=cube] .nv-block'), box = block.getBoundingClientRect();
  const [across, below] = [(x - box.x) * devicePixelRatio, (y - box.y) * devicePixelRatio];
  const colour = document.querySelector('.nv-line').style.getPropertyValue('--nv-colour');
  const named = colour.match(/[0-9A-F]{2}/gi).map((part) => parseInt(part, 16));
  const lit = document.querySelector('.nv-board').querySelectorAll('tr.nv-lit').length;
  return [[...block.getContext('2d').getImageData(across, below, 1, 1).data], named, lit];
}"""


TIME_FRAMES = """() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.frameTimes = [];
  window.requestAnimationFrame = (work) => ask((time) => {
    const start = performance.now();
    work(time);
    if (document.querySelector('.nv-turning')) window.frameTimes.push(performance.now() - start);
  });
}"""


def test_a_drag_turns_the_cube_and_the_same_group_stays_lit(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    start, button = _block(page), page.locator("[data-panel=cube] button")
    expect(button).to_be_hidden()
    _drag(page, 0, 0)
    lit = _row(page)
    page.mouse.up()  # no move: a click pins, a second one releases
    page.mouse.down()
    page.mouse.up()
    page.evaluate(TIME_FRAMES)
    _drag(page, -90, 40)
    frames = page.evaluate("window.frameTimes")
    print(f"{len(frames)} frames of a turning cube: median {median(frames):.1f} ms, longest {max(frames):.1f} ms")
    assert _row(page) == lit and _block(page) != start
    page.mouse.up()
    expect(button).to_be_visible()
    button.click()
    expect(button).to_be_hidden()
    assert _block(page) == start
    _drag(page, 200, -120)
    page.mouse.up()
    page.mouse.dblclick(*_drag(page, 0, 0))
    page.mouse.up()
    expect(button).to_be_hidden()
    assert _block(page) == start
    assert not troubles


def test_in_every_view_a_cell_is_where_it_is_painted(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    box = page.locator(_plot("cube")).bounding_box()
    assert box is not None
    met, agreed = set(), []
    for across, below in ((0, 0), (150, 20), (170, -160), (160, 60)):
        if across:
            _drag(page, across, below)
            page.mouse.up()
        for k in range(1, 14):
            place = [box["x"] + k * box["width"] / 14, box["y"] + box["height"] * (0.35 + 0.03 * (k * 5 % 11))]
            page.mouse.move(*place)
            page.wait_for_timeout(40)
            painted, named, lit = page.evaluate(COLOURS, place)
            if painted[3] == 0:  # beside the block
                assert lit == 0
                continue
            shares = [(a + 1) / (b + 1) for a, b in zip(painted, named, strict=False) if b > 60]
            met.add((across, *named))
            agreed.append(lit == 1 and max(shares) - min(shares) < 0.15 and max(shares) <= 1.05)  # the hue, in shade
    assert len(met) > 8 and len(agreed) > 20
    assert sum(agreed) > 0.7 * len(agreed)  # the others are lines between two cells
    assert not troubles


def test_the_view_is_kept_while_knobs_and_theme_change(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    _drag(page, 100, 30)
    page.mouse.up()
    page.mouse.move(2, 2)
    turned, board = _block(page), page.locator(".nv-board").first
    for change in ("gain", "view", "theme"):
        drawn = int(board.get_attribute("data-drawn") or 0)
        if change == "gain":
            page.locator(".st-key-gain input").focus()
            page.keyboard.press("ArrowRight")
        elif change == "view":
            page.get_by_text("N × C").click()
        else:
            page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"Number(document.querySelector('.nv-board').dataset.drawn) > {drawn}")
        expect(page.locator("[data-panel=cube] button")).to_be_visible()
        assert (_block(page) == turned) == (change != "theme")  # in the dark the names are light
    assert not troubles


def test_keys_turn_the_cube_move_the_cell_round_its_corners_and_pin_it(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    start = _block(page)
    page.focus(_plot("cube"))
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_timeout(60)
    assert _block(page) != start
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(60)
    assert _block(page) == start
    page.keyboard.press("ArrowRight")
    rows = [_row(page)]
    for _ in range(11):
        page.keyboard.press("ArrowRight")
        rows.append(_row(page))
    assert rows == [f"channel {k}" for k in range(12)]  # along the front, one channel a step
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):  # the side is channel 11 alone
        page.keyboard.press(key)
    assert _row(page) == "channel 11"
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Clicked: cube:3,11,2")
    expect(page.locator(".nv-line").first).to_contain_text("channel 11")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    page.keyboard.press("Escape")
    _dark(page, "cube", "before", "after", "bars")
    assert not troubles


WATCH = """() => {
  const line = document.querySelector('.nv-line'), watched = { childList: true, subtree: true, characterData: true };
  window.lines = [];
  new MutationObserver(() => window.lines.push(line.textContent)).observe(line, watched);
}"""


def test_a_click_pins_a_cell_and_the_server_hears_of_it(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    line = page.locator(".nv-line").first
    page.hover(_plot("before"), position={"x": 200, "y": 100})
    here = line.inner_text()
    place = re.match(r"H (\d+), W (\d+): channel 3$", here)
    assert place
    page.evaluate(WATCH)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(f"text=Clicked: slice:{place[1]},{place[2]}")
    page.wait_for_timeout(300)
    assert {text[: len(here)] for text in page.evaluate("window.lines")} <= {here, ""}  # it did not flicker
    numbers = _terms(page)
    page.hover(_plot("after"), position={"x": 150, "y": 60})
    assert line.inner_text() != here and _terms(page) != numbers
    page.mouse.move(2, 2)
    expect(line).to_contain_text(here)
    expect(line).to_contain_text("pinned")
    assert _terms(page) == numbers and _row(page) == "channel 3"
    _lit(page, "cube", "before", "after", "bars")
    page.locator(".st-key-gain input").focus()
    page.keyboard.press("ArrowRight")  # γ = 1.01: the pin stays, its y follows
    page.wait_for_function("document.querySelector('.nv-formula mn[data-term=gamma]').textContent === '1.01'")
    expect(line).to_contain_text(here)
    page.hover(_plot("before"), position={"x": 200, "y": 100})
    page.mouse.down()
    page.mouse.up()  # a second click on the same cell releases it
    page.mouse.move(2, 2)
    expect(page.get_by_text("Clicked: slice:", exact=True)).to_be_visible()
    _dark(page, "cube", "before", "after", "bars")
    page.locator(".nv-table").first.locator("tbody tr:nth-child(6)").click()
    page.mouse.move(2, 2)
    assert _row(page) == "channel 5"
    _lit(page, "cube", "bars")
    page.locator("[data-panel=cube] .nv-title").click()  # beside the cells
    _dark(page, "cube", "bars")
    assert not troubles


def test_a_cell_of_the_cube_opens_its_slice_and_a_link_opens_with_its_pin(
    chromium: Browser, address: str, fresh: tuple[Page, list[str]]
) -> None:
    page, troubles = fresh
    _drag(page, 0, 0, (0.45, 0.6))
    lit = _row(page)
    page.mouse.up()
    page.wait_for_selector("text=Clicked: cube:0")
    place = re.search(r"cube:0,(\d+),(\d)", page.locator("text=Clicked: cube").inner_text())
    assert place and lit == f"channel {place[1]}"
    page.mouse.move(2, 2)
    expect(page.locator(".nv-line").first).to_contain_text(f"H {9 * int(place[2])}, W 5: {lit}")
    _lit(page, "cube", "before", "after", "bars")
    assert not troubles
    page, troubles = _open(chromium, address, "?cell=40,7")
    expect(page.locator(".nv-line").first).to_contain_text("H 40, W 7: channel 3")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    _lit(page, "cube", "before", "after", "bars")
    page.keyboard.press("Escape")
    _dark(page, "cube", "before", "after", "bars")
    assert not troubles
    page.context.close()


def test_padding_is_said_and_lights_no_statistic(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    page.locator(_plot("padded-before")).scroll_into_view_if_needed()
    shape = page.locator("[data-panel=padded-before] .shapelayer path").first.bounding_box()
    assert shape is not None
    page.mouse.move(shape["x"] + shape["width"] / 2, shape["y"] + shape["height"] / 2)
    board = page.locator(".nv-board").nth(2)
    expect(board.locator(".nv-line")).to_have_text(re.compile(r"^T 1[3-9], D \d: padding: not counted$"))
    expect(board.locator("tr.nv-lit")).to_have_count(0)
    _dark(page, "padded-cube")
    page.mouse.move(shape["x"] + shape["width"] / 2, shape["y"] - 20)
    expect(board.locator(".nv-line")).to_have_text(re.compile(r"^T \d+, D (\d): feature \1$"))
    _lit(page, "padded-cube", "padded-before", "padded-after")
    assert not troubles


def test_charts_without_axes_keep_their_view_beside_other_boards(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    boards = page.locator(".nv-board")
    one, other = boards.nth(2).bounding_box(), boards.nth(3).bounding_box()
    assert one and other and abs(one["y"] - other["y"]) < 2 and other["x"] > one["x"] + one["width"]
    chart = "document.querySelector('[data-panel=surface] .nv-chart')"
    page.locator(_plot("surface")).scroll_into_view_if_needed()
    box = page.locator(_plot("surface")).bounding_box()
    assert box is not None
    eye = f"(({{ x, y, z }}) => [x, y, z])({chart}._fullLayout.scene._scene.getCamera().eye)"
    start = page.evaluate(eye)
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_function(f"Math.abs({eye}[0] - {start[0]}) > .1")
    turned = start
    while (now := page.evaluate(eye)) != turned:  # the scene comes to rest
        turned = now
        page.wait_for_timeout(500)
    page.locator(".st-key-bend input").focus()
    page.keyboard.press("End")
    page.wait_for_function(f"Math.abs(Math.max(...[...{chart}._fullData[0].z].flatMap((row) => [...row])) - 2) < .1")
    assert page.evaluate(eye) == pytest.approx(turned)
    page.mouse.click(*(box["x"] + 100, box["y"] + 100))
    page.locator(_plot("pie")).hover()
    assert page.evaluate(
        "getComputedStyle(document.querySelector('[data-panel=pie] .main-svg')).background"
    ).startswith("rgba(0, 0, 0, 0)")
    assert not troubles


def test_a_finger_scrolls_the_page_over_a_cube_and_turns_it_sideways(chromium: Browser, address: str) -> None:
    page, troubles = _open(chromium, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator(_plot("cube")).scroll_into_view_if_needed()
    box = page.locator(_plot("cube")).bounding_box()
    assert box is not None
    start = _block(page)
    protocol = page.context.new_cdp_session(page)
    top = "document.querySelector('.nv-board').getBoundingClientRect().y"

    def touch(kind: str, *points: tuple[float, float]) -> None:
        protocol.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
        page.wait_for_timeout(20)

    def swipe(across: float, below: float) -> float:
        """How far a finger that swipes over the panel moves the page."""
        before = page.evaluate(top)
        assert box is not None
        x, y = box["x"] + 180 - across / 2, box["y"] + 180 - below / 2
        touch("touchStart", (x, y))
        for k in range(1, 13):
            touch("touchMove", (x + k * across / 12, y + k * below / 12))
        touch("touchEnd")
        page.wait_for_timeout(300)
        return float(page.evaluate(top) - before)

    assert swipe(0, -120) < -60
    assert swipe(0, 120) > 60
    assert _block(page) == start
    _dark(page, "cube")
    assert abs(swipe(120, 0)) < 5
    assert _block(page) != start
    expect(page.locator("[data-panel=cube] button")).to_be_visible()
    page.tap(_plot("cube"), position={"x": 180, "y": 150})
    page.wait_for_selector("text=Clicked: cube:")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    page.locator(_plot("surface")).scroll_into_view_if_needed()
    box = page.locator(_plot("surface")).bounding_box()
    assert box is not None
    eye = "document.querySelector('[data-panel=surface] .nv-chart')._fullLayout.scene.camera.eye.x"
    seen = page.evaluate(eye)
    assert swipe(0, 120) > 60
    assert page.evaluate(eye) == seen
    box = page.locator(_plot("surface")).bounding_box()
    assert box is not None and abs(swipe(120, 0)) < 5
    page.wait_for_function(f"Math.abs({eye} - {seen}) > .1")
    assert not troubles
    page.context.close()


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
