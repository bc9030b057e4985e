"""Composer: choose the axes, the center and the power of a norm, and see which normalization it is."""

from collections.abc import Mapping

import streamlit as st

from normviz.activations import DISTRIBUTIONS, LAYOUTS, Distribution, Layout, channel_axis
from normviz.normalization import divisors
from normviz.normalization.analysis.compose import POWERS, Choice, code, formula
from normviz.normalization.analysis.identify import presets
from normviz.registry import Value
from normviz.ui.components.board import cached_board
from normviz.ui.inputs.source import SHAPES
from normviz.ui.kit import cache, knobs, page_layout, url_widgets
from normviz.ui.pages.composer import named, notes, panels, shape_of, verdict

OWN = "my own choice"
AXES = {"n": "N, samples", "c": "C, channels", "t": "T, steps", "d": "D, depth", "h": "H, rows", "w": "W, columns"}
HELP = """
**Every normalization here** subtracts a center and divides by a spread. Both are means over the axes that you choose;
values that share them have one color in the cube. The axes, whether the mean is subtracted, and the power distinguish
batch, layer, instance, group and RMS normalization.
**A running average** uses the statistics of earlier batches, so that a sample no longer depends on the rest of its
batch:
this is batch normalization at inference. The picture shows it after ten training steps on this batch.
"""

page_layout.header("composer")


def ticks(choice: Choice) -> dict[str, Value]:
    """The values of the widgets that give this choice, by key."""
    axes: dict[str, Value] = {f"over-{letter.upper()}": letter in choice.axes for letter in choice.layout}
    return axes | {"groups": choice.groups, "centered": choice.centered, "p": choice.power, "running": choice.running}


def follow(layout: Layout, known: Mapping[str, Choice]) -> None:
    """Set the switches for another known norm or another shape; switches from a link stay."""
    first = "known" not in st.session_state
    asked = st.query_params.get("known", "") if first else str(st.session_state["known"])
    if asked in known and (first or (layout, asked) != st.session_state["compose shown"]):
        given = st.query_params if first else {}
        st.session_state.update({key: value for key, value in ticks(known[asked]).items() if key not in given})


def choose() -> tuple[Choice, Distribution, int]:
    """Draw the widgets; the normalization, the distribution of the values, and their seed."""
    layout = url_widgets.select("Shape", LAYOUTS, "nchw", "shape", text=SHAPES.__getitem__)
    known = cache.keep("presets", layout, lambda: presets(layout, shape_of(layout)))
    usual = next(iter(known))
    place = st.container()
    follow(layout, known)
    axes = ""
    st.markdown("Average over")
    for letter in layout:
        label = "D, features" if (layout, letter) == ("ntd", "d") else AXES[letter]
        axes += letter if url_widgets.toggle(label, letter in known[usual].axes, f"over-{letter.upper()}") else ""
    groups, channel = 1, channel_axis(layout)
    if layout[channel] in axes:
        cuts = divisors(shape_of(layout)[channel])
        groups = url_widgets.steps(
            "Channels in groups $G$", cuts, 1, "groups", help="Each group of channels has its own statistic."
        )
    centered = url_widgets.toggle("Subtract the mean", True, "centered")
    powers = "A power of 2 gives the standard deviation, or the root mean square if no mean is subtracted."
    power = url_widgets.steps("Power $p$", POWERS, 2.0, "p", text=knobs.short, help=powers)
    stored = "Statistics of earlier batches, as in eval() mode."
    running = url_widgets.toggle("Running average", False, "running", help=stored) if axes else False
    choice = Choice(layout, axes, groups, centered, power, running)
    name_it(place, choice, known, usual)
    with st.expander("Activations"):
        distribution = url_widgets.select("Values", DISTRIBUTIONS, "shifted", "values")
        seed = url_widgets.number(
            "Seed", 0, 9999, 0, "seed", help="The same seed gives the same values on every machine."
        )
    return choice, distribution, seed


def name_it(place: st.delta_generator.DeltaGenerator, choice: Choice, known: Mapping[str, Choice], usual: str) -> None:
    """Draw the list of known norms; it shows the one that the switches give, with any number of groups."""
    found = [match.name for match in named(choice) if match.plain and match.name in known]
    name = found[0] if found else OWN
    if "known" in st.session_state or st.query_params.get("known", name) in (*known, OWN):
        st.session_state["known"] = name
    with place:
        shown = url_widgets.select("Known norm", [*known, OWN], usual, "known")
    st.session_state["compose shown"] = (choice.layout, shown)


def show(choice: Choice, distribution: Distribution, seed: int) -> None:
    """Draw the name of the norm, the pictures, the formula and the code."""
    found = named(choice)
    page_layout.sentence(verdict(choice), "good" if found and not found[0].needs else "hint")
    cached_board(lambda: (panels(choice, distribution, seed), None), "compose-board", (choice, distribution, seed))
    for note in notes(choice):
        st.caption(note)
    st.latex(formula(choice, shape_of(choice.layout)))
    st.code(code(choice), "python", wrap_lines=True)
    if found:
        link = {"method": found[0].method.title, "shape": SHAPES[choice.layout]}
        link |= {name: knobs.short(value).lower() for name, value in found[0].settings.items()}
        st.page_link("pages/normalize.py", label="Open in Normalize", query_params=link)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
