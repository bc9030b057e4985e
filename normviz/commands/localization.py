"""`normviz localization`: measure how well heatmaps localize objects in generated scenes."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normviz.commands.common import Commands, check_suffix, registry, seed

if TYPE_CHECKING:
    from normviz.evaluation.localization.benchmark import Job, Result
    from normviz.evaluation.localization.questions import Kind, Questions
    from normviz.evaluation.localization.report import Report
    from normviz.models.catalog import Classifier
    from normviz.registry import Attribution

KINDS = ("one", "several", "grid")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "localization",
        aliases=["localize"],
        help="measure how well heatmaps localize objects in generated scenes",
        description="Evaluate methods on networks that classify generated scenes, compared with a centered blob, a "
        "random map and edges: pointing game, energy inside the object, best IoU, and the grid pointing game. There "
        "are a quarter as many grids as scenes; slow methods are evaluated on a fifth of both.",
        epilog="example: normviz localization --methods grad_cam layer_cam --scenes 100",
    )
    command.add_argument("--methods", metavar="METHOD", nargs="+", help="attribution methods (default: all)")
    command.add_argument(
        "--networks", metavar="NAME", nargs="+", help="scene classifiers (default: all that are installed)"
    )
    command.add_argument(
        "--kinds", metavar="KIND", nargs="+", choices=KINDS, default=list(KINDS),
        help="one object per scene, several objects, or a grid of four scenes (default: all)",
    )  # fmt: skip
    command.add_argument("--scenes", type=_scenes, default=200, help="number of scenes of each kind (default: 200)")
    command.add_argument("--seed", type=seed, help="seed of the first scene (default: not used in training)")
    command.add_argument("--markdown", metavar="FILE.MD", type=Path, help="file for the tables (default: print them)")
    command.add_argument(
        "--out", metavar="FILE.JSON", type=Path,
        help="file for the results; repeat the command to resume an interrupted run",
    )  # fmt: skip
    command.set_defaults(run=run)


def _scenes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 4 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"the number of scenes is a whole number from 4 to 10000; received {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Execute the command."""
    from normviz import __version__
    from normviz.evaluation.localization.benchmark import fingerprint, jobs
    from normviz.evaluation.localization.questions import FIRST, MOSAIC, make_questions
    from normviz.evaluation.localization.report import Report, markdown
    from normviz.models.catalog import load_classifier

    check_suffix(args.out, ".json")
    check_suffix(args.markdown, ".md")
    names = args.methods or [method.name for method in registry().methods("attribution")]
    methods: list[Attribution] = [registry().get(name, "attribution") for name in dict.fromkeys(names)]
    classifiers: list[Classifier] = [load_classifier(name) for name in dict.fromkeys(args.networks or _installed())]
    first = FIRST if args.seed is None else args.seed
    report = Report(_command(args), __version__, args.scenes, first, {c.name: fingerprint(c) for c in classifiers})
    finished = _finished(args.out, report)
    questions: dict[Kind, Questions] = {
        kind: make_questions(kind, args.scenes // MOSAIC if kind == "grid" else args.scenes, first)
        for kind in dict.fromkeys(args.kinds)
    }
    requested = jobs(methods, classifiers, questions)
    missing = [job for job in requested if job.key not in finished]
    report.results = [finished[job.key] for job in requested if job.key in finished]
    if len(missing) < len(requested):
        count = len(requested) - len(missing)
        print(f"{count} of {len(requested)} results are already in {args.out}", file=sys.stderr)
    _compute(missing, report, args.out)
    order = {job.key: index for index, job in enumerate(requested)}
    report.results.sort(key=lambda result: order[result.network, result.method, result.kind])
    titles = {method.name: method.title for method in methods} | {c.name: c.title.split(", ")[-1] for c in classifiers}
    for method in methods:
        for classifier in classifiers:
            reasons = {kind: report.refused(method.name, classifier.name, kind) for kind in questions}
            if any(reasons.values()):
                print(f"{method.title} on {classifier.name}: {next(filter(None, reasons.values()))}", file=sys.stderr)
    tables = markdown(report, titles)
    if args.markdown:
        args.markdown.write_text(tables, "utf-8")
    else:
        print(tables)


def _compute(missing: Sequence[Job], report: Report, out: Path | None) -> None:
    """Add the missing results to the report and save it after each one."""
    from normviz.evaluation.localization.benchmark import run as results
    from normviz.evaluation.localization.report import write

    begin = time.monotonic()

    def show(share: float) -> None:
        if share and sys.stderr.isatty():
            left = (time.monotonic() - begin) * (1 - share) / share
            print(f"\r{share:4.0%}, about {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)

    for result in results(missing, show):
        report.results.append(result)
        if out:
            write(report, out)
    if out:
        write(report, out)


def _finished(out: Path | None, report: Report) -> dict[tuple[str, str, Kind], Result]:
    """Results in the file for the same version, scenes and weights; empty if the file does not exist."""
    from normviz.evaluation.localization.benchmark import ANY
    from normviz.evaluation.localization.report import read

    if out is None or not out.exists():
        return {}
    old = read(out)
    if (old.version, old.scenes, old.seed) != (report.version, report.scenes, report.seed):
        return {}
    same = {ANY} | {name for name, weights in report.networks.items() if old.networks.get(name) == weights}
    return {(r.network, r.method, r.kind): r for r in old.results if r.network in same}


def _installed() -> list[str]:
    """The installed scene classifiers."""
    from normviz.models.catalog import models

    names = [entry.name for entry in models() if entry.family == "scenes"]
    if not names:
        raise ValueError("no scene classifier is installed in assets/; run python -m scripts.train_scenes")
    return names


def _command(args: argparse.Namespace) -> str:
    """The command line without its output files."""
    parts = ["normviz", "localization", "--scenes", str(args.scenes)]
    for option, values, default in (
        ("--methods", args.methods, None), ("--networks", args.networks, None), ("--kinds", args.kinds, list(KINDS)),
    ):  # fmt: skip
        if values and values != default:
            parts += [option, *values]
    if args.seed is not None:
        parts += ["--seed", str(args.seed)]
    return shlex.join(parts)
