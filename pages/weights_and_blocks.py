"""Weights and blocks: norms that do not act on activations, each demonstrated on a small seeded example."""

from collections.abc import Sequence

import streamlit as st

from normviz.experiments.demonstrations import experiments
from normviz.experiments.demonstrations.demonstration import Demonstration, Experiment
from normviz.experiments.results import Fact
from normviz.figures.experiments import demonstration
from normviz.html import demonstration as demonstration_html
from normviz.registry import Normalization, Value, get, methods
from normviz.ui.components.board import Panel, board
from normviz.ui.kit import cache, jobs, knobs, page_layout, url_widgets

HELP = """
**Each method runs live** on random numbers drawn with the seed: change an option and it runs again. **Solid lines**
are measured, dashed lines are for comparison, gray dotted lines are predicted by theory. **The table** lists each
measured number next to the expected one; ± is the tolerance for randomness or few steps.
"""
STYLE = """<style>
.st-key-nv-theory .katex-display { overflow-x: auto; overflow-y: hidden; text-align: left; }
.st-key-nv-theory .katex-display > .katex { text-align: left; }
</style>"""
EVERYTHING = "everything"
GROUPS = ("weights", "training", "blocks")

page_layout.header("weights_and_blocks")


def panels(shown: Demonstration) -> list[Panel]:
    """All pictures, two per row; with an odd number, the first one takes a whole row."""
    ends, wide = demonstration.limits(shown.pictures), len(shown.pictures) % 2
    return [
        Panel(
            f"picture-{i}", picture.title, demonstration.chart(picture, ends), 2 if wide and i == 0 else 1,
            alt=demonstration.describe(picture), caption=picture.caption,
        )
        for i, picture in enumerate(shown.pictures)
    ]  # fmt: skip


def theory(method: Normalization, facts: Sequence[Fact]) -> None:
    """Draw the formula, the facts, when to use the method, the common mistake, and the Python code."""
    with st.container(key="nv-theory"):
        st.latex(method.formula)
        left, right = st.columns(2, gap="medium")
        left.html(demonstration_html.facts(facts) + STYLE)
        with right:
            st.markdown(f"**When:** {method.use}")
            if method.common_mistake:
                st.markdown(f"**Common mistake:** {method.common_mistake}")
            st.code(method.torch or f"from normviz.normalization import {method.name}", "python", wrap_lines=True)
            st.caption(f"Source: {method.citation}")


def choose() -> tuple[Experiment, dict[str, Value], int]:
    """Draw the widgets; the experiment, its settings and the seed."""
    every = experiments()
    group = url_widgets.select("Acts on", [EVERYTHING, *GROUPS], EVERYTHING, "on")
    listed = [
        method.name
        for kind in GROUPS
        for method in methods("normalization")
        if method.acts_on == kind and method.name in every and group in (EVERYTHING, kind)
    ]
    name = url_widgets.select("Method", listed, listed[0], "method", text=lambda chosen: get(chosen).title)
    experiment = every[name]
    settings = knobs.knobs(experiment.method, prefix=f"{name}-")
    return (
        experiment,
        settings,
        url_widgets.number("Seed", 0, 9999, 0, "seed", help="The same seed gives the same values."),
    )


def show(experiment: Experiment, settings: dict[str, Value], seed: int) -> None:
    """Draw the pictures of the experiment, and the facts about its method."""

    def run() -> Demonstration:
        return jobs.compute(lambda: experiment.demonstrate(settings, seed))

    shown = cache.keep("demonstration", (experiment.name, *settings.items(), seed), run)
    st.markdown(f"**{shown.title}**")
    board(panels(shown), "blocks-board", columns=2)
    theory(experiment.method, shown.facts)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
