"""NormViz: `streamlit run app.py` serves it.

The server imports this file once, as `app`, to start. Then Streamlit runs it as a script for every visitor and every
change, and it draws the navigation and the page.
"""

from __future__ import annotations

import os

# Before PyTorch loads: its idle threads then sleep, instead of spinning on cores that other visitors need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import streamlit as st

from normviz.ui import startup
from normviz.ui.components import board
from normviz.ui.kit import page_layout
from normviz.ui.kit.page_registry import PAGES

if __name__ == "__main__":
    page_layout.configure()
    current = st.navigation(
        {
            group: [
                st.Page(page.file, title=page.title, url_path=page.address, default=not page.address) for page in pages
            ]
            for group, pages in PAGES.items()
        },
        expanded=True,
    )
    page_layout.sidebar()
    with page_layout.guard():
        current.run()
    startup.settle(current.title)
else:
    app = st.App(
        __file__,
        lifespan=startup.lifespan,
        routes=[*board.asset_routes(), *startup.redirects()],
        on_script_error=page_layout.apologize,
    )
