"""The cube in a real browser: it turns by mouse, keys and finger, and a cell is where it is painted."""

from statistics import median

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.board_page import block, drag, expect_dark, open_board, plot, row

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)
COLORS = """([x, y]) => {
  const block = document.querySelector('[data-panel=cube] .nv-block'), box = block.getBoundingClientRect();
  const [across, below] = [(x - box.x) * devicePixelRatio, (y - box.y) * devicePixelRatio];
  const color = document.querySelector('.nv-line').style.getPropertyValue('--nv-color');
  const named = color.match(/[0-9A-F]{2}/gi).map((part) => parseInt(part, 16));
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
    start, button = block(page), page.locator("[data-panel=cube] button")
    expect(button).to_be_hidden()
    drag(page, 0, 0)
    lit = row(page)
    page.mouse.up()  # no move: a click pins, a second one releases
    page.mouse.down()
    page.mouse.up()
    page.evaluate(TIME_FRAMES)
    drag(page, -90, 40)
    frames = page.evaluate("window.frameTimes")
    print(f"{len(frames)} frames of a turning cube: median {median(frames):.1f} ms, longest {max(frames):.1f} ms")
    assert row(page) == lit and block(page) != start
    page.mouse.up()
    expect(button).to_be_visible()
    button.click()
    expect(button).to_be_hidden()
    assert block(page) == start
    drag(page, 200, -120)
    page.mouse.up()
    page.mouse.dblclick(*drag(page, 0, 0))
    page.mouse.up()
    expect(button).to_be_hidden()
    assert block(page) == start
    assert not troubles


def test_in_every_view_a_cell_is_where_it_is_painted(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    box = page.locator(plot("cube")).bounding_box()
    assert box is not None
    met, agreed = set(), []
    for across, below in ((0, 0), (150, 20), (170, -160), (160, 60)):
        if across:
            drag(page, across, below)
            page.mouse.up()
        for k in range(1, 14):
            place = [box["x"] + k * box["width"] / 14, box["y"] + box["height"] * (0.35 + 0.03 * (k * 5 % 11))]
            page.mouse.move(*place)
            page.wait_for_timeout(40)
            painted, named, lit = page.evaluate(COLORS, place)
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
    drag(page, 100, 30)
    page.mouse.up()
    page.mouse.move(2, 2)
    turned, board = block(page), page.locator(".nv-board").first
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
        assert (block(page) == turned) == (change != "theme")  # in the dark the names are light
    assert not troubles


def test_keys_turn_the_cube_move_the_cell_round_its_corners_and_pin_it(fresh: tuple[Page, list[str]]) -> None:
    page, troubles = fresh
    start = block(page)
    page.focus(plot("cube"))
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_timeout(60)
    assert block(page) != start
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(60)
    assert block(page) == start
    page.keyboard.press("ArrowRight")
    rows = [row(page)]
    for _ in range(11):
        page.keyboard.press("ArrowRight")
        rows.append(row(page))
    assert rows == [f"channel {k}" for k in range(12)]  # along the front, one channel a step
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):  # the side is channel 11 alone
        page.keyboard.press(key)
    assert row(page) == "channel 11"
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Clicked: cube:3,11,2")
    expect(page.locator(".nv-line").first).to_contain_text("channel 11")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    page.keyboard.press("Escape")
    expect_dark(page, "cube", "before", "after", "bars")
    assert not troubles


def test_a_finger_scrolls_the_page_over_a_cube_and_turns_it_sideways(chromium: Browser, address: str) -> None:
    page, troubles = open_board(
        chromium, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page.locator(plot("cube")).scroll_into_view_if_needed()
    box = page.locator(plot("cube")).bounding_box()
    assert box is not None
    start = block(page)
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
    assert block(page) == start
    expect_dark(page, "cube")
    assert abs(swipe(120, 0)) < 5
    assert block(page) != start
    expect(page.locator("[data-panel=cube] button")).to_be_visible()
    page.tap(plot("cube"), position={"x": 180, "y": 150})
    page.wait_for_selector("text=Clicked: cube:")
    expect(page.locator(".nv-line").first).to_contain_text("pinned")
    page.locator(plot("surface")).scroll_into_view_if_needed()
    box = page.locator(plot("surface")).bounding_box()
    assert box is not None
    eye = "document.querySelector('[data-panel=surface] .nv-chart')._fullLayout.scene.camera.eye.x"
    seen = page.evaluate(eye)
    assert swipe(0, 120) > 60
    assert page.evaluate(eye) == seen
    box = page.locator(plot("surface")).bounding_box()
    assert box is not None and abs(swipe(120, 0)) < 5
    page.wait_for_function(f"Math.abs({eye} - {seen}) > .1")
    assert not troubles
    page.context.close()
