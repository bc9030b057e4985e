"""The localization benchmark: the saved results, a small run now, and the scenes with the lowest scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from torch import Tensor

from normviz import __version__
from normviz.evaluation.localization import benchmark
from normviz.evaluation.localization.benchmark import HARDEST, maps_of, probes_of, run, scores
from normviz.evaluation.localization.questions import FIRST, MOSAIC, Kind, Questions, make_questions
from normviz.evaluation.localization.report import BASELINE_TITLES, SHIPPED, TITLES, Report, beats, read
from normviz.formatting import percent
from normviz.html.picture import figure, grid
from normviz.models.catalog import Classifier, models
from normviz.prints import localization
from normviz.registry import Attribution, methods
from normviz.scenes import CLASSES
from normviz.ui.components.matrix import Mark, matrix
from normviz.ui.kit import cache, jobs

MEASURED, NOW = "saved", "run now"
WORST = 8  # scenes to show
SEARCHED = 40  # scenes to search for the lowest scores


@dataclass(frozen=True)
class Worst:
    """The scenes with the lowest scores of a method, lowest first.

    Attributes:
        questions: these scenes.
        maps: (N, H, W) at the resolution of the input.
        scores: (N,) of the measure.
        searched: the number of scenes searched.
        missed: the number of scenes with a score below 0.5.
    """

    questions: Questions
    maps: Tensor
    scores: Tensor
    searched: int
    missed: int


def networks() -> dict[str, str]:
    """The installed networks for scenes, with the normalization of each ("batch norm")."""
    entries = [entry for entry in models() if entry.family == "scenes"]
    return {entry.name: entry.title.split(", ")[-1] for entry in entries}


def shipped() -> Report | None:
    """The saved report, or None."""
    if not SHIPPED.exists():
        return None
    return cache.keep("localization", SHIPPED.stat().st_mtime_ns, lambda: read(SHIPPED))


def scenes(kind: Kind, count: int, seed: int = FIRST) -> Questions:
    """Questions about generated scenes, shared by all visitors."""
    return cache.keep("questions", (kind, count, seed), lambda: jobs.compute(lambda: make_questions(kind, count, seed)))


def measure_now(classifier: Classifier, kind: Kind, count: int, seed: int, on_stop: Callable[[], None]) -> Report:
    """Run all fast methods on one network and a few scenes, with a progress bar."""
    quick = [method for method in methods("attribution") if not method.slow]

    def work(job: jobs.Job[Report]) -> Report:
        questions = make_questions(kind, max(1, count // MOSAIC) if kind == "grid" else count, seed)
        todo = benchmark.jobs(quick, [classifier], {kind: questions})
        command = f"measured now, scenes from {seed}"
        return Report(command, __version__, count, seed, {classifier.name: ""}, list(run(todo, job.progress)))

    key = (classifier.name, kind, count, seed)
    return jobs.run("localization now", key, work, "Measuring all methods", on_stop=on_stop)


def worst(method: Attribution, classifier: Classifier, kind: Kind, measure: str) -> Worst:
    """The scenes with the lowest scores of a method; slow methods search fewer scenes.

    Raises:
        ValueError: the method does not support the network.
    """
    count = SEARCHED // (10 if method.name in HARDEST else 5 if method.slow else 1)
    questions = scenes(kind, max(1, count // MOSAIC) if kind == "grid" else count)

    def work(job: jobs.Job[Worst]) -> Worst:
        heat = maps_of(method, probes_of(classifier, questions), job.progress)  # (N, H, W)
        every = scores(heat, questions, single=True)
        main, second = every[measure], every.get("energy", every[measure])  # (N,); the second breaks ties
        order = (main + 1e-3 * second).argsort()[:WORST]  # (n,)
        few = Questions("one", questions.images[order], questions.labels[order], questions.masks[order])
        return Worst(few, heat[order], main[order], len(questions), int((main < 0.5).sum()))

    key = (classifier.name, method.name, kind, measure)
    return jobs.run("localization worst", key, work, method.title)


def mark(report: Report, method: str, network: str, kind: Kind, measure: str) -> Mark:
    """The mark in a cell of the table."""
    row = report.row(method, network, kind, measure)
    if row is None:
        return Mark("–", report.refused(method, network, kind) or "not measured on these scenes", "quiet")
    center = report.row("center", network, kind, measure)
    better = center is not None and beats(row, center)
    text = (
        f"\u2002{100 * row.mean:.0f} ({100 * row.low:.0f}–{100 * row.high:.0f})\u2002"  # spaces keep the columns apart
    )
    mean, low, high = (percent(share, 1, counted=True) for share in (row.mean, row.low, row.high))
    words = f"{mean}, 95% interval {low} to {high}, {row.scenes} scenes"
    return Mark(text, words + (", clearly better than the center" if better else ""), "good" if better else "")


def table(report: Report, kind: Kind, measure: str, chosen: tuple[str, str], titles: dict[str, str]) -> None:
    """Draw the table of methods (rows) and networks (columns); a click selects the scenes below."""
    rows = [*BASELINE_TITLES, *report.ranked(kind, measure)]
    columns = report.columns(kind)

    def clicked(row: int, column: int) -> None:
        if rows[row] not in BASELINE_TITLES:
            st.session_state["method"] = rows[row]
            if columns[column] in networks():
                st.session_state["net"] = columns[column]

    cells = [[mark(report, method, network, kind, measure) for network in columns] for method in rows]
    selected = (
        rows.index(chosen[0]) if chosen[0] in rows else -1,
        columns.index(chosen[1]) if chosen[1] in columns else -1,
    )
    heads = [(titles.get(name, name), "") for name in columns]
    matrix([_label(report, name, kind, titles) for name in rows], heads, cells, selected, "localization-table", clicked)


def _label(report: Report, method: str, kind: Kind, titles: dict[str, str]) -> str:
    """The title of a method, with its number of scenes if other methods have more."""
    counts = {row.scenes for r in report.results if r.method == method for row in r.rows if r.kind == kind}
    most = max((row.scenes for r in report.results for row in r.rows if r.kind == kind), default=0)
    few = f" ({max(counts)} scenes)" if counts and max(counts) < most else ""
    return titles.get(method, method) + few


def tiles(worst: Worst, measure: str) -> str:
    """The scenes with the lowest scores, as HTML."""
    figures = []
    for index, (label, score) in enumerate(zip(worst.questions.labels.tolist(), worst.scores.tolist(), strict=True)):
        picture = localization.tile(worst.questions.images[index], worst.maps[index], worst.questions.masks[index])
        text = f"{CLASSES[label]}: {percent(score, counted=True)}"
        empty = "" if worst.maps[index].max() > 0 else ", no evidence"
        figures.append(figure(picture, text + empty, f"{text}, {TITLES[measure]}", quality=90))
    return grid(figures, "9.5rem", "1rem")
