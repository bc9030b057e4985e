"""`normviz invariance`: changes that leave the output of a normalization unchanged."""

from __future__ import annotations

import argparse

from normviz.commands.common import Commands, seed


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "invariance",
        help="measure which changes of weights and data leave the output unchanged",
        description="Measure for every normalization which changes of weights and data leave its output unchanged.",
    )
    command.add_argument("--layout", default="nchw", help="nc, ntd or nchw (default: nchw)")
    command.add_argument("--seed", type=seed, default=0, help="seed of weights and data (default: 0)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.experiments.invariance.measurement import columns, matrix, rows

    if args.layout not in ("nc", "ntd", "nchw"):
        raise ValueError(f"the layout must be nc, ntd or nchw; received {args.layout!r}")
    cells = matrix(args.layout, args.seed)
    labels = [row.label for row in rows(args.layout)]
    width = max(map(len, labels)) + 2
    for number, column in enumerate(columns(args.layout)):
        print(f"  ({number + 1}) {column.title}: {column.symbol}")
    print("=: unchanged; a number: change relative to the norm of the output; –: not applicable\n")
    print(f"{'':{width}}" + "".join(f"{f'({number + 1})':>8}" for number in range(len(columns(args.layout)))))
    for label, row in zip(labels, cells, strict=True):
        marks = ["–" if cell.refused else "=" if cell.unchanged else f"{cell.change:.2g}" for cell in row]
        print(f"{label:{width}}" + "".join(f"{mark:>8}" for mark in marks))
