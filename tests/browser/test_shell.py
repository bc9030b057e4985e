"""The frame in a browser: home, navigation, both schemes, a phone, the keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from normviz.ui.kit.page_registry import PAGES

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
COLORS = {"light": ("rgb(251, 250, 247)", "rgb(29, 39, 51)"), "dark": ("rgb(18, 23, 29)", "rgb(232, 230, 225)")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_home_is_one_screen_wide_in_its_own_colors(open_page: Open, scheme: str, width: int) -> None:
    page = open_page("", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground, ink = COLORS[scheme]
    assert page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor") == ground
    assert page.evaluate("getComputedStyle(document.querySelector('.nv-page h1')).color") == ink
    images = page.locator(".nv-door img")
    expect(images).to_have_count(4)
    assert images.evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 0 && image.alt)")
    expect(page.get_by_test_id("stAppDeployButton")).to_be_hidden()


def test_the_shipped_font_is_used(open_page: Open) -> None:
    page = open_page()
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"Open Sans\"'))")
    assert page.evaluate("getComputedStyle(document.querySelector('.nv-page h1')).fontFamily").startswith('"Open Sans"')
    widths = page.evaluate(
        """() => [...'0123456789'].map(digit => {
            const span = document.createElement('span'); span.textContent = digit.repeat(20);
            document.querySelector('.nv-page').append(span); return span.getBoundingClientRect().width })"""
    )
    assert max(widths) - min(widths) < 0.01  # tabular digits


@pytest.mark.parametrize(("door", "path"), [("cam", "cam"), ("norm", "normalize")])
def test_a_door_opens_its_page_wherever_it_is_clicked(open_page: Open, door: str, path: str) -> None:
    page = open_page()
    box = page.locator(f".st-key-nv-door-{door} img").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 20, box["y"] + 20)  # the title's link covers the card
    page.wait_for_url(f"**/{path}")
    expect(page.locator(".nv-page h1")).not_to_have_text("NormViz")


def test_a_door_opens_by_keyboard_and_shows_its_focus(open_page: Open) -> None:
    page = open_page()
    link = page.locator(".st-key-nv-door-norm a")
    for _ in range(20 + sum(map(len, PAGES.values()))):  # past every page in the sidebar
        page.keyboard.press("Tab")
        if link.evaluate("element => element === document.activeElement"):
            break
    assert link.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/normalize")


def test_the_sidebar_leads_to_every_page_and_names_the_device(open_page: Open) -> None:
    page = open_page("normalize")
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text("Computed on")).to_be_visible()
    for name, path in (("Class activation maps", "cam"), ("Normalize", "normalize"), ("Home", "")):
        sidebar.get_by_role("link", name=name).click()
        page.wait_for_url(f"**/{path}")


def test_no_text_is_smaller_than_sixteen_pixels(open_page: Open) -> None:
    for path in ("", "normalize", "cam"):
        page = open_page(path)
        small = page.evaluate(
            """() => [...document.querySelectorAll('[data-testid="stMain"] *, [data-testid="stSidebar"] *')].filter(e =>
                [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility() &&
                !e.closest('svg, math, .katex, sub, sup, style, [data-testid="stIconMaterial"]') &&
                e.getBoundingClientRect().width > 2 &&
                parseFloat(getComputedStyle(e).fontSize) < 16).map(e => e.textContent.slice(0, 40))"""
        )
        assert small == [], path
