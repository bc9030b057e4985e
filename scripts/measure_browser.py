"""Measure the app in Chromium: first paint, first charts, and time from a slider change to the updated image.

    python -m scripts.measure_browser [--page "normalize?N=32&C=64&H=56&W=56"] [--slider beta] [--steps 20]

Starts the app on a free local port. The first visit follows directly after the start; the others reach a warm server.
Each visit has an empty browser cache.
"""

from __future__ import annotations

import argparse
import statistics

from playwright.sync_api import Browser, Page, sync_playwright

from scripts.simulate_class import server
from tests.browser.conftest import executable

CHARTS = ".js-plotly-plot .heatmaplayer image, .js-plotly-plot .imagelayer image"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
CHANGE = """() => {
  const image = () => document.querySelector('[data-panel=after] .hm image').href.baseVal;
  const old = image();
  window.changed = new Promise((done, fail) => {
    setTimeout(() => fail(new Error('the picture did not change')), 20000);
    const look = () => (image() === old ? requestAnimationFrame(look) : done(performance.now()));
    look();
  });
}"""


def visit(browser: Browser, address: str) -> tuple[Page, float, float]:
    """Open a page with an empty cache: the page, milliseconds to the first paint and to the first charts."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(address, wait_until="commit")
    page.locator(CHARTS).first.wait_for()
    return page, page.evaluate(PAINT), page.evaluate("performance.now()")


def turn(page: Page, key: str, steps: int) -> list[float]:
    """Measure milliseconds from a slider change to the updated image, for each step."""
    page.locator(f".st-key-{key} input").focus()
    waits = []
    for _ in range(steps):
        page.evaluate(CHANGE)
        start = page.evaluate("performance.now()")
        page.keyboard.press("ArrowRight")
        waits.append(page.evaluate("window.changed") - start)
        page.wait_for_timeout(300)
    return waits


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", default="normalize?N=32&C=64&H=56&W=56")
    parser.add_argument("--slider", default="beta", help="the slider's parameter in the link")
    parser.add_argument("--steps", type=int, default=19)
    args = parser.parse_args()
    with server() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        visits = [visit(browser, f"{address}/{args.page}") for _ in range(4)]
        waits = turn(visits[-1][0], args.slider, args.steps)
        browser.close()
    first, later = visits[0], visits[1:]
    print(f"/{args.page}")
    print(f"right after the start: first paint {first[1]:.0f} ms, first charts {first[2]:.0f} ms")
    paint, charts = statistics.median(v[1] for v in later), statistics.median(v[2] for v in later)
    print(f"running server, median of {len(later)}: first paint {paint:.0f} ms, first charts {charts:.0f} ms")
    p95 = statistics.quantiles(waits, n=20)[-1]
    print(f"slider to changed picture, {len(waits)} steps: p50 {statistics.median(waits):.0f} ms, p95 {p95:.0f} ms")


if __name__ == "__main__":
    main()
