"""Server start: imports the modules of all pages, warms up, and freezes the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import pkgutil
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

from normviz import experiments, ui
from normviz.device import device
from normviz.ui.kit.page_registry import OLD_ADDRESSES
from normviz.ui.pages import home

PACKAGES = (ui, experiments)  # with everything that the pages import
_settled: set[str] = set()


def prepare() -> None:
    """Import and warm up, then exclude all loaded objects from garbage collection.

    Streamlit collects garbage after every run of a page. With PyTorch loaded, that takes 120 ms unless the objects of
    the imports are frozen.
    """
    # Until `st.navigation` has run once, Streamlit would look for the first visitor's page by its file's name in
    # `pages/` and report a page that is not found; this is the flag that `st.navigation` sets.
    PagesManager.uses_pages_directory = False
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    warm()
    gc.collect()
    gc.freeze()


def settle(page: str) -> None:
    """Freeze the objects loaded in the first run of a page: about 80,000, which saves 20 ms in each later run.

    Only once per page, so that at most one visitor's objects per page stay in memory.
    """
    if gc.get_freeze_count() and page not in _settled:
        _settled.add(page)
        gc.collect()
        gc.freeze()


def warm() -> None:
    """Select the device, and compute the previews of the home page: one normalization and one heatmap."""
    device()
    home.pictures()


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """The lifespan of the app: prepare, then serve; with NORMVIZ_BROWSER=1 the app opens in the browser."""
    prepare()
    if os.environ.get("NORMVIZ_BROWSER") == "1" and _has_screen():
        address = f"http://localhost:{config.get_option('server.port')}"
        asyncio.get_running_loop().call_later(0.2, webbrowser.open, address)
    yield {}


def redirects() -> list[Route]:
    """Routes that redirect the addresses of earlier versions, with their parameters."""

    def route(old: str, new: str) -> Route:
        def redirect(request: Request) -> RedirectResponse:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{new}{query}", status_code=308)  # relative: the server may have a base path

        return Route(f"/{old}", redirect)

    return [route(old, new) for old, new in OLD_ADDRESSES.items()]


def _has_screen() -> bool:
    """Whether this machine has a display."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
