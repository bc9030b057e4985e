"""What happens once, before the server says that it is ready: imports, a first run of everything, a tidy heap."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager

from normviz.device import device
from normviz.ui.kit.page_registry import OLD_ADDRESSES
from normviz.ui.pages import home

PAGES_NEED = (
    "normviz.experiments.errata", "normviz.experiments.invariance.measurement", "normviz.ui.components.board",
    "normviz.ui.inputs.table", "normviz.ui.maps.map_request", "normviz.ui.pages.cam.stage",
    "normviz.ui.pages.clever_hans", "normviz.ui.pages.compare_maps.comparison", "normviz.ui.pages.compare_norms",
    "normviz.ui.pages.faithfulness", "normviz.ui.pages.formula_sheet", "normviz.ui.pages.localization",
    "normviz.ui.pages.normalize", "normviz.ui.pages.photo_edit",
)  # fmt: skip
_settled: set[str] = set()


def prepare() -> None:
    """Import and warm up, then tell the collector to leave everything that is loaded by now alone.

    Streamlit collects garbage after every run of a page; with PyTorch loaded that takes 120 ms
    unless the objects of the imports are frozen.
    """
    # Until `st.navigation` has run once, Streamlit would look for the first visitor's page by its file's name in
    # `pages/` and report a page that is not found; this is the flag that `st.navigation` sets.
    PagesManager.uses_pages_directory = False
    for module in PAGES_NEED:
        importlib.import_module(module)
    warm()
    gc.collect()
    gc.freeze()


def settle(page: str) -> None:
    """After a page's first run on a prepared server, freeze what it loaded too: 80,000 objects, 20 ms a run saved.

    Once a page, so that no more than one visitor's leavings per page can stay in memory for good.
    """
    if gc.get_freeze_count() and page not in _settled:
        _settled.add(page)
        gc.collect()
        gc.freeze()


def warm() -> None:
    """Choose the device and run the first normalization and the first heatmap, whose pictures the home page shows."""
    device()
    home.pictures()


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Streamlit's start: prepare, then serve; with NORMVIZ_BROWSER=1 the app opens itself in the browser."""
    prepare()
    if os.environ.get("NORMVIZ_BROWSER") == "1" and _has_screen():
        address = f"http://localhost:{config.get_option('server.port')}"
        asyncio.get_running_loop().call_later(0.2, webbrowser.open, address)
    yield {}


def redirects() -> list[Route]:
    """Routes from the addresses of earlier versions to those of today, with their parameters."""

    def route(old: str, new: str) -> Route:
        def redirect(request: Request) -> RedirectResponse:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{new}{query}", status_code=308)  # relative: the server may have a base path

        return Route(f"/{old}", redirect)

    return [route(old, new) for old, new in OLD_ADDRESSES.items()]


def _has_screen() -> bool:
    """Whether a browser could show something here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
