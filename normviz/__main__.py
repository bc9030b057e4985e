"""The command line: list the methods, draw a heatmap of a photo, normalize an array, and more."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from normviz.commands import (
    cam,
    class_model,
    errata,
    faithfulness,
    invariance,
    listing,
    localization,
    normalize,
    weights_and_blocks,
)
from normviz.commands.common import Parser, fail

COMMANDS = (listing, cam, faithfulness, localization, class_model, normalize, weights_and_blocks, errata, invariance)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 2 after one line on stderr that says what is wrong."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return fail(str(error))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m normviz",
        description="See what normalization does to activations, and which pixels made a network decide.",
        epilog="python -m normviz COMMAND --help says more about a command.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
