"""The command line: list the methods, draw a heatmap of a photo, normalize an array."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # the rest is imported where it is used: --help and a mistyped option answer at once
    from torch import Tensor

    from normviz.registry import Knob, Method, Value

SHOWN = 8  # groups whose statistics are printed
SECTIONS: dict[str, Callable[[Method], bool]] = {
    "normalization of activations and data": lambda method: method.takes_activations,
    "normalization of weights": lambda method: method.kind == "normalization" and method.acts_on == "weights",
    "normalization in training": lambda method: method.kind == "normalization" and method.acts_on == "training",
    "blocks with a normalization": lambda method: method.kind == "normalization" and method.acts_on == "blocks",
    "attribution": lambda method: method.kind == "attribution",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 2 after one line on stderr that says what is wrong."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    print("normviz: error:", " ".join(message.split()), file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_fail(f"{message} (see {self.prog} --help)"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m normviz",
        description="See what normalization does to activations, and which pixels made a network decide.",
        epilog="python -m normviz COMMAND --help says more about a command.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="every method, its knobs and its axes", description="List every method.")
    command.add_argument("--json", action="store_true", help="as JSON: name, title, kind, axes, formula, params, ...")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "cam",
        help="a heatmap of a photo: which pixels spoke for a class",
        description="Write a heatmap laid over its photo, and the raw map if asked for.",
        epilog="example: python -m normviz cam cat.jpg --method grad_cam --target cat --out heat.png",
    )
    command.add_argument("photo", metavar="PHOTO", type=Path, help="a JPEG, PNG, GIF, WebP, TIFF ... file")
    command.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    command.add_argument("--target", metavar="CLASS", help="the class to explain (default: the most probable)")
    command.add_argument("--layer", help="the layer to read (default: the last one with feature maps)")
    command.add_argument("--model", default="photos", help="a classifier of the catalogue (default: photos)")
    _add_knobs(command)
    command.add_argument("--out", metavar="HEAT.PNG", type=Path, required=True, help="where the overlay goes")
    command.add_argument("--raw", metavar="MAP.NPY", type=Path, help="where the raw map goes: in its unit, not resized")
    command.set_defaults(run=_cam)

    command = commands.add_parser(
        "norm",
        help="normalize an array, and print its statistics before and after",
        description="Normalize an array from a file or a generated one: (N, C), (N, T, D), (N, C, H, W) or "
        "(N, C, D, H, W); or weights (out, in, ...), for a method that acts on weights.",
        epilog="example: python -m normviz norm --method group_norm --shape 8,32,16,16 --set num_groups=4 --out y.npy",
    )
    command.add_argument("--method", required=True, help="a normalization, as group_norm")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--input", metavar="X.NPY", type=Path, help="the array to normalize")
    source.add_argument(
        "--shape", type=_shape, default=(8, 32, 16, 16), help="sizes of a generated array (default: 8,32,16,16)"
    )
    command.add_argument("--seed", type=_seed, default=0, help="seed of the generated array (default: 0)")
    command.add_argument(
        "--padding",
        metavar="SHARE",
        type=_share,
        default=0.0,
        help="of sequences (N, T, D), the share of padded frames",
    )
    command.add_argument("--distribution", default="normal", help="distribution of the generated array: normal, ...")
    command.add_argument(
        "--running", metavar=("MEAN.NPY", "VAR.NPY"), nargs=2, type=Path,
        help="running mean and variance, one value a channel, for inference (training=false)",
    )  # fmt: skip
    _add_knobs(command)
    command.add_argument("--out", metavar="Y.NPY", type=Path, required=True, help="where the result goes")
    command.set_defaults(run=_norm)

    command = commands.add_parser(
        "demo",
        help="run a method that acts on weights, gradients, losses or a block, and print what is measured",
        description="Run a small seeded demonstration: what is measured, beside what theory expects.",
        epilog="example: python -m normviz demo spectral_norm --set steps=3",
    )
    command.add_argument("method", metavar="METHOD", help="a method that acts on weights, training or blocks")
    command.add_argument("--seed", type=_seed, default=0, help="seed of everything that is drawn (default: 0)")
    _add_knobs(command)
    command.set_defaults(run=_demo)

    command = commands.add_parser(
        "errata",
        help="formulas that are often printed wrong, run beside the right ones",
        description="Run each misprinted formula and the right one on the same numbers.",
    )
    command.add_argument("name", metavar="NAME", nargs="?", help="only this one, explained (default: all)")
    command.set_defaults(run=_errata)

    command = commands.add_parser(
        "invariance",
        help="what can be changed without the output noticing, measured",
        description="Measure for every normalization which changes of weights and data leave its output as it is.",
    )
    command.add_argument("--layout", default="nchw", help="nc, ntd or nchw (default: nchw)")
    command.add_argument("--seed", type=_seed, default=0, help="seed of weights and data (default: 0)")
    command.set_defaults(run=_invariance)
    return parser


def _add_knobs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", metavar="KNOB=VALUE", nargs="+", action="extend", default=[],
        help="turn knobs of the method; python -m normviz list shows them",
    )  # fmt: skip


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a shape is whole numbers with commas, as 8,32,16,16; received {text!r}"
        ) from None


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2**63 - 1; received {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 0.9:
        raise argparse.ArgumentTypeError(f"a share is a number from 0 to 0.9; received {text!r}")
    return share


def _registry() -> ModuleType:
    """The registry, with every method registered."""
    from normviz import attribution, normalization, registry  # noqa: F401

    return registry


def _settings(method: Method, given: Sequence[str]) -> dict[str, Any]:
    """Every knob's value, from the texts KNOB=VALUE and the defaults."""
    return method.settings(_pairs(given))


