"""The attribution method: the list of methods, and the choice of one."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from normviz.registry import Attribution, get, methods
from normviz.ui.kit import tooltips, url_widgets


def names() -> list[str]:
    """The names of all methods in the order of the list: at a layer, at the pixels, then slow ones."""
    ordered = sorted(methods("attribution"), key=lambda method: (method.slow, method.level == "input"))
    return [method.name for method in ordered]


def title(name: str) -> str:
    """The title of a method in the list."""
    method = get(name, "attribution")
    return f"{method.title} (slow)" if method.slow else method.title


def choose() -> Attribution:
    """Draw the list of methods. A link may name a method by its title or any of its names."""
    linked = st.query_params.get("method")
    if "method" not in st.session_state and linked is not None and linked not in map(title, names()):
        with suppress(ValueError):  # the widget reports a name that does not exist
            st.query_params["method"] = title(get(linked, "attribution").name)
            st.rerun()
    name = url_widgets.select("Method", names(), "grad_cam", "method", text=title, help=tooltips.METHOD)
    return get(name, "attribution")
