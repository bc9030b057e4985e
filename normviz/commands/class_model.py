"""`normviz class-model`: an image with a high score for a class."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from normviz.commands.common import Commands, check_suffix, seed


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "class-model",
        help="search for an image with a high score for a class",
        description="Maximize logit(I) - lambda |I|^2 over images I by gradient ascent (Simonyan et al. 2013).",
        epilog="example: normviz class-model --target cat --out cat.png",
    )
    command.add_argument("--target", metavar="CLASS", required=True, help="the class")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="side of the image in pixels (default: the network's own)")
    command.add_argument("--steps", type=int, default=100, help="gradient ascent steps (default: 100)")
    command.add_argument("--decay", type=float, default=1e-3, help="weight lambda of the penalty (default: 0.001)")
    command.add_argument("--rate", type=float, default=10.0, help="learning rate (default: 10)")
    command.add_argument("--jitter", type=int, default=0, help="largest random shift per step, in pixels (default: 0)")
    command.add_argument(
        "--blur",
        type=float,
        default=0.0,
        help="blur by this many pixels at every fourth step",
    )
    command.add_argument(
        "--starts",
        type=int,
        default=1,
        help="number of images; all but the first start from noise",
    )
    command.add_argument("--seed", type=seed, default=0, help="seed of the noise and the shifts (default: 0)")
    command.add_argument("--out", metavar="IMAGE.PNG", type=Path, required=True, help="file for the image")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.attribution import class_model
    from normviz.images import encode_png, to_uint8
    from normviz.models.catalog import load_classifier

    check_suffix(args.out, ".png")
    classifier = load_classifier(args.model, args.size)
    target = classifier.index(args.target)

    def progress(share: float) -> None:
        print(f"\rclass model {share:4.0%}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)

    result = class_model(
        classifier.model, target, classifier.size, classifier.mean, classifier.std, decay=args.decay, rate=args.rate,
        steps=args.steps, jitter=args.jitter, blur=args.blur, starts=args.starts, seed=args.seed,
        progress=progress if sys.stderr.isatty() else None,
    )  # fmt: skip
    levels = to_uint8(result.pixels).permute(1, 2, 0, 3).flatten(2)  # (3, H, S W)
    args.out.write_bytes(encode_png(levels.permute(1, 2, 0).cpu().numpy()))
    outcomes = zip(result.scores[0], result.scores[-1], result.norms[-1], strict=True)
    for number, (first, last, norm) in enumerate(outcomes, 1):
        print(
            f"image    {number}: logit of {classifier.classes[target]} {first:.4g} at the start, {last:.4g} "
            f"at the end; penalty {args.decay * norm:.4g}"
        )
    print(f"wrote    {args.out}")