def _pairs(given: Sequence[str]) -> dict[str, Value]:
    """The values by the names of the knobs, from the texts KNOB=VALUE."""
    pairs: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes KNOB=VALUE; received {text!r}")
        pairs[name.strip()] = value
    return pairs


def _in_words(settings: Mapping[str, Value]) -> str:
    return "".join(f", {name}={value}" for name, value in settings.items())


def _list(args: argparse.Namespace) -> None:
    import json

    from normviz.normalization.pattern import describe_axes

    methods: list[Method] = _registry().methods()
    if args.json:
        print(json.dumps([method.facts() for method in methods], indent=2))
        return
    for heading, belongs in SECTIONS.items():
        print(f"{heading}:")
        for method in filter(belongs, methods):
            print(f"  {method.name:<16} {method.title}: {method.summary}")
            for key, pattern in method.axes.items():
                layout, _, condition = key.partition(" ")
                shared = describe_axes(pattern) if pattern else "no groups that share"
                print(f"{'':21}{layout.upper()}{condition and f' with {condition}'}: {shared}")
            for knob in method.knobs:
                print(f"{'':21}--set {knob.name}={knob.default} ({_domain(knob)}): {knob.help}")


def _domain(knob: Knob) -> str:
    """The values that a knob takes."""
    if knob.range:
        return f"{knob.range.low:g} to {knob.range.high:g}"
    return ", ".join(knob.choices) or "true, false"


def _check_ending(path: Path | None, ending: str) -> None:
    """Refuse an output whose name would not say what it is, before anything is computed."""
    if path is not None and path.suffix.lower() != ending:
        raise ValueError(f"{path}: the name must end in {ending}")


def _save_array(path: Path, values: Tensor) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, values.numpy(), allow_pickle=False)


