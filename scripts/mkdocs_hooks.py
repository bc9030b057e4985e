"""Hooks for MkDocs: what differs between the documents on a code host and on the site."""

from __future__ import annotations

from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Drop the dollar signs that mark inline mathematics; the site is built without a math renderer."""
    return markdown.replace("$`", "`").replace("`$", "`")
