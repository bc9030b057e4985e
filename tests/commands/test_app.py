"""`normviz app`: the server that it starts, and the ports that it refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import pytest

from normviz.__main__ import main
from normviz.paths import ROOT


@pytest.mark.parametrize(
    ("options", "expected", "browser"),
    [
        ([], ["--server.port", "8501"], "1"),
        (["--port", "8080", "--address", "127.0.0.1", "--no-browser"],
         ["--server.port", "8080", "--server.address", "127.0.0.1"], "0"),
    ],
)  # fmt: skip
def test_the_server_is_started_with_the_projects_app(
    options: list[str], expected: list[str], browser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str], Mapping[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    assert main(["app", *options]) == 0
    ((program, command, environment),) = started
    assert program == sys.executable
    assert command == [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), *expected]
    assert environment["NORMVIZ_BROWSER"] == browser and environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_outside_the_range_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["app", f"--port={port}"])
    assert stop.value.code == 2 and "a port is a whole number from 1 to 65535" in capsys.readouterr().err
