"""`faithful`: whether a heatmap is true, measured beside maps that know nothing of the network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, add_knobs, in_words, registry, reports_of, seed, settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from normviz.evaluation.faithfulness.assessment import Assessment
    from normviz.registry import Method

FILLS = ("mean", "blur", "black")
HEADINGS = ("deletion", "insertion", "drop", "increase", "ROAD gap")
GOOD = ("low", "high", "low", "yes", "high")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "faithfulness",
        aliases=["faithful"],
        help="whether a heatmap is true, beside a random map, the image's center and its edges",
        description="Take away what a heatmap marks, put it back, and print how the class's probability follows: "
        "areas under the deletion and insertion curves, drop and increase in confidence, ROAD.",
        epilog="example: normviz faithfulness cat.jpg --method grad_cam",
    )
    command.add_argument("photo", metavar="PHOTO", type=Path, help="a JPEG, PNG, GIF, WebP, TIFF ... file")
    command.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    command.add_argument("--target", metavar="CLASS", help="the class to explain (default: the most probable)")
    command.add_argument("--layer", help="the layer to read (default: the last one with feature maps)")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="pixels a side of the network's input (default: its own)")
    add_knobs(command)
    command.add_argument(
        "--fill", choices=FILLS, default="mean", help="what replaces removed pixels in deletion (default: mean)"
    )
    command.add_argument("--steps", type=_steps, default=50, help="pictures along a curve (default: 50)")
    command.add_argument("--logit", action="store_true", help="curves and ROAD of the logit instead of the probability")
    command.add_argument(
        "--seed", type=seed, default=0, help="of the random map, of equal pixels and of noise (default: 0)"
    )
    command.set_defaults(run=run)


def _steps(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"a number of steps is a whole number from 1 to 1000; received {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from normviz.attribution import Probe, empty_reason
    from normviz.evaluation.faithfulness.assessment import (
        BASELINES,
        Settings,
        assess_all,
        baseline_maps,
        black_level,
        verdict,
    )
    from normviz.evaluation.faithfulness.replacements import REPLACEMENTS
    from normviz.images import read_photo
    from normviz.models.catalog import load_classifier

    method: Method = registry().get(args.method, "attribution")
    settings = settings_of(method, args.set)
    photo = read_photo(args.photo)  # (3, H, W)
    classifier = load_classifier(args.model, args.size)
    target = None if args.target is None else classifier.index(args.target)
    probe = Probe(classifier.model, classifier.prepare(photo), target, args.layer)
    raw: Tensor = method.function(probe, **settings, **reports_of(method))  # (1, h, w) or (1, 3, H, W)
    name = classifier.classes[int(probe.target[0])]
    how = Settings(args.fill, args.steps, not args.logit, args.seed)
    cells = (raw.shape[-2], raw.shape[-1])
    maps = {"map": raw[0]} | baseline_maps(probe.images[0], cells, args.seed)
    black = black_level(classifier.mean, classifier.std)
    found = assess_all(probe, maps, black, how, progress=_show if sys.stderr.isatty() else None)
    score = "logit" if args.logit else "probability"
    where = f" at layer {probe.layer}" if method.level == "layer" else " at the input"
    print(f"photo    {args.photo}, {photo.shape[2]} x {photo.shape[1]} pixels")
    print(f"network  {classifier.verdict(probe.logits[0].float().softmax(dim=0).cpu()).text}")
    print(f"method   {method.title} for {name}{where}{in_words(settings)}")
    if reason := empty_reason(raw, probe, method.name, name):
        print(f"note     the map is empty: {reason}")
    removed = REPLACEMENTS[how.replacement]
    print(f"curves   {score}; {args.steps} steps; removed pixels become {removed}, insertion starts from blur")
    print(f"\n{'':<20}{''.join(f'{heading:>11}' for heading in HEADINGS)}")
    print(f"{'good is':<20}{''.join(f'{good:>11}' for good in GOOD)}")
    for key, one in found.items():
        title = method.title if key == "map" else BASELINES[key]
        print(f"{title:<20}{''.join(f'{text:>11}' for text in _numbers(one))}")
    said = verdict(found["map"], {key: found[key] for key in BASELINES}, score)
    print(f"\n{said.text}")


def _numbers(one: Assessment) -> tuple[str, ...]:
    """A line of the table."""
    increase = "yes" if one.confidence.increased else "no"
    areas = f"{one.deletion.area:.3f}", f"{one.insertion.area:.3f}"
    return *areas, f"{one.confidence.drop:.0%}", increase, f"{one.road.gap:.3f}"


def _show(share: float) -> None:
    print(f"\rasking the network {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)
