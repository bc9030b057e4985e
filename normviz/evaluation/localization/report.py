"""Report of the localization benchmark: JSON file, Markdown tables, and a summary in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from normviz.evaluation.localization.benchmark import ANY, MEASURES, Result, Row
from normviz.evaluation.localization.questions import Kind
from normviz.paths import ASSETS

NAMED = 8  # largest number of methods that a sentence lists by name
SHIPPED = ASSETS / "localization.json"
TITLES = {
    "pointing": "Pointing game", "energy": "Energy inside", "iou": "Best IoU", "grid": "Grid pointing game",
}  # fmt: skip
SCENES: dict[Kind, str] = {"one": "one object", "several": "three objects", "grid": "mosaics of four scenes"}
BASELINE_TITLES = {"center": "Center of the image", "random": "Random map", "sobel": "Edges (Sobel)"}


@dataclass
class Report:
    """Results of the benchmark and how they were computed.

    Attributes:
        command: command line of the run.
        version: version of NormViz.
        scenes: number of scenes of each kind; slow methods used fewer (see their rows).
        seed: seed of the first scene.
        networks: fingerprint of the weights by network name, in column order.
        results: results in the order of computation.
    """

    command: str
    version: str
    scenes: int
    seed: int
    networks: dict[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def row(self, method: str, network: str, kind: Kind, measure: str) -> Row | None:
        """Return one number, or None if it was not measured; baselines are the same for all networks."""
        for result in self.results:
            if (result.method, result.kind) == (method, kind) and result.network in (network, ANY):
                return next((row for row in result.rows if row.measure == measure), None)
        return None

    def refused(self, method: str, network: str, kind: Kind) -> str:
        """Return the error message of a method on a network; "" if there is none."""
        errors = (r.refused for r in self.results if (r.method, r.network, r.kind) == (method, network, kind))
        return next(errors, "")

    def columns(self, kind: Kind) -> list[str]:
        """List the networks with results for these scenes."""
        measured = {result.network for result in self.results if result.kind == kind}
        return [name for name in self.networks if name in measured]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, without baselines."""
        return tuple(dict.fromkeys(result.method for result in self.results if result.network != ANY))

    def ranked(self, kind: Kind, measure: str, networks: Sequence[str] | None = None) -> list[str]:
        """List the measured methods by their mean over the networks, the best first."""
        means = {}
        for method in self.methods:
            rows = [self.row(method, network, kind, measure) for network in networks or self.networks]
            scores = [row.mean for row in rows if row is not None]
            if scores:
                means[method] = sum(scores) / len(scores)
        return sorted(means, key=lambda method: -means[method])


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, one line per result; the file is replaced atomically."""
    head = {name: getattr(report, name) for name in ("command", "version", "scenes", "seed", "networks")}
    lines = [json.dumps(_packed(result), ensure_ascii=False) for result in report.results]
    text = json.dumps(head, indent=1)[:-2] + ',\n "results": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)


def read(path: Path) -> Report:
    """Read a report from a file.

    Raises:
        ValueError: if the file is not a report.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        results = [_unpacked(*line) for line in content.pop("results")]
        return Report(**content, results=results)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a report of the localization benchmark: {error}") from None


def _packed(result: Result) -> list[object]:
    rows = [[row.measure, *(round(x, 4) for x in (row.mean, row.low, row.high)), row.scenes] for row in result.rows]
    return [result.network, result.method, result.kind, round(result.empty, 4), result.refused, rows]


def _unpacked(
    network: str, method: str, kind: Kind, empty: float, refused: str, rows: Iterable[Sequence[object]]
) -> Result:
    return Result(network, method, kind, tuple(Row(network, method, kind, *row) for row in rows), empty, refused)  # type: ignore[arg-type]


def beats(row: Row, other: Row) -> bool:
    """Whether the interval of a row lies entirely above the interval of another."""
    return row.low > other.high


