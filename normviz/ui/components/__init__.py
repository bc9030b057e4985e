"""Components: page elements with their own JavaScript, each in a folder with its Python, HTML and CSS files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

FOLDER = Path(__file__).parent


def register(name: str, *files: str, isolate_styles: bool = True) -> ComponentRenderer:
    """Register a Streamlit component from the files in its folder.

    Args:
        name: the folder's name.
        files: at most one .html, one .css and one .js file.
        isolate_styles: whether the component gets a shadow root.

    Returns:
        The function that places the component on a page.
    """
    parts = {Path(file).suffix[1:]: (FOLDER / name / file).read_text("utf-8") for file in files}
    return st.components.v2.component(f"normviz_{name}", **parts, isolate_styles=isolate_styles)
