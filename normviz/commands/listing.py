"""`normviz list`: all methods with their knobs and axes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, registry

if TYPE_CHECKING:
    from normviz.registry import Knob, Method

SECTIONS: dict[str, Callable[[Method], bool]] = {
    "normalization of activations and data": lambda method: method.takes_activations,
    "normalization of weights": lambda method: method.kind == "normalization" and method.acts_on == "weights",
    "normalization in training": lambda method: method.kind == "normalization" and method.acts_on == "training",
    "blocks with a normalization": lambda method: method.kind == "normalization" and method.acts_on == "blocks",
    "attribution": lambda method: method.kind == "attribution",
}


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "list", help="list all methods with their knobs and axes", description="List all methods."
    )
    command.add_argument(
        "--json", action="store_true", help="print JSON: name, title, kind, axes, formula, params, ..."
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    import json

    from normviz.normalization.patterns import describe_axes

    methods: list[Method] = registry().methods()
    if args.json:
        print(json.dumps([method.facts() for method in methods], indent=2))
        return
    for heading, belongs in SECTIONS.items():
        print(f"{heading}:")
        for method in filter(belongs, methods):
            print(f"  {method.name:<16} {method.title}: {method.summary}")
            for key, pattern in method.axes.items():
                layout, _, condition = key.partition(" ")
                shared = describe_axes(pattern) if pattern else "no shared statistics"
                print(f"{'':21}{layout.upper()}{condition and f' with {condition}'}: {shared}")
            for knob in method.knobs:
                print(f"{'':21}--set {knob.name}={knob.default} ({_domain(knob)}): {knob.help}")


def _domain(knob: Knob) -> str:
    """The values that a knob accepts."""
    if knob.range:
        return f"{knob.range.low:g} to {knob.range.high:g}"
    return ", ".join(knob.choices) or "true, false"