def markdown(report: Report, titles: dict[str, str]) -> str:
    """Format tables of all measures, with methods as rows and networks as columns.

    Args:
        report: the results.
        titles: titles of methods and networks, by name.
    """
    parts = [
        f"`{report.command}` (NormViz {report.version}): {report.scenes} scenes of each kind, a quarter as many "
        "mosaics. In percent, with the 95% bootstrap interval over the scenes; **bold** if the interval lies entirely "
        "above the interval of the center of the image.\n"
    ]
    kinds = [kind for kind in MEASURES if any(result.kind == kind for result in report.results)]
    for kind in kinds:
        for measure in MEASURES[kind]:
            parts.append(_table(report, kind, measure, titles))
    return "\n".join(parts)


def _table(report: Report, kind: Kind, measure: str, titles: dict[str, str]) -> str:
    networks = report.columns(kind)
    lines = [
        f"### {TITLES[measure]}, {SCENES[kind]}\n",
        f"| method | scenes | {' | '.join(titles.get(name, name) for name in networks)} |",
        f"|---|---|{'---|' * len(networks)}",
    ]
    center = report.row("center", ANY, kind, measure)
    for method in (*BASELINE_TITLES, *report.ranked(kind, measure)):
        rows = [report.row(method, network, kind, measure) for network in networks]
        cells = ["–" if row is None else _cell(row, center) for row in rows]
        count = next((str(row.scenes) for row in rows if row is not None), "–")
        name = BASELINE_TITLES.get(method) or titles.get(method, method)
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row, center: Row | None) -> str:
    mean = f"{100 * row.mean:.0f}"
    shown = f"**{mean}**" if center and beats(row, center) else mean
    return f"{shown} ({100 * row.low:.0f}–{100 * row.high:.0f})"


def summary(report: Report, kind: Kind, measure: str, titles: dict[str, str]) -> list[str]:
    """Summarize the ranking: the best methods, those better than guessing the center, and the best network."""
    networks = report.columns(kind)
    ranked = report.ranked(kind, measure)
    if not ranked:
        return ["There are no results for these scenes."]
    rows = {(m, n): report.row(m, n, kind, measure) for m in ranked for n in networks}

    def mean(chosen: list[Row | None]) -> float:
        scores = [row.mean for row in chosen if row is not None]
        return sum(scores) / len(scores) if scores else 0.0

    def named(names: Sequence[str]) -> str:
        return ", ".join(titles.get(name, name) for name in names)

    def few(names: Sequence[str]) -> str:
        return named(names) or "no method" if len(names) <= NAMED else f"{len(names)} of {len(ranked)} methods"

    over = (
        f"the mean over {len(networks)} networks" if len(networks) > 1 else f"on {titles.get(networks[0], networks[0])}"
    )
    best = [f"{titles.get(m, m)} {100 * mean([rows[m, n] for n in networks]):.0f}%" for m in ranked[:3]]
    sentences = [f"Best, {over}: {', '.join(best)}."]
    center = report.row("center", ANY, kind, measure)
    if center is not None:
        won = {m: sum(row is not None and beats(row, center) for row in (rows[m, n] for n in networks)) for m in ranked}
        better = [m for m in ranked if won[m] == len(networks)]
        never = [m for m in ranked if not won[m]]
        text = f"Guessing the center scores {100 * center.mean:.0f}%. Clearly better"
        if len(networks) > 1:
            sentences.append(f"{text} on every network: {few(better)}. Clearly better on no network: {few(never)}.")
        else:
            sentences.append(f"{text}: {few(better)}.")
    common = [m for m in ranked if all(rows[m, n] is not None for n in networks)]
    if len(networks) > 1 and common:
        order = sorted(networks, key=lambda n: -mean([rows[m, n] for m in common]))
        ends = [f"{titles.get(n, n)} ({100 * mean([rows[m, n] for m in common]):.0f}%)" for n in (order[0], order[-1])]
        sentences.append(f"Averaged over all methods, the scores are highest with {ends[0]} and lowest with {ends[1]}.")
    return sentences
