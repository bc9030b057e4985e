"""The page of `board_demo.py` in a browser: to open it, point at its panels, and read what is lit."""

from typing import Any

from playwright.sync_api import Browser, Page, expect

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


def open_board(browser: Browser, address: str, path: str = "", **context: Any) -> tuple[Page, list[str]]:
    """The page in a fresh browser context, drawn, and a list that gathers its errors and foreign requests."""
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


def expect_lit(page: Page, *panels: str) -> None:
    """Wait until the highlight of each of these panels is painted."""
    for panel in panels:
        page.wait_for_function(f"({INK})('{panel}') > 500")


def expect_dark(page: Page, *panels: str) -> None:
    """Wait until nothing is highlighted in these panels."""
    for panel in panels:
        page.wait_for_function(f"({INK})('{panel}') === 0")


def plot(panel: str) -> str:
    return f"[data-panel={panel}] .nv-plot"


def row(page: Page, board: int = 0) -> str:
    """The lit row of a board's table."""
    row = page.locator(".nv-board").nth(board).locator("tr.nv-lit th")
    expect(row).to_have_count(1)
    return row.inner_text()


def block(page: Page, panel: str = "cube") -> str:
    """The painted block, as an address of its pixels."""
    drawn: str = page.evaluate("name => document.querySelector(`[data-panel=${name}] .nv-block`).toDataURL()", panel)
    return drawn


def drag(page: Page, across: float, below: float, start: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
    """Drag the cube from a place given in shares of its size; returns the place of the pointer."""
    box = page.locator(plot("cube")).bounding_box()
    assert box is not None
    x, y = box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + below, steps=12)
    page.wait_for_timeout(60)  # a frame
    return x + across, y + below
