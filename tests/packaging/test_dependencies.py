"""The dependency ranges in pyproject.toml agree with the pins in the requirements files."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from normviz import __version__
from normviz.__main__ import main
from normviz.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(file: str) -> dict[NormalizedName, str]:
    """The pinned version of each package in a requirements file."""
    pinned = {}
    for line in (ROOT / file).read_text().splitlines():
        if line and not line.startswith("-r "):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pinned[canonicalize_name(requirement.name)] = specifier.version
    return pinned


def test_every_dependency_is_pinned_inside_its_range() -> None:
    required = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
    pinned = pins("requirements.txt")
    assert sorted(required) == sorted(pinned)
    outside = [name for name, version in pinned.items() if not required[name].specifier.contains(version)]
    assert not outside


@pytest.mark.parametrize("extra", ["dev", "docs"])
def test_every_extra_is_pinned_inside_its_range(extra: str) -> None:
    pinned = pins("requirements-dev.txt")
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name != "normviz":
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_the_command_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"normviz {__version__}\n"
