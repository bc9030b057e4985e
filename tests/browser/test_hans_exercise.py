"""The Clever Hans exercise played through: from the suspicious map to the mark, which is painted out."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, settled
from tests.browser.test_painting import drag


def step(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name).click()
    settled(page)


def test_the_exercise_from_the_map_to_the_proof(open_page: Open) -> None:
    page = open_page("clever-hans")
    said = page.locator(".nv-sentence").first
    expect(said).to_contain_text(re.compile(r"The network predicts checked square, \d+%"))
    page.get_by_role("radio", name="the object").click()
    expect(page.locator(".nv-sentence").nth(1)).to_contain_text("Look at the brightest cells again")
    page.get_by_role("radio", name="something in a corner").click()
    expect(page.locator(".nv-sentence").nth(1)).to_contain_text("lies on a gray mark")
    settled(page)
    step(page, "2 suspect")
    expect(page.locator("figcaption")).to_have_count(4)
    step(page, "3 paint over")
    page.locator("canvas.stage").wait_for()
    page.get_by_label("Box").check()
    drag(page, (0.5, 0.1), (0.95, 0.5))  # not the mark
    expect(said).to_contain_text("Not yet: paint over the cells")
    settled(page)
    drag(page, (0.0, 0.78), (0.35, 0.99))
    expect(said).to_contain_text(re.compile(r"falls from \d+% to .*The network used only the mark"))
    settled(page)
    step(page, "4 add the mark")
    expect(page.locator("figcaption")).to_have_count(8)
    step(page, "5 measure")
    expect(said).to_contain_text(re.compile(r"recognizes \d+% of the images of a checked square; with it, \d+%"))
