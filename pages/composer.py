"""Compose a norm: choose the axes, the centre and the power yourself, and see whose norm it is."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from normviz.activations import DISTRIBUTIONS, LAYOUTS, Distribution, Layout, channel_axis
from normviz.normalization import divisors
from normviz.normalization.compose import POWERS, Choice, as_method, code, formula
from normviz.normalization.known import Match, matches, one_step_away, presets
from normviz.normalization.pattern import describe_axes
from normviz.normalization.view import View, view
from normviz.registry import Value
from normviz.ui import cache, explorer, frame, knobs, state
from normviz.ui.board import Panel, kept_board
from normviz.ui.source import DEFAULTS, SHAPES

OWN = "my own choice"
AXES = {"n": "N, examples", "c": "C, channels", "t": "T, steps", "d": "D, depth", "h": "H, rows", "w": "W, columns"}
HELP = """
**Every normalization here** subtracts a centre and divides by a spread, and both are means over the axes that you
choose; values that share them have one colour in the cube. Which axes, whether the mean is subtracted, and the power:
these tell batch, layer, instance, group and RMS normalization apart.
**A running average** keeps the statistics of earlier batches, so that an example no longer depends on its neighbours:
that is batch normalization at inference. The picture shows it after ten training steps on this very batch.
"""

frame.page("Compose a norm", "Which normalization is it when you choose the axes yourself?")


def shape_of(layout: Layout) -> tuple[int, ...]:
    """The sizes of the activations that are shown."""
    return tuple(DEFAULTS["depth" if letter == "D" and layout == "ncdhw" else letter] for letter in layout.upper())


def ticks(choice: Choice) -> dict[str, Value]:
    """The values of the widgets that make a choice, by their keys."""
    axes: dict[str, Value] = {f"over-{letter.upper()}": letter in choice.axes for letter in choice.layout}
    return axes | {"groups": choice.groups, "centred": choice.centred, "p": choice.power, "running": choice.running}


def follow(layout: Layout, known: Mapping[str, Choice]) -> None:
    """Set the ticks when another known norm was chosen, or another shape; ticks that stand in a link stay."""
    first = "known" not in st.session_state
    asked = st.query_params.get("known", "") if first else str(st.session_state["known"])
    if asked in known and (first or (layout, asked) != st.session_state["compose shown"]):
        given = st.query_params if first else {}
        st.session_state.update({key: value for key, value in ticks(known[asked]).items() if key not in given})


def choose() -> Choice:
    """Draw the ticks; what they choose."""
    layout = state.select("Shape", LAYOUTS, "nchw", "shape", text=SHAPES.__getitem__)
    known = cache.memo(("presets", layout), lambda: presets(layout, shape_of(layout)))
    usual = next(iter(known))
    place = st.container()
    follow(layout, known)
    axes = ""
    st.markdown("Average over")
    for letter in layout:
        label = "D, features" if (layout, letter) == ("ntd", "d") else AXES[letter]
        axes += letter if state.toggle(label, letter in known[usual].axes, f"over-{letter.upper()}") else ""
    groups, channel = 1, channel_axis(layout)
    if layout[channel] in axes:
        cuts = divisors(shape_of(layout)[channel])
        groups = state.steps("Channels in groups $G$", cuts, 1, "groups", help="Groups do not share a statistic.")
    centred = state.toggle("Subtract the mean", True, "centred")
    powers = "With 2, the mean of squares: a standard deviation, or a root mean square where no mean is subtracted."
    power = state.steps("Power $p$", POWERS, 2.0, "p", text=knobs.short, help=powers)
    stored = "Statistics of earlier batches, as at inference."
    running = state.toggle("Running average", False, "running", help=stored) if axes else False
    choice = Choice(layout, axes, groups, centred, power, running)
    name_it(place, choice, known, usual)
    return choice


def name_it(place: st.delta_generator.DeltaGenerator, choice: Choice, known: Mapping[str, Choice], usual: str) -> None:
    """The list of known norms; it shows the one that the ticks make, with any number of groups."""
    found = [match.name for match in named(choice) if match.plain and match.name in known]
    name = found[0] if found else OWN
    if "known" in st.session_state or st.query_params.get("known", name) in (*known, OWN):
        st.session_state["known"] = name
    with place:
        shown = state.select("Show me a known one", [*known, OWN], usual, "known")
    st.session_state["compose shown"] = (choice.layout, shown)


def named(choice: Choice) -> list[Match]:
    """The registered methods that the choice is."""
    return cache.memo(("matches", choice), lambda: matches(choice, shape_of(choice.layout)))


def verdict(choice: Choice) -> str:
    """Whose norm it is, in words."""
    found = [match for match in named(choice) if not match.needs]
    if not choice.axes:
        left = "every value is its own mean and becomes 0" if choice.centred else "only the sign of each value is left"
        return f"No normalization: nothing is shared, so {left}."
    if found:
        first, *others = found
        same = [match.title for match in others if match.factor == 1]
        also = f" So {'are' if len(same) > 1 else 'is'} {', '.join(same)}." if same else ""
        return f"This is {first.title}{'' if first.factor == 1 else ', but for one factor'}.{also}"
    shape = shape_of(choice.layout)
    near = cache.memo(("one step away", choice), lambda: one_step_away(choice, shape))
    steps = "; ".join(f"{words}, and it is {match.name}" for words, match in near[:3])
    return f"Nobody has named this one yet.{f' One step away: {steps}.' if steps else ''}"


def notes(choice: Choice) -> list[str]:
    """What should be known of the choice."""
    longer = [match.title for match in named(choice) if match.factor != 1 and not match.needs]
    given = [match.title for match in named(choice) if match.needs]
    said = [f"They divide by a length, not by the root of a mean: {', '.join(longer)}."] if longer else []
    said += [f"The same statistics, but scale and shift come from other data: {', '.join(given)}."] if given else []
    if choice.running and "n" not in choice.axes:
        said.append(
            "What is stored for each channel is the average over the examples, as nn.InstanceNorm2d does it with "
            "track_running_stats=True."
            if set(choice.kept) == {"n", choice.channel}
            else "A running average makes little sense here: the statistic belongs to one example, and the next batch "
            "has others. What is stored is its average over the examples. Average over N too, or keep C and N alone."
        )
    if choice.running and set(choice.kept) - {"n", "g", choice.channel}:
        said.append("It is stored for each position, so every later input must have this size.")
    return said


def panels(choice: Choice, seen: View) -> list[Panel]:
    """The cube of shared axes, a slice before and after, and all values."""
    where = {"nc": "all values", "ntd": "example 0", "nchw": "example 0, channel 0", "ncdhw": "one slice of example 0"}
    first, *others = explorer.panels(seen, where[choice.layout])
    kind = f"{'stored ' if choice.running else ''}statistic{'' if seen.total == 1 else 's'}"
    told = f"{seen.total:,} {kind}, {describe_axes(choice.stored.pattern if choice.running else choice.pattern)}"
    return [replace(first, title=told, alt=f"A block of cells, coloured by group: {told}"), *others]


def show(choice: Choice, distribution: Distribution, seed: int) -> None:
    """Whose norm it is, the pictures, the formula and the code."""
    found = named(choice)
    frame.sentence(verdict(choice), "good" if found and not found[0].needs else "hint")
    shape = shape_of(choice.layout)

    def draw() -> tuple[list[Panel], None]:
        x = cache.activations(shape, distribution, seed)
        seen = cache.compute(lambda: view(as_method(choice), x, choice.layout, {"groups": choice.groups}))
        return panels(choice, seen), None

    kept_board(draw, "compose-board", (choice, distribution, seed))
    for note in notes(choice):
        st.caption(note)
    st.latex(formula(choice, shape))
    st.code(code(choice), "python", wrap_lines=True)
    if found:
        link = {"method": found[0].method.title, "shape": SHAPES[choice.layout]}
        link |= {name: knobs.short(value).lower() for name, value in found[0].settings.items()}
        st.page_link("pages/normalize.py", label="Open it in the explorer", query_params=link)
    frame.how_to_read(HELP)


@st.fragment
def work() -> None:
    """The part that answers to every tick."""
    left, right = frame.columns()
    with left, frame.guard():
        choice = choose()
        with st.expander("The numbers"):
            distribution = state.select("Values", DISTRIBUTIONS, "shifted", "values")
            seed = state.number("Seed", 0, 9999, 0, "seed", help="The same seed gives the same numbers everywhere.")
        with right, frame.guard():
            show(choice, distribution, seed)


work()
