"""The picker for attribution methods, and their order and titles in lists."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from normviz.registry import Attribution, get, methods
from normviz.ui.kit import tooltips, url_widgets


def names() -> list[str]:
    """The names of all methods in list order: methods at a layer, methods at the pixels, slow methods."""
    ordered = sorted(methods("attribution"), key=lambda method: (method.slow, method.level == "input"))
    return [method.name for method in ordered]


def title(name: str) -> str:
    """The title of a method in lists, with "(slow)" for slow methods."""
    method = get(name, "attribution")
    return f"{method.title} (slow)" if method.slow else method.title


def choose() -> Attribution:
    """Draw the list of methods and return the chosen one. A link may contain its title, name or alias."""
    linked = st.query_params.get("method")
    if "method" not in st.session_state and linked is not None and linked not in map(title, names()):
        with suppress(ValueError):  # the widget reports unknown names
            st.query_params["method"] = title(get(linked, "attribution").name)
            st.rerun()
    name = url_widgets.select("Method", names(), "grad_cam", "method", text=title, help=tooltips.METHOD)
    return get(name, "attribution")