def _cam(args: argparse.Namespace) -> None:
    from normviz.attribution import Probe, empty_reason
    from normviz.colors import SIGNED, limits, overlay
    from normviz.images import encode_png, read_photo
    from normviz.models.catalogue import load_classifier

    _check_ending(args.out, ".png")
    _check_ending(args.raw, ".npy")
    if args.out.exists() and args.photo.exists() and args.out.samefile(args.photo):
        raise ValueError(f"{args.out} is the photo itself; choose another name for --out")
    method: Method = _registry().get(args.method, "attribution")
    settings = _settings(method, args.set)
    photo = read_photo(args.photo)  # (3, H, W)
    classifier = load_classifier(args.model)
    target = None if args.target is None else classifier.index(args.target)
    probe = Probe(classifier.model, classifier.prepare(photo), target, args.layer)
    raw: Tensor = method.function(probe, **settings, **_reports(method)).cpu()  # (1, h, w) or (1, 3, H, W)
    name = classifier.classes[int(probe.target[0])]
    drawn = raw[0] if raw.ndim == 3 else raw[0].abs().amax(dim=0)  # (h, w)
    signed = bool((drawn < 0).any())
    low, high = limits(drawn, signed)
    picture = overlay(photo, drawn, SIGNED if signed else "inferno", 0.5, low, high)  # (H, W, 3)
    args.out.write_bytes(encode_png(picture))
    if args.raw:
        _save_array(args.raw, raw[0])
    where = f" at layer {probe.layer}" if method.level == "layer" else " at the input"
    colours = "" if raw.ndim == 3 else "; drawn: the largest magnitude over the colours"
    print(f"photo    {args.photo}, {photo.shape[2]} x {photo.shape[1]} pixels")
    print(f"verdict  {classifier.verdict(probe.logits[0].float().softmax(dim=0).cpu()).text}")
    print(f"method   {method.title} for {name}{where}{_in_words(settings)}")
    print(f"map      {tuple(raw[0].shape)}, {raw.min():.4g} to {raw.max():.4g} {method.unit}{colours}")
    if reason := empty_reason(raw, probe.for_target(probe.target), method.name, name):
        print(f"note     the map is empty: {reason}")
    print(f"wrote    {args.out}{f', {args.raw}' if args.raw else ''}")


def _reports(method: Method) -> dict[str, Any]:
    """What a slow method calls meanwhile: its progress goes to a terminal, its notes to the output."""
    reports: dict[str, Any] = {}
    if method.takes("progress") and sys.stderr.isatty():
        reports["progress"] = lambda share: print(f"\r{method.title} {share:4.0%}", end="", file=sys.stderr, flush=True)
    if method.takes("note"):
        reports["note"] = lambda text: print(f"note     {text}")
    return reports


def _norm(args: argparse.Namespace) -> None:
    from normviz.activations import generate, layout_of, padding_mask
    from normviz.arrays import read_array
    from normviz.normalization import apply
    from normviz.normalization.pattern import sizes
    from normviz.normalization.sides import make_sides
    from normviz.normalization.statistics import check_finite

    _check_ending(args.out, ".npy")
    method: Method = _registry().get(args.method, "normalization")
    settings = _settings(method, args.set)
    if method.acts_on not in ("activations", "weights"):
        raise ValueError(
            f"{method.name} acts on {method.acts_on}, not on one array: see it run with "
            f"python -m normviz demo {method.name}"
        )
    if args.input:
        x, source = read_array(args.input), str(args.input)
    else:
        x, source = generate(args.shape, args.distribution, args.seed), f"{args.distribution}, seed {args.seed}"
    check_finite(x)
    layout = layout_of(x.shape)
    if method.acts_on == "weights":
        made = method.function(x, **settings)
        y: Tensor = made[0] if isinstance(made, tuple) else made  # spectral norm returns its vector, too
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
    _save_array(args.out, y)
    print(f"input    {tuple(x.shape)}, {source}")
    print(f"method   {method.title}{_in_words(settings)}")
    if method.acts_on == "weights":
        _print_weights(x, y)
    else:
        _print_statistics(x, y, method.pattern(layout, settings), layout, sizes(method, settings))
    print(f"wrote    {args.out}")


def _demo(args: argparse.Namespace) -> None:
    from normviz.experiments.demonstration import experiments

    method: Method = _registry().get(args.method, "normalization")
    if method.name not in experiments():
        raise ValueError(
            f"{method.name} acts on {method.acts_on}: run it with python -m normviz norm --method {method.name}; "
            f"demo runs {', '.join(experiments())}"
        )
    shown = experiments()[method.name].demonstrate(_pairs(args.set), args.seed)
    print(f"method   {method.title}\n{'':9}{shown.title}\n")
    print(f"{'':>60}{'measured':>14}{'expected':>14}")
    for fact in shown.facts:
        expected = "" if fact.expected is None else f"{fact.expected:.6g}"
        print(f"{fact.label:>60}{fact.measured:>14.6g}{expected:>14}")


