"""`cam`: a heatmap of a photo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import (
    Commands,
    add_knobs,
    check_ending,
    in_words,
    registry,
    reports_of,
    save_array,
    settings_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from normviz.registry import Method


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "cam",
        help="a heatmap of a photo: which pixels spoke for a class",
        description="Write a heatmap over what the network sees of its photo, and the raw map if asked for.",
        epilog="example: python -m normviz cam cat.jpg --method grad_cam --target cat --out heat.png",
    )
    command.add_argument("photo", metavar="PHOTO", type=Path, help="a JPEG, PNG, GIF, WebP, TIFF ... file")
    command.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    command.add_argument("--target", metavar="CLASS", help="the class to explain (default: the most probable)")
    command.add_argument("--against", metavar="CLASS", help="why --target and not this class: explain the difference")
    command.add_argument("--layer", help="the layer to read (default: the last one with feature maps)")
    command.add_argument("--model", default="photos", help="a classifier by name, or hub:owner/name (default: photos)")
    command.add_argument("--size", type=int, help="pixels a side of the network's input (default: its own)")
    add_knobs(command)
    command.add_argument("--out", metavar="HEAT.PNG", type=Path, required=True, help="where the overlay goes")
    command.add_argument("--raw", metavar="MAP.NPY", type=Path, help="where the raw map goes: in its unit, not resized")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from normviz.attribution import Probe, empty_reason
    from normviz.attribution.targets import Difference
    from normviz.colors import OPACITY, SIGNED, limits, overlay
    from normviz.images import encode_png, read_photo, sum_channels
    from normviz.models.catalog import load_classifier

    check_ending(args.out, ".png")
    check_ending(args.raw, ".npy")
    if args.out.exists() and args.photo.exists() and args.out.samefile(args.photo):
        raise ValueError(f"{args.out} is the photo itself; choose another name for --out")
    method: Method = registry().get(args.method, "attribution")
    settings = settings_of(method, args.set)
    photo = read_photo(args.photo)  # (3, H, W)
    classifier = load_classifier(args.model, args.size)
    probe = Probe(classifier.model, classifier.prepare(photo), layer=args.layer)
    best = int(probe.logits[0].argmax())
    target = best if args.target is None else classifier.index(args.target)
    other = None if args.against is None else classifier.index(args.against)
    if other == target:
        raise ValueError(f"--against must name another class than {classifier.classes[target]}")
    aside: dict[str, int] = {}
    if other is not None and method.takes("other"):
        aside["other"] = other
    probe = probe.for_target(target if other is None or aside else Difference(target, other))
    raw: Tensor = method.function(probe, **settings, **aside, **reports_of(method)).cpu()  # (1, h, w) or (1, 3, H, W)
    name = classifier.classes[target] + (f" and not {classifier.classes[other]}" if other is not None else "")
    drawn = sum_channels(raw[0])  # (h, w)
    signed = bool((drawn < 0).any())
    low, high = limits(drawn, signed)
    seen = classifier.view(photo)  # (3, h, w), the part of the photo that the map is of
    picture = overlay(seen, drawn, SIGNED if signed else "inferno", OPACITY, low, high)  # (h, w, 3)
    args.out.write_bytes(encode_png(picture))
    if args.raw:
        save_array(args.raw, raw[0])
    where = f" at layer {probe.layer}" if method.level == "layer" else " at the input"
    colors = "" if raw.ndim == 3 else "; drawn: the sum of the colors"
    part = "" if seen.shape == photo.shape else f", of which the network sees {seen.shape[2]} x {seen.shape[1]}"
    print(f"photo    {args.photo}, {photo.shape[2]} x {photo.shape[1]} pixels{part}")
    print(f"verdict  {classifier.verdict(probe.logits[0].float().softmax(dim=0).cpu()).text}")
    print(f"method   {method.title} for {name}{where}{in_words(settings)}")
    print(f"map      {tuple(raw[0].shape)}, {raw.min():.4g} to {raw.max():.4g} {method.unit}{colors}")
    if reason := empty_reason(raw, probe, method.name, name):
        print(f"note     the map is empty: {reason}")
    print(f"wrote    {args.out}{f', {args.raw}' if args.raw else ''}")
