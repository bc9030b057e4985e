"""Helpers for the commands: one-line errors, parsing of options, checks of file names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # commands import the library in `run`, so that --help and usage errors are fast
    from torch import Tensor

    from normviz.registry import Method, Value

Commands = argparse._SubParsersAction


def fail(message: str) -> int:
    """Print an error on one line of stderr and return the exit status."""
    print("normviz: error:", " ".join(message.split()), file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors on one line."""

    def error(self, message: str) -> NoReturn:
        sys.exit(fail(f"{message} (see {self.prog} --help)"))


def add_knobs(command: argparse.ArgumentParser) -> None:
    """Add the option that sets the knobs of a method."""
    command.add_argument(
        "--set", metavar="KNOB=VALUE", nargs="+", action="extend", default=[],
        help="set knobs of the method; `normviz list` shows them",
    )  # fmt: skip


def seed(text: str) -> int:
    """Parse a seed."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2**63 - 1; received {text!r}")
    return int(text)


def registry() -> ModuleType:
    """Return the registry with every method registered."""
    from normviz import attribution, normalization, registry  # noqa: F401

    return registry


def settings_of(method: Method, options: Sequence[str]) -> dict[str, Any]:
    """The value of every knob: parsed from KNOB=VALUE, or its default."""
    return method.settings(parse_pairs(options))


def parse_pairs(options: Sequence[str]) -> dict[str, Value]:
    """Parse KNOB=VALUE options into a dictionary."""
    pairs: dict[str, Value] = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes KNOB=VALUE; received {text!r}")
        pairs[name.strip()] = value
    return pairs


def format_settings(settings: Mapping[str, Value]) -> str:
    """The settings in the form that the output appends to a method's title."""
    return "".join(f", {name}={value}" for name, value in settings.items())


def check_suffix(path: Path | None, suffix: str) -> None:
    """Raise a ValueError unless an output file has this suffix."""
    if path is not None and path.suffix.lower() != suffix:
        raise ValueError(f"{path}: the name must end in {suffix}")


def save_array(path: Path, values: Tensor) -> None:
    """Write a tensor as a .npy file."""
    import numpy as np

    with path.open("wb") as file:
        np.save(file, values.numpy(), allow_pickle=False)


def callbacks_of(method: Method) -> dict[str, Any]:
    """Callbacks that a method accepts: `progress` prints to a terminal, `note` to the output."""
    callbacks: dict[str, Any] = {}
    if method.takes("progress") and sys.stderr.isatty():
        callbacks["progress"] = lambda share: print(
            f"\r{method.title} {share:4.0%}", end="", file=sys.stderr, flush=True
        )
    if method.takes("note"):
        callbacks["note"] = lambda text: print(f"note     {text}")
    return callbacks
