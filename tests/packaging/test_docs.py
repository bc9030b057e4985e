"""The documentation: the code of the quick start runs, and the site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from normviz.images import read_photo
from normviz.paths import ROOT
from normviz.samples import load_sample

QUICKSTART = ROOT / "docs" / "quickstart.md"


def test_the_code_of_the_quick_start_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.jpg").write_bytes(load_sample("chelsea"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", QUICKSTART.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{QUICKSTART.name}, block {number}", "exec"), names)
    assert read_photo("heat.png").shape == read_photo("cat.jpg").shape
    areas = dict(re.findall(r"(.+): area under the deletion curve (0\.\d+)", capsys.readouterr().out))
    assert float(areas["Grad-CAM"]) < float(areas["random"])


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    api = (tmp_path / "site" / "api" / "attribution.html").read_text("utf-8")
    assert "grad_cam" in api and "hires_cam" in api
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\s\">]+)", api)
    assert not loaded
