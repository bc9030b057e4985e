"""What every test may use, and how tests are spread over processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Several test processes share the cores, so each computes in one thread, and so do the servers that it starts.
# OMP_NUM_THREADS, if it is set, decides for PyTorch and for the app; it must be known before PyTorch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NORMVIZ_THREADS", os.environ["OMP_NUM_THREADS"])

import pytest
import torch

BROWSER = Path(__file__).parent / "browser"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests in one process, with one browser and one server; the largest group starts first."""
    for item in items:
        if item.path.is_relative_to(BROWSER):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute in one thread: for small tensors, and for tests that start threads of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
