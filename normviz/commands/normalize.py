"""`normviz normalize`: normalize an array and print its statistics."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import (
    Commands,
    add_knobs,
    check_suffix,
    format_settings,
    registry,
    save_array,
    seed,
    settings_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from normviz.registry import Normalization

SHOWN = 8  # number of groups to print


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "normalize",
        aliases=["norm"],
        help="normalize an array and print its statistics before and after",
        description="Normalize an array from a file, or a generated one, of shape (N, C), (N, T, D), (N, C, H, W) or "
        "(N, C, D, H, W); for a method that acts on weights, (out, in, ...).",
        epilog="example: normviz normalize --method group_norm --shape 8,32,16,16 --set num_groups=4 --out y.npy",
    )
    command.add_argument("--method", required=True, help="a normalization, for example group_norm")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--input", metavar="X.NPY", type=Path, help="the array to normalize")
    source.add_argument(
        "--shape", type=_shape, default=(8, 32, 16, 16), help="shape of the generated array (default: 8,32,16,16)"
    )
    command.add_argument("--seed", type=seed, default=0, help="seed of the generated array (default: 0)")
    command.add_argument(
        "--padding",
        metavar="SHARE",
        type=_share,
        default=0.0,
        help="share of padded positions in generated sequences (N, T, D) (default: 0)",
    )
    command.add_argument("--distribution", default="normal", help="distribution of the generated array: normal, ...")
    command.add_argument(
        "--running", metavar=("MEAN.NPY", "VAR.NPY"), nargs=2, type=Path,
        help="running mean and variance, one value per channel, for inference (training=false)",
    )  # fmt: skip
    add_knobs(command)
    command.add_argument("--out", metavar="Y.NPY", type=Path, required=True, help="file for the result")
    command.set_defaults(run=run)


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a shape is whole numbers separated by commas, for example 8,32,16,16; received {text!r}"
        ) from None


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 0.9:
        raise argparse.ArgumentTypeError(f"a share is a number from 0 to 0.9; received {text!r}")
    return share


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz.activations import generate, layout_of, padding_mask
    from normviz.arrays import read_array
    from normviz.normalization import apply
    from normviz.normalization.analysis.conditioning import make_sides
    from normviz.normalization.analysis.statistics import check_finite
    from normviz.normalization.patterns import sizes

    check_suffix(args.out, ".npy")
    method: Normalization = registry().get(args.method, "normalization")
    settings = settings_of(method, args.set)
    if method.acts_on not in ("activations", "weights"):
        raise ValueError(
            f"{method.name} acts on {method.acts_on}, not on an array; run normviz weights-and-blocks {method.name}"
        )
    if args.input:
        x, source = read_array(args.input), str(args.input)
    else:
        x, source = generate(args.shape, args.distribution, args.seed), f"{args.distribution}, seed {args.seed}"
    check_finite(x)
    layout = layout_of(x.shape)
    if method.acts_on == "weights":
        result = method.function(x, **settings)
        y: Tensor = result[0] if isinstance(result, tuple) else result  # spectral norm also returns its vector
    else:
        running = None
        if args.running:
            mean, variance = (read_array(path).to(x.dtype) for path in args.running)
            running = mean, variance
        sides = make_sides(method, x)
        if args.padding and layout == "ntd":
            sides["mask"] = padding_mask(x.shape[0], x.shape[1], args.padding, args.seed)  # (N, T)
            x = x * sides["mask"][..., None]  # (N, T, D)
        y = apply(method, x, layout, running=running, sides=sides, **settings)
    save_array(args.out, y)
    print(f"input    {tuple(x.shape)}, {source}")
    print(f"method   {method.title}{format_settings(settings)}")
    if method.acts_on == "weights":
        _print_weights(x, y)
    else:
        _print_statistics(x, y, method.pattern(layout, settings), layout, sizes(method, settings))
    print(f"wrote    {args.out}")


def _print_weights(before: Tensor, after: Tensor) -> None:
    """Print norms and the largest singular value of a weight matrix (out, in ...) before and after."""
    import torch

    print(f"\n{'':>24}{'before':>14}{'after':>14}")
    rows = [weight.double().flatten(1) for weight in (before, after)]
    for name, measure in (
        ("largest singular value", lambda w: torch.linalg.matrix_norm(w, ord=2)),
        ("mean row norm", lambda w: w.norm(dim=1).mean()),
        ("mean of all", torch.mean),
        ("std of all", lambda w: w.std(correction=0)),
    ):
        print(f"{name:>24}" + "".join(f"{float(measure(weight)):>14.6g}" for weight in rows))
    print()


def _print_statistics(x: Tensor, y: Tensor, pattern: str | None, layout: str, group_sizes: dict[str, int]) -> None:
    """Print mean and standard deviation of all values and of the first groups, before and after."""
    from normviz.normalization.analysis.statistics import group_statistics
    from normviz.normalization.patterns import describe_axes

    rows = [("all", *(float(v) for t in (x, y) for v in (t.double().mean(), t.double().std(correction=0))))]
    if pattern:
        before, after = (group_statistics(t, pattern, layout, None, **group_sizes) for t in (x, y))
        print(f"axes     {describe_axes(pattern)}: {len(before.mean):,} groups")
        columns = [before.mean, before.std, after.mean, after.std]
        rows += [(str(i), *(float(column[i]) for column in columns)) for i in range(min(SHOWN, len(before.mean)))]
    print(f"\n{'group':>8}{'mean before':>14}{'std before':>14}{'mean after':>14}{'std after':>14}")
    for name, *numbers in rows:
        print(f"{name:>8}" + "".join(f"{number:>14.6g}" for number in numbers))
    if pattern and len(before.mean) > SHOWN:
        print(f"{'...':>8}  {len(before.mean) - SHOWN:,} more")
    print()
