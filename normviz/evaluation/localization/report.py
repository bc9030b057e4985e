"""The localization benchmark as a file, as tables in Markdown, and in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from normviz.evaluation.localization.benchmark import ANY, MEASURES, Result, Row
from normviz.evaluation.localization.questions import Kind
from normviz.formatting import percent
from normviz.paths import ASSETS

NAMED = 8  # methods that a sentence names; of more it gives the number
SHIPPED = ASSETS / "localization.json"
TITLES = {
    "pointing": "Pointing game", "energy": "Energy inside", "iou": "Best IoU", "grid": "Grid pointing game",
}  # fmt: skip
SCENES: dict[Kind, str] = {"one": "one object", "several": "three objects", "grid": "mosaics of four scenes"}
BASELINE_TITLES = {"center": "Center of the picture", "random": "Random map", "sobel": "Edges (Sobel)"}


@dataclass
class Report:
    """Results, and what they are of.

    Attributes:
        command: the command line that made them.
        version: of NormViz.
        scenes: how many of each kind; slow methods were asked about fewer, as their rows say.
        seed: of the first scene.
        networks: a fingerprint of the weights by the network's name, in the order of the columns.
        results: in the order in which they were computed.
    """

    command: str
    version: str
    scenes: int
    seed: int
    networks: dict[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def row(self, method: str, network: str, kind: Kind, measure: str) -> Row | None:
        """One number; that of a baseline is the same for all networks. None where it was not measured."""
        for result in self.results:
            if (result.method, result.kind) == (method, kind) and result.network in (network, ANY):
                return next((row for row in result.rows if row.measure == measure), None)
        return None

    def refused(self, method: str, network: str, kind: Kind) -> str:
        """Why a method has no number on a network; "" where it has, or was not asked."""
        found = (r.refused for r in self.results if (r.method, r.network, r.kind) == (method, network, kind))
        return next(found, "")

    def columns(self, kind: Kind) -> list[str]:
        """The networks that have results for these scenes."""
        there = {result.network for result in self.results if result.kind == kind}
        return [name for name in self.networks if name in there]

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods, without the baselines."""
        return tuple(dict.fromkeys(result.method for result in self.results if result.network != ANY))

    def ranked(self, kind: Kind, measure: str, networks: Sequence[str] | None = None) -> list[str]:
        """The methods that have a number, the best first by the mean over the networks."""
        means = {}
        for method in self.methods:
            rows = [self.row(method, network, kind, measure) for network in networks or self.networks]
            found = [row.mean for row in rows if row is not None]
            if found:
                means[method] = sum(found) / len(found)
        return sorted(means, key=lambda method: -means[method])


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, one line for each result; the file is replaced whole."""
    head = {name: getattr(report, name) for name in ("command", "version", "scenes", "seed", "networks")}
    lines = [json.dumps(_packed(result), ensure_ascii=False) for result in report.results]
    text = json.dumps(head, indent=1)[:-2] + ',\n "results": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)


def read(path: Path) -> Report:
    """The report in a file.

    Raises:
        ValueError: the file is no report.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        results = [_unpacked(*line) for line in found.pop("results")]
        return Report(**found, results=results)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no report of the localization benchmark: {error}") from None


def _packed(result: Result) -> list[object]:
    rows = [[row.measure, *(round(x, 4) for x in (row.mean, row.low, row.high)), row.scenes] for row in result.rows]
    return [result.network, result.method, result.kind, round(result.empty, 4), result.refused, rows]


def _unpacked(
    network: str, method: str, kind: Kind, empty: float, refused: str, rows: Iterable[Sequence[object]]
) -> Result:
    return Result(network, method, kind, tuple(Row(network, method, kind, *row) for row in rows), empty, refused)  # type: ignore[arg-type]


def beats(row: Row, other: Row) -> bool:
    """Whether a row is clearly better than another: its whole interval lies above the other's."""
    return row.low > other.high


def markdown(report: Report, titles: dict[str, str]) -> str:
    """Tables of all measures, methods down and networks across; bold is better than the center of the picture.

    Args:
        report: the results.
        titles: what methods and networks are called, by their names.
    """
    parts = [
        f"`{report.command}` (NormViz {report.version}): {report.scenes} scenes of each kind, a quarter as many "
        "mosaics. In percent, with the 95% interval of a bootstrap over the scenes; **bold** where the whole interval "
        "lies above that of the center of the picture.\n"
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


def in_words(report: Report, kind: Kind, measure: str, titles: dict[str, str]) -> list[str]:
    """The ranking in plain sentences: the best methods, who beats the center of the picture, which network is best."""
    networks = report.columns(kind)
    ranked = report.ranked(kind, measure)
    if not ranked:
        return ["Nothing was measured on these scenes."]
    rows = {(m, n): report.row(m, n, kind, measure) for m in ranked for n in networks}

    def mean(chosen: list[Row | None]) -> float:
        found = [row.mean for row in chosen if row is not None]
        return sum(found) / len(found) if found else 0.0

    def named(names: Sequence[str]) -> str:
        return ", ".join(titles.get(name, name) for name in names)

    def few(names: Sequence[str]) -> str:
        return named(names) or "no method" if len(names) <= NAMED else f"{len(names)} of {len(ranked)} methods"

    over = (
        f"the mean over {len(networks)} networks" if len(networks) > 1 else f"on {titles.get(networks[0], networks[0])}"
    )
    best = [f"{titles.get(m, m)} {percent(mean([rows[m, n] for n in networks]), counted=True)}" for m in ranked[:3]]
    said = [f"Best, {over}: {', '.join(best)}."]
    center = report.row("center", ANY, kind, measure)
    if center is not None:
        won = {m: sum(row is not None and beats(row, center) for row in (rows[m, n] for n in networks)) for m in ranked}
        better = [m for m in ranked if won[m] == len(networks)]
        never = [m for m in ranked if not won[m]]
        text = f"A spot at the center of the picture reaches {percent(center.mean, counted=True)}. Clearly better"
        if len(networks) > 1:
            said.append(f"{text} on every network: {few(better)}. Clearly better on none: {few(never)}.")
        else:
            said.append(f"{text}: {few(better)}.")
    common = [m for m in ranked if all(rows[m, n] is not None for n in networks)]
    if len(networks) > 1 and common:
        order = sorted(networks, key=lambda n: -mean([rows[m, n] for m in common]))
        means = {n: percent(mean([rows[m, n] for m in common]), counted=True) for n in (order[0], order[-1])}
        ends = [f"{titles.get(n, n)} ({share})" for n, share in means.items()]
        said.append(f"Over all methods maps are best with {ends[0]} and worst with {ends[1]}.")
    return said
