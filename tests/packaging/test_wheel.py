"""The wheel, installed into an environment of its own: the command line and the app work away from the project."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from normviz import __version__
from normviz.images import read_photo
from normviz.paths import ROOT
from normviz.samples import load_sample
from scripts.simulate_class import Answer, Student

pytestmark = pytest.mark.slow
TRAVELS = ("app.py", "pages", "assets", "static/fonts", ".streamlit")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with normviz from its wheel and the other packages of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(ROOT)], cwd=folder, check=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"normviz-{__version__}-py3-none-any.whl"
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], cwd=folder, check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "tested.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with a photo, outside of the project."""
    (tmp_path / "cat.png").write_bytes(load_sample("chelsea"))
    return tmp_path


def environment() -> dict[str, str]:
    """The variables of this process without those that lead to the project."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NORMVIZ_PLAIN_CHARTS")}


def test_the_wheel_contains_what_the_checkout_does(python: Path, work: Path) -> None:
    script = "import normviz, normviz.paths; print(normviz.__file__, normviz.paths.ROOT, sep='\\n')"
    result = subprocess.run(
        [python, "-c", script], cwd=work, env=environment(), capture_output=True, text=True, check=True
    )
    package, root = (Path(line) for line in result.stdout.splitlines())
    assert package.is_relative_to(python.parents[1]) and root == package.parent / "_root"

    def files(folder: Path, parts: tuple[str, ...]) -> list[str]:
        found = [path for part in parts for path in [folder / part, *(folder / part).rglob("*")] if path.is_file()]
        return sorted(str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts)

    assert files(root, TRAVELS) == files(ROOT, TRAVELS)
    sources = [path for path in files(package.parent, (".",)) if not path.startswith("_root/")]
    assert sources == files(ROOT / "normviz", (".",)) and "py.typed" in sources


def test_the_command_writes_a_heatmap_and_its_raw_map(python: Path, work: Path) -> None:
    command = [
        str(python.parent / "normviz"),
        "cam",
        "cat.png",
        "--target",
        "cat",
        "--out",
        "heat.png",
        "--raw",
        "map.npy",
    ]
    result = subprocess.run(command, cwd=work, env=environment(), capture_output=True, text=True, check=True)
    assert "Grad-CAM for cat" in result.stdout
    photo, heat = read_photo(work / "cat.png"), read_photo(work / "heat.png")
    assert heat.shape == photo.shape and not heat.equal(photo)
    raw = np.load(work / "map.npy")
    assert raw.ndim == 2 and np.isfinite(raw).all() and raw.max() > 0


@pytest.fixture
def address(python: Path, work: Path) -> Iterator[str]:
    """The address of the installed app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python.parent / "normviz"), "app", "--port", str(port), "--address", "127.0.0.1", "--no-browser"]
    with (work / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=work, env=environment(), stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(30)


def fetch(address: str, patience: float = 120) -> str:
    """The content at an address, as soon as the server answers."""
    end = time.monotonic() + patience
    while True:
        try:
            with urlopen(address, timeout=10) as answer:
                return str(answer.read().decode("utf-8", "replace"))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


async def visit(address: str, page: str) -> Answer:
    """One run of a page."""
    stream = address.replace("http", "ws", 1) + "/_stcore/stream"
    async with connect(stream, subprotocols=[Subprotocol("streamlit")], max_size=2**26) as connection:
        return await Student(connection, page, random.Random(0)).run()


def test_the_app_serves_its_pages_fonts_and_the_board(address: str, python: Path, work: Path) -> None:
    assert fetch(f"{address}/_stcore/health") == "ok", (work / "log").read_text()
    answer = asyncio.run(visit(address, "normalize"))
    assert not answer.failed and answer.received > 10_000
    assert fetch(f"{address}/app/static/fonts/open-sans-latin.woff2", 10)  # by the project's own configuration
    script = "from normviz.ui.components.board import payload; print(payload([])['script'])"
    result = subprocess.run(
        [python, "-W", "ignore", "-c", script], cwd=work, env=environment(), capture_output=True, text=True, check=True
    )
    board = fetch(address + result.stdout.strip(), 10)
    for module in re.findall(r'from "\./(\w+\.js)"', board):
        assert fetch(f"{address}{result.stdout.strip().rpartition('/')[0]}/{module}", 10)
    assert "Traceback" not in (work / "log").read_text()
