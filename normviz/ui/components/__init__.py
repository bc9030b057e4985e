"""Components: page elements with JavaScript of their own, each in one folder with its Python, HTML and CSS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

FOLDER = Path(__file__).parent


def register(name: str, *files: str, isolate_styles: bool = True) -> ComponentRenderer:
    """Register a component of Streamlit from the files in its folder.

    Args:
        name: the folder's name.
        files: at most one file each with the suffix .html, .css and .js.
        isolate_styles: whether the component gets a shadow root.

    Returns:
        The function that places the component on a page.
    """
    parts = {Path(file).suffix[1:]: (FOLDER / name / file).read_text("utf-8") for file in files}
    return st.components.v2.component(f"normviz_{name}", **parts, isolate_styles=isolate_styles)
