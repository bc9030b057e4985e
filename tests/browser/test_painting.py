"""Painting on a photo, with mouse and keyboard: the strokes stay, stand in the link, and are filled."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, settled


def told(page: Page) -> float:
    """The painted share of the photo, in percent, as the page says it."""
    found = re.search(r"([\d.]+) % of the photo is painted", page.locator(".told").inner_text())
    return float(found[1]) if found else 0.0


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A stroke from one place of the photo to another, in shares of its sides."""
    box = page.locator("canvas.stage").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=6)
    page.mouse.up()


def test_painting_with_the_mouse_and_the_keyboard(open_page: Open) -> None:
    page = open_page("photo-edit")
    expect(page.locator(".told")).to_contain_text("30%")  # what the map marks
    canvas = page.locator("canvas.stage")
    canvas.evaluate("canvas => { canvas.mine = true; }")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".nv-sentence").first).to_contain_text("Drag over the photo")
    page.get_by_label("Box").check()
    drag(page, (0.3, 0.2), (0.7, 0.8))
    expect(page.locator(".nv-sentence").first).to_contain_text(re.compile("[Cc]at (falls|rises|stays)"))
    box = told(page)
    assert 22 <= box <= 27  # 40% by 60%, in whole cells
    drag(page, (0.05, 0.1), (0.15, 0.9))  # two strokes without waiting: neither is lost
    drag(page, (0.85, 0.1), (0.95, 0.9))
    assert told(page) > box + 14
    page.wait_for_timeout(1500)
    settled(page)
    both = told(page)
    assert both > box + 14
    canvas.focus()
    for key in ("+", "+", "ArrowUp", "Space"):
        page.keyboard.press(key)
    expect(page.locator(".told")).to_contain_text("Square at row")
    page.keyboard.press("z")
    assert told(page) == both
    page.wait_for_timeout(1500)
    settled(page)
    assert canvas.evaluate("canvas => canvas.mine")  # the element was kept all the time
    again = open_page(page.url.split("/", 3)[3])
    expect(again.locator(".told")).to_contain_text(f"{both:.0f} %")
