"""`normviz list`: all methods with their knobs and axes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, registry

if TYPE_CHECKING:
    from normviz.registry import ActsOn, Knob, Method, Normalization

SECTIONS: dict[ActsOn, str] = {
    "activations": "normalization of activations and data",
    "weights": "normalization of weights",
    "training": "normalization in training",
    "blocks": "blocks with a normalization",
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

    if args.json:
        print(json.dumps([method.facts() for method in registry().methods()], indent=2))
        return
    normalizations: list[Normalization] = registry().methods("normalization")
    for acts_on, heading in SECTIONS.items():
        print(f"{heading}:")
        for method in normalizations:
            if method.acts_on == acts_on:
                _print(method)
    print("attribution:")
    for method in registry().methods("attribution"):
        _print(method)


def _print(method: Method) -> None:
    """Print a method, its axes and its knobs."""
    from normviz.normalization.patterns import describe_axes

    print(f"  {method.name:<16} {method.title}: {method.summary}")
    for key, pattern in (method.facts().get("axes") or {}).items():
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
