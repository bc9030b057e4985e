"""The board in a real browser: linked hover, pins, kept elements, keyboard, touch, themes."""

import re
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.board_page import drag, expect_dark, expect_lit, open_board, plot, row

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)


FRAMES = """count => new Promise((done) => {
  const next = () => (count-- > 0 ? requestAnimationFrame(next) : done()); next(); })"""


@pytest.fixture(scope="module")
def desktop(chromium: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    page, troubles = open_board(chromium, address)
    yield page, troubles
    page.context.close()


def terms(page: Page) -> list[float]:
    """The numbers of x, μ, σ², γ and y that the formula shows."""
    formula = page.locator(".nv-formula").first
    places = [formula.locator(f"mn[data-term={name}]") for name in ("x", "mu", "var", "gamma", "y")]
    texts = [place.text_content() or "" for place in places]  # MathML has no inner text
    return [float(text.strip("()").replace("−", "-")) for text in texts]


def test_a_cell_under_the_pointer_lights_up_everywhere_and_in_the_formula(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    expect_dark(page, "cube", "before", "after", "bars")
    sent = page.evaluate("window.framesSent")
    page.hover(plot("before"), position={"x": 200, "y": 100})
    expect_lit(page, "cube", "before", "after", "bars")
    expect(page.locator("tr.nv-lit th")).to_have_text("channel 3")
    expect(page.locator(".nv-formula mn.nv-lit")).to_have_count(1)  # x, the number of this picture
    x, mean, variance, gamma, y = terms(page)
    assert gamma * (x - mean) / (variance + 1e-5) ** 0.5 == pytest.approx(y, abs=0.03)
    page.hover(plot("cube"), position={"x": 110, "y": 150})
    expect(page.locator("tr.nv-lit th")).to_have_text(re.compile("channel [0-3]$"))
    page.locator(".nv-table").first.locator("tbody tr:nth-child(6)").hover()
    expect(page.locator(".nv-line").first).to_have_text("channel 5")
    expect_lit(page, "cube", "bars")
    page.mouse.move(2, 2)
    expect_dark(page, "cube", "before", "after", "bars")
    assert page.evaluate("window.framesSent") == sent > 0  # the server was not asked
    assert not troubles


def test_pointing_at_a_number_of_the_formula_lights_its_picture(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(".nv-formula mn[data-term=mu]")
    expect(page.locator("[data-panel=cube].nv-lit")).to_have_count(1)
    expect_lit(page, "bars", "cube")
    page.mouse.move(2, 2)
    expect(page.locator(".nv-panel.nv-lit")).to_have_count(0)
    assert not troubles


def test_photo_map_and_overlay_share_the_place(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.hover(plot("photo"), position={"x": 120, "y": 80})
    expect_lit(page, "photo", "map", "overlay")
    widths = [
        page.evaluate(f"document.querySelector('[data-panel={name}] .nv-chart')._fullLayout.xaxis._length")
        for name in ("photo", "map", "overlay")
    ]
    assert max(widths) - min(widths) < 1.5  # pixels
    line = page.locator(".nv-board").nth(1).locator(".nv-line")
    expect(line).to_have_text(
        re.compile(r"Cell \(\d+, \d+\) of 14 × 14\s*[\d.·⁻⁰-⁹¹²³]+ logits.*% of all positive evidence")
    )
    assert not troubles


def test_the_keyboard_moves_the_cell(desktop: tuple[Page, list[str]]) -> None:
    page, troubles = desktop
    page.mouse.move(2, 2)
    page.focus(plot("map"))
    line = page.locator(".nv-board").nth(1).locator(".nv-line")
    for _ in range(15):  # to the first row, from wherever another test has left the cell
        page.keyboard.press("ArrowUp")
    for key, place in (("ArrowDown", 1), ("ArrowDown", 1), ("ArrowUp", -1)):
        before = re.search(r"Cell \((\d+)", line.inner_text())
        page.keyboard.press(key)
        after = re.search(r"Cell \((\d+)", line.inner_text())
        assert before and after
        assert int(after[1]) - int(before[1]) == place
    expect(page.locator(".nv-spoken").nth(1)).to_have_text(re.compile("^Cell"))
    expect_lit(page, "photo", "map", "overlay")
    page.keyboard.press("Escape")
    expect_dark(page, "photo", "map", "overlay")
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
    page.click(plot("classes"), position={"x": 200, "y": 70})
    page.wait_for_selector("text=Chosen: dog")
    page.mouse.move(2, 2)
    page.focus(plot("classes"))
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("text=Chosen: tench")
    assert not troubles


WATCH = """() => {
  const line = document.querySelector('.nv-line'), watched = { childList: true, subtree: true, characterData: true };
  window.lines = [];
  new MutationObserver(() => window.lines.push(line.textContent)).observe(line, watched);
}"""


def test_a_click_pins_a_cell_and_the_server_hears_of_it(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    line = page.locator(".nv-line").first
    page.hover(plot("before"), position={"x": 200, "y": 100})
    here = line.inner_text()
    place = re.match(r"H (\d+), W (\d+): channel 3$", here)
    assert place
    page.evaluate(WATCH)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(f"text=Clicked: slice:{place[1]},{place[2]}")
    page.wait_for_timeout(300)
    assert {text[: len(here)] for text in page.evaluate("window.lines")} <= {here, ""}  # it did not flicker
    numbers = terms(page)
    page.hover(plot("after"), position={"x": 150, "y": 60})
    assert line.inner_text() != here and terms(page) != numbers
    page.mouse.move(2, 2)
    expect(line).to_contain_text(here)
    expect(line).to_contain_text("pinned")
    assert terms(page) == numbers and row(page) == "channel 3"
    expect_lit(page, "cube", "before", "after", "bars")
    page.locator(".st-key-gain input").focus()
    page.keyboard.press("ArrowRight")  # γ = 1.01: the pin stays, its y follows
    page.wait_for_function("document.querySelector('.nv-formula mn[data-term=gamma]').textContent === '1.01'")
    expect(line).to_contain_text(here)
    page.hover(plot("before"), position={"x": 200, "y": 100})
    page.mouse.down()
    page.mouse.up()  # a second click on the same cell releases it
    page.mouse.move(2, 2)
    expect(page.get_by_text("Clicked: slice:", exact=True)).to_be_visible()
    expect_dark(page, "cube", "before", "after", "bars")
    page.locator(".nv-table").first.locator("tbody tr:nth-child(6)").click()
    page.mouse.move(2, 2)
    assert row(page) == "channel 5"
    expect_lit(page, "cube", "bars")
    page.locator("[data-panel=cube] .nv-title").click()  # beside the cells
    expect_dark(page, "cube", "bars")
    assert not troubles


def test_a_cell_of_the_cube_opens_its_slice_and_a_link_opens_with_its_pin(
    chromium: Browser, address: str, fresh: tuple[Page, list[str]]
) -> None:
    page, troubles = fresh
    drag(page, 0, 0, (0.45, 0.6))
    lit = row(page)
    page.mouse.up()
    page.wait_for_selector("text=Clicked: cube:0")
    place = re.search(r"cube:0,(\d+),(\d)", page.locator("text=Clicked: cube").inner_text())
    assert place and lit == f"channel {place[1]}"
    page.mouse.move(2, 2)
    expect(page.locator(".nv-line").first).to_contain_text(f"H {9 * int(place[2])}, W 5: {lit}")
    expect_lit(page, "cube", "before", "after", "bars")
    assert not troubles
    page, troubles = open_board(chromium, address, "?cell=40,7")
    expect(page.locator(".nv-line").first).to_contain_text("H 40, W 7: channel 3")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    expect_lit(page, "cube", "before", "after", "bars")
    page.keyboard.press("Escape")
    expect_dark(page, "cube", "before", "after", "bars")
    assert not troubles
    page.context.close()


def test_padding_is_said_and_lights_no_statistic(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    page.locator(plot("padded-before")).scroll_into_view_if_needed()
    shape = page.locator("[data-panel=padded-before] .shapelayer path").first.bounding_box()
    assert shape is not None
    page.mouse.move(shape["x"] + shape["width"] / 2, shape["y"] + shape["height"] / 2)
    board = page.locator(".nv-board").nth(2)
    expect(board.locator(".nv-line")).to_have_text(re.compile(r"^T 1[3-9], D \d: padding: not counted$"))
    expect(board.locator("tr.nv-lit")).to_have_count(0)
    expect_dark(page, "padded-cube")
    page.mouse.move(shape["x"] + shape["width"] / 2, shape["y"] - 20)
    expect(board.locator(".nv-line")).to_have_text(re.compile(r"^T \d+, D (\d): feature \1$"))
    expect_lit(page, "padded-cube", "padded-before", "padded-after")
    assert not troubles


def test_charts_without_axes_keep_their_view_beside_other_boards(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    boards = page.locator(".nv-board")
    one, other = boards.nth(2).bounding_box(), boards.nth(3).bounding_box()
    assert one and other and abs(one["y"] - other["y"]) < 2 and other["x"] > one["x"] + one["width"]
    chart = "document.querySelector('[data-panel=surface] .nv-chart')"
    page.locator(plot("surface")).scroll_into_view_if_needed()
    box = page.locator(plot("surface")).bounding_box()
    assert box is not None
    eye = f"(({{ x, y, z }}) => [x, y, z])({chart}._fullLayout.scene._scene.getCamera().eye)"
    start = page.evaluate(eye)
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_function(f"Math.abs({eye}[0] - {start[0]}) > .1")
    turned = start
    while (now := page.evaluate(eye)) != turned:  # until twenty frames no longer move the camera, however slow they are
        turned = now
        page.evaluate(FRAMES, 20)
    page.locator(".st-key-bend input").focus()
    page.keyboard.press("End")
    page.wait_for_function(f"Math.abs(Math.max(...[...{chart}._fullData[0].z].flatMap((row) => [...row])) - 2) < .1")
    assert page.evaluate(eye) == pytest.approx(turned)
    page.mouse.click(*(box["x"] + 100, box["y"] + 100))
    page.locator(plot("pie")).hover()
    assert page.evaluate(
        "getComputedStyle(document.querySelector('[data-panel=pie] .main-svg')).background"
    ).startswith("rgba(0, 0, 0, 0)")
    assert not troubles


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_stacks_the_panels_and_a_tap_lights_up(chromium: Browser, address: str, scheme: Any) -> None:
    page, troubles = open_board(
        chromium, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    left = page.evaluate(
        "[...document.querySelectorAll('.nv-panel')].map(e => Math.round(e.getBoundingClientRect().x))"
    )
    assert len(set(left)) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    font = page.evaluate("getComputedStyle(document.querySelector('[data-panel=bars] .xtick text')).fill")
    assert font == ("rgb(29, 39, 51)" if scheme == "light" else "rgb(232, 230, 225)")
    page.locator(plot("before")).scroll_into_view_if_needed()
    page.tap(plot("before"), position={"x": 150, "y": 100})
    expect_lit(page, "cube", "before", "after", "bars")
    assert not troubles
    page.context.close()
