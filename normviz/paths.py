"""Where the files of the project are: in a checkout, and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

# The folder that holds app.py, pages/, assets/ and static/: inside an installed package, or the root of a checkout.
ROOT = next(folder for folder in (_PACKAGE / "_root", _PACKAGE.parent) if (folder / "app.py").is_file())
ASSETS = ROOT / "assets"
