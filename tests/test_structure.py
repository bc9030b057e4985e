"""The rules of the structure: which room may import which, how full a folder may be, one name for each page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from normviz.paths import ROOT
from normviz.ui.kit.page_registry import PAGES

MOST = 14  # Python files in one folder
PACKAGE = ROOT / "normviz"


def test_imports_keep_the_contracts_in_pyproject(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("folder", sorted({file.parent for file in PACKAGE.rglob("*.py")}), ids=str)
def test_a_folder_holds_about_a_dozen_files(folder: Path) -> None:
    assert len([file for file in folder.glob("*.py") if file.name != "__init__.py"]) <= MOST


@pytest.mark.parametrize("folder", sorted({file.parent for file in PACKAGE.rglob("*.py")}), ids=str)
def test_a_folder_says_what_it_contains(folder: Path) -> None:
    first = (folder / "__init__.py").read_text("utf-8").splitlines()[0]
    assert first.startswith('"""') and len(first) > 20


def test_pages_and_their_scripts_have_one_name() -> None:
    names = {page.name for group in PAGES.values() for page in group}
    assert names == {file.stem for file in (ROOT / "pages").glob("*.py")}


def test_a_module_of_one_page_carries_its_name() -> None:
    names = {page.name for group in PAGES.values() for page in group}
    modules = {path.stem for path in (PACKAGE / "ui" / "pages").iterdir() if not path.name.startswith("__")}
    assert modules <= names


@pytest.mark.parametrize("file", sorted((PACKAGE / "ui" / "components").rglob("*.html")), ids=lambda file: file.name)
def test_the_html_of_a_component_is_one_element(file: Path) -> None:
    text = file.read_text("utf-8").strip()
    assert text.startswith("<") and text.endswith(">")
    outside = re.sub(r"<[^>]*>", "", text)
    assert not re.search(r"[\"'{}=]", outside), "code between the tags"
