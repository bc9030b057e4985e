"""The command line: start the app, list the methods, draw a heatmap of a photo, normalize an array, and more."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from normviz import __version__
from normviz.commands import (
    app,
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

COMMANDS = (
    app, listing, cam, faithfulness, localization, class_model, normalize, weights_and_blocks, errata, invariance,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command and its options; by default those of the process.

    Returns:
        The exit status: 0, or 2 after a one-line error on stderr.
    """
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as in `normviz list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return fail(str(error))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="normviz",
        description="See what normalization does to activations, and which pixels an image classifier relies on.",
        epilog="`normviz COMMAND --help` describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"normviz {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
