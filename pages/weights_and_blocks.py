"""Weights, training, blocks: the norms that do not act on activations, each live on a small seeded example."""

from collections.abc import Sequence
from html import escape
from itertools import cycle

import streamlit as st

from normviz.experiments.demonstration import (
    Curve,
    Curves,
    Demonstration,
    Experiment,
    Fact,
    Matrix,
    Picture,
    experiments,
)
from normviz.figures import curves, style, tensors
from normviz.registry import Method, Value, get, methods
from normviz.ui import cache, frame, knobs, state
from normviz.ui.board import Panel, board

HELP = """
**Each method runs here** on numbers that are drawn with the seed, while you watch: change a knob and it runs again.
**Warm lines** are measured, dashed ones are there to compare, grey dotted ones are what theory expects. **The table**
puts each measured number beside the expected one; ± says how far chance or few steps may carry it.
"""
STYLE = """
.nv-facts { border-collapse: collapse; width: 100%; line-height: 1.4; font-size: 1rem; }
.nv-facts th, .nv-facts td { border-bottom: 1px solid var(--nv-line); padding: .35rem .5rem; text-align: right; }
.nv-facts th:first-child, .nv-facts td:first-child { text-align: left; }
.nv-facts td + td { white-space: nowrap; }
.nv-facts thead { color: var(--nv-quiet); }
.st-key-nv-theory .katex-display { overflow-x: auto; overflow-y: hidden; text-align: left; }
.st-key-nv-theory .katex-display > .katex { text-align: left; }
"""
EVERYTHING = "everything"
GROUPS = ("weights", "training", "blocks")
NAMED = {"before": style.BEFORE, "after": style.AFTER}
COLOURS = {
    "measured": (style.AFTER, "#0072B2", "#009E73"),
    "compared": (style.BEFORE, "#CC79A7", "#56B4E9"),
    "expected": (curves.EXPECTED,),
}
DASHES: dict[str, curves.Dash] = {"measured": "solid", "compared": "dash", "expected": "dot"}

frame.page("Weights and blocks", "What is normalized when it is not the activations?")


def coloured(drawn: Sequence[Curve], step: bool) -> list[curves.Line]:
    """Curves with the colour and the dash of what they are."""
    left = {kind: cycle(colours) for kind, colours in COLOURS.items()}
    return [
        curves.Line(
            curve.name, curve.x, curve.y, NAMED.get(curve.name) or next(left[curve.kind]), DASHES[curve.kind], step=step
        )
        for curve in drawn
    ]


def panel(number: int, picture: Picture, ends: tuple[float, float], span: int) -> Panel:
    """One picture as a panel of the board; `ends` are those of the colour scale of all matrices."""
    if isinstance(picture, Matrix):
        signed = ends[0] < 0
        padded = picture.padding
        figure = tensors.slice_heatmap(
            picture.values, *ends, None if padded is None else padded.astype(int), picture.axes, picture.role,
            "diverging" if signed else "sequential", padding=None if padded is None else 1,
        )  # fmt: skip
    elif isinstance(picture, Curves):
        lines = coloured(picture.curves, picture.step)
        top = max(float(curve.y.max()) for curve in picture.curves)
        y_range = (0.0, 1.06 * top) if picture.zero and top > 0 else None
        figure = curves.lines(
            lines, picture.x_title, picture.y_title, picture.log_x, picture.log_y, y_range=y_range
        )  # fmt: skip
    else:
        groups = [curves.Bars(name, heights, NAMED.get(name, style.AFTER)) for name, heights in picture.groups.items()]
        figure = curves.bars(
            picture.places, groups, picture.x_title, picture.y_title,
            None if picture.expected is None else picture.expected.tolist(), picture.log_y,
            line_name=picture.line,
        )  # fmt: skip
    return Panel(f"picture-{number}", picture.title, figure, span, alt=words(picture), caption=picture.caption)


def words(picture: Picture) -> str:
    """What a picture shows, for those who cannot see it."""
    if isinstance(picture, Matrix):
        (rows, columns), (down, across) = picture.values.shape, picture.axes
        return f"{picture.title}: {rows} {down}s by {columns} {across}s"
    names = [curve.name for curve in picture.curves] if isinstance(picture, Curves) else list(picture.groups)
    return f"{picture.title}: {picture.y_title} by {picture.x_title}, {', '.join(names)}"


def panels(shown: Demonstration) -> list[Panel]:
    """All pictures, two in a row; an odd first one takes a row of its own."""
    matrices = [picture.values for picture in shown.pictures if isinstance(picture, Matrix)]
    ends = (0.0, 1.0)
    if matrices:
        ends = style.limits(*matrices, signed=min(float(matrix.min()) for matrix in matrices) < 0)
    wide = len(shown.pictures) % 2
    return [panel(i, picture, ends, 2 if wide and i == 0 else 1) for i, picture in enumerate(shown.pictures)]


def table(facts: Sequence[Fact]) -> str:
    """The facts, measured beside expected."""

    def expected(fact: Fact) -> str:
        if fact.expected is None:
            return "–"
        loose = fact.within > 1e-3 * max(abs(fact.expected), 1e-3)
        return style.number(fact.expected) + (f" ± {style.number(fact.within, 2)}" if loose else "")

    rows = [
        f"<tr><td>{escape(fact.label)}</td><td>{style.number(fact.measured)}</td><td>{expected(fact)}</td></tr>"
        for fact in facts
    ]
    head = "<thead><tr><th>This run</th><th>measured</th><th>expected</th></tr></thead>"
    return f'<table class="nv-facts">{head}<tbody>{"".join(rows)}</tbody></table><style>{STYLE}</style>'


def theory(method: Method, facts: Sequence[Fact]) -> None:
    """The formula, the facts, when to use the method, its trap, and the line of Python."""
    with st.container(key="nv-theory"):
        st.latex(method.formula)
        left, right = st.columns(2, gap="medium")
        left.html(table(facts))
        with right:
            st.markdown(f"**Use it.** {method.use}")
            if method.trap:
                st.markdown(f"**Trap.** {method.trap}")
            st.code(method.torch or f"from normviz.normalization import {method.name}", "python", wrap_lines=True)
            st.caption(f"Source: [{method.source.text()}]({method.source.url})")


def choose() -> tuple[Experiment, dict[str, Value], int]:
    """Draw the knobs; what they choose."""
    every = experiments()
    group = state.select("Acts on", [EVERYTHING, *GROUPS], EVERYTHING, "on")
    listed = [
        method.name
        for kind in GROUPS
        for method in methods("normalization")
        if method.acts_on == kind and method.name in every and group in (EVERYTHING, kind)
    ]
    name = state.select("Method", listed, listed[0], "method", text=lambda chosen: get(chosen).title)
    experiment = every[name]
    settings = knobs.knobs(experiment.method, prefix=f"{name}-")
    return experiment, settings, state.number("Seed", 0, 9999, 0, "seed", help="The same seed draws the same numbers.")


@st.fragment
def work() -> None:
    """The part that answers to every knob."""
    left, right = frame.columns()
    with left, frame.guard():
        experiment, settings, seed = choose()
        with right, frame.guard():

            def run() -> Demonstration:
                return cache.compute(lambda: experiment.demonstrate(settings, seed))

            shown = cache.memo(("demonstration", experiment.name, *settings.items(), seed), run)
            st.markdown(f"**{shown.title}**")
            board(panels(shown), "blocks-board", columns=2)
            theory(experiment.method, shown.facts)
            frame.how_to_read(HELP)


work()
