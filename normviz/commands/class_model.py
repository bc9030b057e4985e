"""`class-model`: the picture that a network would call a class the most."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from normviz.commands.common import Commands, check_ending, seed


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "class-model",
        help="the picture that a network would call a class the most",
        description="Search for the picture with the highest logit, S - lambda |I|^2, from zero (Simonyan 2013).",
        epilog="example: python -m normviz class-model --target cat --out cat.png",
    )
    command.add_argument("--target", metavar="CLASS", required=True, help="the class")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="pixels a side of the picture (default: the network's own)")
    command.add_argument("--steps", type=int, default=100, help="steps of the ascent (default: 100)")
    command.add_argument("--decay", type=float, default=1e-3, help="lambda (default: 0.001)")
    command.add_argument("--rate", type=float, default=10.0, help="rate of the ascent (default: 10)")
    command.add_argument("--jitter", type=int, default=0, help="move it by up to so many pixels (default: 0)")
    command.add_argument("--blur", type=float, default=0.0, help="blur it by so many pixels at each fourth step")
    command.add_argument("--starts", type=int, default=1, help="pictures, side by side; all but the first from noise")
    command.add_argument("--seed", type=seed, default=0, help="of the noise and the moves (default: 0)")
    command.add_argument("--out", metavar="PICTURE.PNG", type=Path, required=True, help="where the picture goes")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from normviz.attribution import class_model
    from normviz.images import encode_png, to_uint8
    from normviz.models.catalog import load_classifier

    check_ending(args.out, ".png")
    classifier = load_classifier(args.model, args.size)
    target = classifier.index(args.target)

    def progress(share: float) -> None:
        print(f"\rclass model {share:4.0%}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)

    found = class_model(
        classifier.model, target, classifier.size, classifier.mean, classifier.std, decay=args.decay, rate=args.rate,
        steps=args.steps, jitter=args.jitter, blur=args.blur, starts=args.starts, seed=args.seed,
        progress=progress if sys.stderr.isatty() else None,
    )  # fmt: skip
    levels = to_uint8(found.pixels).permute(1, 2, 0, 3).flatten(2)  # (3, H, S W)
    args.out.write_bytes(encode_png(levels.permute(1, 2, 0).cpu().numpy()))
    for index, (first, last, norm) in enumerate(zip(found.scores[0], found.scores[-1], found.norms[-1], strict=True)):
        print(
            f"picture  {index + 1}: logit of {classifier.classes[target]} {first:.4g} at the start, {last:.4g} "
            f"at the end; penalty {args.decay * norm:.4g}"
        )
    print(f"wrote    {args.out}")
