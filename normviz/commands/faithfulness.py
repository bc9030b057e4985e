"""`normviz faithfulness`: score a heatmap and compare it with maps that ignore the network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, add_knobs, callbacks_of, format_settings, registry, seed, settings_of
from normviz.formatting import percent

if TYPE_CHECKING:
    from torch import Tensor

    from normviz.evaluation.faithfulness.assessment import Assessment
    from normviz.registry import Attribution

FILLS = ("mean", "blur", "black")
HEADINGS = ("deletion", "insertion", "drop", "increase", "ROAD gap")
GOOD = ("low", "high", "low", "yes", "high")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "faithfulness",
        aliases=["faithful"],
        help="measure whether a heatmap is faithful, compared with a random map, a centered blob and edges",
        description="Remove and insert the pixels that a heatmap marks and measure the class's probability: "
        "areas under the deletion and insertion curves, drop and increase in confidence, ROAD.",
        epilog="example: normviz faithfulness cat.jpg --method grad_cam",
    )
    command.add_argument("photo", metavar="PHOTO", type=Path, help="a JPEG, PNG, GIF, WebP, TIFF or other image file")
    command.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    command.add_argument("--target", metavar="CLASS", help="the class to explain (default: the most probable)")
    command.add_argument("--layer", help="the layer (default: the last one with feature maps)")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="side of the network's input in pixels (default: its own)")
    add_knobs(command)
    command.add_argument(
        "--fill", choices=FILLS, default="mean", help="replacement for removed pixels in deletion (default: mean)"
    )
    command.add_argument("--steps", type=_steps, default=50, help="steps of each curve (default: 50)")
    command.add_argument("--logit", action="store_true", help="measure the logit instead of the probability")
    command.add_argument(
        "--seed", type=seed, default=0, help="seed of the random map, of ties between pixels, and of noise (default: 0)"
    )
    command.set_defaults(run=run)


def _steps(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"a number of steps is a whole number from 1 to 1000; received {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
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

    method: Attribution = registry().get(args.method, "attribution")
    settings = settings_of(method, args.set)
    photo = read_photo(args.photo)  # (3, H, W)
    classifier = load_classifier(args.model, args.size)
    target = None if args.target is None else classifier.index(args.target)
    probe = Probe(classifier.model, classifier.prepare(photo), target, args.layer)
    raw: Tensor = method.function(probe, **settings, **callbacks_of(method))  # (1, h, w) or (1, 3, H, W)
    name = classifier.classes[int(probe.target[0])]
    judging = Settings(args.fill, args.steps, not args.logit, args.seed)
    cells = (raw.shape[-2], raw.shape[-1])
    maps = {"map": raw[0]} | baseline_maps(probe.images[0], cells, args.seed)
    black = black_level(classifier.mean, classifier.std)
    results = assess_all(probe, maps, black, judging, progress=_show if sys.stderr.isatty() else None)
    score = "logit" if args.logit else "probability"
    where = f" at layer {probe.layer}" if method.level == "layer" else " at the input"
    print(f"photo    {args.photo}, {photo.shape[2]} x {photo.shape[1]} pixels")
    print(f"network  {classifier.verdict(probe.logits[0].float().softmax(dim=0).cpu()).text}")
    print(f"method   {method.title} for {name}{where}{format_settings(settings)}")
    if reason := empty_reason(raw, probe, method.name, name):
        print(f"note     the map is empty: {reason}")
    fill = REPLACEMENTS[judging.replacement]
    print(f"curves   {score}; {args.steps} steps; removed pixels become {fill}, insertion starts from blur")
    print(f"\n{'':<20}{''.join(f'{heading:>11}' for heading in HEADINGS)}")
    print(f"{'better':<20}{''.join(f'{good:>11}' for good in GOOD)}")
    for key, result in results.items():
        title = method.title if key == "map" else BASELINES[key]
        print(f"{title:<20}{''.join(f'{text:>11}' for text in _numbers(result))}")
    print(f"\n{verdict(results['map'], {key: results[key] for key in BASELINES}, score).text}")


def _numbers(result: Assessment) -> tuple[str, ...]:
    """The cells of a table row."""
    increase = "yes" if result.confidence.increased else "no"
    areas = f"{result.deletion.area:.3f}", f"{result.insertion.area:.3f}"
    return *areas, percent(result.confidence.drop, short=True, counted=True), increase, f"{result.road.gap:.3f}"


def _show(share: float) -> None:
    print(f"\revaluating {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)
