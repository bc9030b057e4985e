"""What the commands share: errors in one line, knobs from texts, checked file names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # the rest is imported where it is used: --help and a mistyped option answer at once
    from torch import Tensor

    from normviz.registry import Method, Value

Commands = argparse._SubParsersAction


def fail(message: str) -> int:
    """Print one line on stderr; the exit status."""
    print("normviz: error:", " ".join(message.split()), file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        sys.exit(fail(f"{message} (see {self.prog} --help)"))


def add_knobs(command: argparse.ArgumentParser) -> None:
    """The option that turns the knobs of a method."""
    command.add_argument(
        "--set", metavar="KNOB=VALUE", nargs="+", action="extend", default=[],
        help="turn knobs of the method; `normviz list` shows them",
    )  # fmt: skip


def seed(text: str) -> int:
    """A seed from its text."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2**63 - 1; received {text!r}")
    return int(text)


def registry() -> ModuleType:
    """The registry, with every method registered."""
    from normviz import attribution, normalization, registry  # noqa: F401

    return registry


def settings_of(method: Method, given: Sequence[str]) -> dict[str, Any]:
    """Every knob's value, from the texts KNOB=VALUE and the defaults."""
    return method.settings(pairs_of(given))


def pairs_of(given: Sequence[str]) -> dict[str, Value]:
    """The values by the names of the knobs, from the texts KNOB=VALUE."""
    pairs: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes KNOB=VALUE; received {text!r}")
        pairs[name.strip()] = value
    return pairs


def in_words(settings: Mapping[str, Value]) -> str:
    """The settings, as they stand after the method in the output."""
    return "".join(f", {name}={value}" for name, value in settings.items())


def check_ending(path: Path | None, ending: str) -> None:
    """Refuse an output whose name would not say what it is, before anything is computed."""
    if path is not None and path.suffix.lower() != ending:
        raise ValueError(f"{path}: the name must end in {ending}")


def save_array(path: Path, values: Tensor) -> None:
    """Write an array as .npy."""
    import numpy as np

    with path.open("wb") as file:
        np.save(file, values.numpy(), allow_pickle=False)


def reports_of(method: Method) -> dict[str, Any]:
    """What a slow method calls meanwhile: its progress goes to a terminal, its notes to the output."""
    reports: dict[str, Any] = {}
    if method.takes("progress") and sys.stderr.isatty():
        reports["progress"] = lambda share: print(f"\r{method.title} {share:4.0%}", end="", file=sys.stderr, flush=True)
    if method.takes("note"):
        reports["note"] = lambda text: print(f"note     {text}")
    return reports
