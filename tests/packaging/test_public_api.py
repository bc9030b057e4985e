"""The public API: every registered method and every type that a user needs can be imported from one place."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import normviz
from normviz.paths import ROOT
from normviz.registry import Method, methods


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_every_method_is_public(method: Method) -> None:
    package = importlib.import_module(f"normviz.{method.kind}")
    assert getattr(package, method.name) is method.function
    assert method.name in package.__all__


@pytest.mark.parametrize(
    "module", ["normviz", "normviz.attribution", "normviz.normalization", "normviz.attribution.targets"]
)
def test_every_listed_name_exists_and_is_documented(module: str) -> None:
    package = importlib.import_module(module)
    assert len(package.__all__) == len(set(package.__all__))
    listed = {name: getattr(package, name) for name in package.__all__}
    code = {name: thing for name, thing in listed.items() if inspect.isclass(thing) or inspect.isfunction(thing)}
    undocumented = [name for name, thing in code.items() if not thing.__doc__]
    assert not undocumented


@pytest.mark.parametrize(
    "name", ["Probe", "Classifier", "load_classifier", "read_photo", "decode", "overlay", "layers", "methods", "get"]
)
def test_the_names_of_a_first_program_are_at_the_top(name: str) -> None:
    assert name in normviz.__all__


def test_importing_the_package_loads_no_user_interface() -> None:
    heavy = {"streamlit", "plotly", "transformers", "skimage", "scipy"}
    script = f"import sys, normviz; print(*sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
