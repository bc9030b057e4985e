"""`normviz cam`: draw a heatmap over a photo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import (
    Commands,
    add_knobs,
    callbacks_of,
    check_suffix,
    format_settings,
    registry,
    save_array,
    settings_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from normviz.registry import Attribution


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "cam",
        help="draw a heatmap over a photo: which pixels support a class",
        description="Draw a heatmap over the part of a photo that the network sees; optionally save the raw map.",
        epilog="example: normviz cam cat.jpg --method grad_cam --target cat --out heat.png",
    )
    command.add_argument("photo", metavar="PHOTO", type=Path, help="a JPEG, PNG, GIF, WebP, TIFF or other image file")
    command.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    command.add_argument("--target", metavar="CLASS", help="the class to explain (default: the most probable)")
    command.add_argument("--against", metavar="CLASS", help="explain the difference between --target and this class")
    command.add_argument("--layer", help="the layer (default: the last one with feature maps)")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="side of the network's input in pixels (default: its own)")
    add_knobs(command)
    command.add_argument("--out", metavar="HEAT.PNG", type=Path, required=True, help="file for the overlay")
    command.add_argument("--raw", metavar="MAP.NPY", type=Path, help="file for the raw map: in its unit, not resized")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.attribution import Probe, empty_reason
    from normviz.attribution.targets import Difference
    from normviz.colors import overlay
    from normviz.images import read_photo
    from normviz.models.catalog import load_classifier

    check_suffix(args.out, ".png")
    check_suffix(args.raw, ".npy")
    if args.out.exists() and args.photo.exists() and args.out.samefile(args.photo):
        raise ValueError(f"{args.out} is the photo itself; choose another file for --out")
    method: Attribution = registry().get(args.method, "attribution")
    settings = settings_of(method, args.set)
    photo = read_photo(args.photo)  # (3, H, W)
    classifier = load_classifier(args.model, args.size)
    probe = Probe(classifier.model, classifier.prepare(photo), layer=args.layer)
    best = int(probe.logits[0].argmax())
    target = best if args.target is None else classifier.index(args.target)
    other = None if args.against is None else classifier.index(args.against)
    if other == target:
        raise ValueError(f"--against must differ from --target; both are {classifier.classes[target]}")
    extra: dict[str, int] = {}
    if other is not None and method.takes("other"):
        extra["other"] = other
    probe = probe.for_target(target if other is None or extra else Difference(target, other))
    raw: Tensor = method.function(probe, **settings, **extra, **callbacks_of(method)).cpu()  # (1, h, w) or (1, 3, H, W)
    name = classifier.classes[target] + (f" rather than {classifier.classes[other]}" if other is not None else "")
    view = classifier.view(photo)  # (3, h, w)
    overlay(view, raw).save(args.out)
    if args.raw:
        save_array(args.raw, raw[0])
    where = f" at layer {probe.layer}" if method.level == "layer" else " at the input"
    colors = "" if raw.ndim == 3 else "; drawn as the sum over colors"
    part = "" if view.shape == photo.shape else f"; the network sees {view.shape[2]} x {view.shape[1]} of them"
    print(f"photo    {args.photo}, {photo.shape[2]} x {photo.shape[1]} pixels{part}")
    print(f"result   {classifier.verdict(probe.logits[0].float().softmax(dim=0).cpu()).text}")
    print(f"method   {method.title} for {name}{where}{format_settings(settings)}")
    print(f"map      {tuple(raw[0].shape)}, {raw.min():.4g} to {raw.max():.4g} {method.unit}{colors}")
    if reason := empty_reason(raw, probe, method.name, name):
        print(f"note     the map is empty: {reason}")
    print(f"wrote    {args.out}{f', {args.raw}' if args.raw else ''}")
