"""`normviz weights-and-blocks`: demonstrate a method that acts on weights, gradients, losses or a block."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, add_knobs, parse_pairs, registry, seed

if TYPE_CHECKING:
    from normviz.registry import Normalization


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "weights-and-blocks",
        aliases=["demo"],
        help="demonstrate a method that acts on weights, gradients, losses or a block",
        description="Run a small seeded demonstration and compare measured values with the theory.",
        epilog="example: normviz weights-and-blocks spectral_norm --set steps=3",
    )
    command.add_argument("method", metavar="METHOD", help="a method that acts on weights, training or blocks")
    command.add_argument("--seed", type=seed, default=0, help="seed of all random numbers (default: 0)")
    add_knobs(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.experiments.demonstrations import experiments

    method: Normalization = registry().get(args.method, "normalization")
    if method.name not in experiments():
        raise ValueError(
            f"{method.name} acts on {method.acts_on}: run it with normviz normalize --method {method.name}; "
            f"weights-and-blocks runs {', '.join(experiments())}"
        )
    result = experiments()[method.name].demonstrate(parse_pairs(args.set), args.seed)
    print(f"method   {method.title}\n{'':9}{result.title}\n")
    print(f"{'':>60}{'measured':>14}{'expected':>14}")
    for fact in result.facts:
        expected = "" if fact.expected is None else f"{fact.expected:.6g}"
        print(f"{fact.label:>60}{fact.measured:>14.6g}{expected:>14}")