def _errata(args: argparse.Namespace) -> None:
    from normviz.experiments.errata import ERRATA

    if args.name and args.name not in ERRATA:
        raise ValueError(f"there is no erratum {args.name!r}; choose one of {', '.join(ERRATA)}")
    for erratum in [ERRATA[args.name]] if args.name else ERRATA.values():
        outcome = erratum.run()
        print(f"{erratum.name}: {erratum.title}")
        for fact in outcome.facts:
            printed = "nothing" if fact.printed is None else f"{fact.printed:.6g}"
            print(f"{'':4}{fact.what}: as printed {printed}, right {fact.right:.6g}")
        if args.name:
            print(f"\nprinted  {erratum.printed}\nright    {erratum.right}\n\n{erratum.why}")


def _invariance(args: argparse.Namespace) -> None:
    from normviz.experiments.invariance import columns, matrix, rows

    if args.layout not in ("nc", "ntd", "nchw"):
        raise ValueError(f"the layout must be nc, ntd or nchw; received {args.layout!r}")
    cells = matrix(args.layout, args.seed)
    labels = [row.label for row in rows(args.layout)]
    width = max(map(len, labels)) + 2
    for number, column in enumerate(columns(args.layout)):
        print(f"  ({number + 1}) {column.title}: {column.symbol}")
    print("=: unchanged; else the change, as a share of the output's length; –: refused\n")
    print(f"{'':{width}}" + "".join(f"{f'({number + 1})':>8}" for number in range(len(columns(args.layout)))))
    for label, row in zip(labels, cells, strict=True):
        marks = ["–" if cell.refused else "=" if cell.unchanged else f"{cell.change:.2g}" for cell in row]
        print(f"{label:{width}}" + "".join(f"{mark:>8}" for mark in marks))


def _print_weights(before: Tensor, after: Tensor) -> None:
    """Norms and the largest singular value of a weight matrix, its rows the output units."""
    import torch

    print(f"\n{'':>24}{'before':>14}{'after':>14}")
    rows = [weight.double().flatten(1) for weight in (before, after)]
    for name, measure in (
        ("largest singular value", lambda w: torch.linalg.matrix_norm(w, ord=2)),
        ("mean norm of a row", lambda w: w.norm(dim=1).mean()),
        ("mean of all", torch.mean),
        ("std of all", lambda w: w.std(correction=0)),
    ):
        print(f"{name:>24}" + "".join(f"{float(measure(weight)):>14.6g}" for weight in rows))
    print()


def _print_statistics(x: Tensor, y: Tensor, pattern: str | None, layout: str, given: dict[str, int]) -> None:
    """The mean and standard deviation of everything and of the first groups, before and after."""
    from normviz.normalization.pattern import describe_axes
    from normviz.normalization.statistics import group_statistics

    rows = [("all", *(float(v) for t in (x, y) for v in (t.double().mean(), t.double().std(correction=0))))]
    if pattern:
        before, after = (group_statistics(t, pattern, layout, None, **given) for t in (x, y))
        print(f"axes     {describe_axes(pattern)}: {len(before.mean):,} groups")
        columns = [before.mean, before.std, after.mean, after.std]
        rows += [(str(i), *(float(column[i]) for column in columns)) for i in range(min(SHOWN, len(before.mean)))]
    print(f"\n{'group':>8}{'mean before':>14}{'std before':>14}{'mean after':>14}{'std after':>14}")
    for name, *numbers in rows:
        print(f"{name:>8}" + "".join(f"{number:>14.6g}" for number in numbers))
    if pattern and len(before.mean) > SHOWN:
        print(f"{'...':>8}  {len(before.mean) - SHOWN:,} more")
    print()


if __name__ == "__main__":
    sys.exit(main())
