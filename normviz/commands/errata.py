"""`normviz errata`: misprinted formulas compared with the correct ones."""

from __future__ import annotations

import argparse

from normviz.commands.common import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "errata",
        help="compare formulas that are often misprinted with the correct ones",
        description="Evaluate each misprinted formula and the correct one on the same numbers.",
    )
    command.add_argument("name", metavar="NAME", nargs="?", help="explain only this erratum (default: all)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.experiments.errata import ERRATA

    if args.name and args.name not in ERRATA:
        raise ValueError(f"there is no erratum {args.name!r}; choose one of {', '.join(ERRATA)}")
    for erratum in [ERRATA[args.name]] if args.name else ERRATA.values():
        outcome = erratum.run()
        print(f"{erratum.name}: {erratum.title}")
        for fact in outcome.facts:
            printed = "nothing" if fact.printed is None else f"{fact.printed:.6g}"
            print(f"{'':4}{fact.label}: as printed {printed}, right {fact.right:.6g}")
        if args.name:
            print(f"\nprinted  {erratum.printed}\ncorrect  {erratum.right}\n\n{erratum.why}")
