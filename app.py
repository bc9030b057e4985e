"""NormViz: `streamlit run app.py` serves it.

The file has two lives. The server imports it once, as `app`, for what happens at the start. Then
Streamlit runs it as a script, for every visitor and every change, and it draws the frame and the page.
"""

from __future__ import annotations

import os

# Before PyTorch loads: its idle threads then sleep, instead of spinning on cores that other visitors need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import streamlit as st

from normviz.ui import frame, startup
from normviz.ui.contents import CONTENTS

if __name__ == "__main__":
    frame.configure()
    current = st.navigation(
        {
            group: [st.Page(page.file, title=page.title, url_path=page.path, default=not page.path) for page in pages]
            for group, pages in CONTENTS.items()
        },
        expanded=True,
    )
    frame.sidebar()
    with frame.guard():
        current.run()
    startup.settle(current.title)
else:
    app = st.App(__file__, lifespan=startup.lifespan, on_script_error=frame.apologize)
