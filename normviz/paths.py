"""Folders with the app and its files, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

# The folder that contains app.py, pages/, assets/ and static/: `_root` in an installed package, or the checkout.
ROOT = next(folder for folder in (_PACKAGE / "_root", _PACKAGE.parent) if (folder / "app.py").is_file())
ASSETS = ROOT / "assets"
