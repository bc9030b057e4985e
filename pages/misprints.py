"""Errata: which formulas are often printed wrong, and what would they do?"""

import math
from html import escape

import streamlit as st

from normviz.experiments.errata import ERRATA, Erratum, Fact, Outcome
from normviz.figures import curves, style
from normviz.normalization.statistics import histogram, value_range
from normviz.registry import Method, get
from normviz.ui import cache, frame, state
from normviz.ui.board import Panel, kept_board
from normviz.ui.source import SHAPES

WRONG, GOOD = "#C4518F", "#0B8A66"  # in charts and, as text, a shade darker on paper and lighter at night
SHADES = {WRONG: "light-dark(#A52E72, #F29AC7)", GOOD: "light-dark(#00724F, #4FD1A5)"}
BINS = 60
WRITTEN = 3  # places whose bars carry their numbers: on a phone those of more would overlap
HELP = """
Each of these mistakes can be found in articles, text books and glossaries. First comes what they print, then what the
papers say and what this program computes; **the mistake and what belongs in its place are coloured**. Both
formulas are run on the very same numbers, and what they give is drawn in the same two colours. The largest difference
is the largest one between a value of the one and the same value of the other.
"""


def rgb(colour: str) -> str:
    """A hexadecimal colour as a browser writes it into a style: "196, 81, 143"."""
    return ", ".join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))


STYLE = f"""
<style>
.nv-facts {{ width: 100%; max-width: 60rem; border-collapse: collapse; line-height: 1.4; }}
.nv-facts th, .nv-facts td {{ padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--nv-line); font-size: 1rem; font-weight: 400; }}
.nv-facts thead th {{ font-weight: 600; }}
.nv-facts td {{ font-weight: 600; white-space: nowrap; }}
.nv-facts .nv-large td {{ font-size: clamp(1.5rem, 1rem + 2vw, 2.4rem); line-height: 1.15; }}
.nv-facts .nv-a {{ color: {SHADES[WRONG]}; }} .nv-facts .nv-b {{ color: {SHADES[GOOD]}; }}
.nv-facts sup {{ font-size: .6em; }}
.st-key-nv-formulas .katex-display {{ overflow-x: auto; overflow-y: hidden; padding: .25rem; }}
.st-key-nv-formulas .katex {{ font-size: clamp(1.1rem, .9rem + .6vw, 1.4rem); }}
{"".join(f'.st-key-nv-formulas [style*="{rgb(c)}"] {{ color: {shade} !important; }}' for c, shade in SHADES.items())}
[data-testid="stMain"] [data-testid="stPageLink"] p {{ font-size: 1rem; }}
</style>
"""

frame.page("Errata", "Which formulas are often printed wrong, and what would they do?")


def coloured(formula: str) -> str:
    """The formula with its mistake, or what belongs there, in colour."""
    return formula.replace(r"\wrong{", rf"\textcolor{{{WRONG}}}{{").replace(r"\good{", rf"\textcolor{{{GOOD}}}{{")


def number(value: float | None, digits: int = 3) -> str:
    """A number for the table; what is only rounding is 0, and nothing is a dash."""
    if value is None:
        return "–"
    return style.number(0.0 if math.isclose(value, 0, abs_tol=1e-9) else value, digits)


def facts(seen: Outcome) -> str:
    """The numbers of both formulas as a table, the first one and the largest difference in big digits."""

    def row(fact: Fact, large: bool) -> str:
        printed, right = (number(value, fact.digits) for value in (fact.printed, fact.right))
        values = f'<td class="nv-a">{printed}</td><td class="nv-b">{right}</td>'
        return f'<tr class="{"nv-large" if large else ""}"><th scope="row">{escape(fact.what)}</th>{values}</tr>'

    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *seen.names))
    first, *others = [row(fact, index == 0) for index, fact in enumerate(seen.facts)]
    difference = f'<th scope="row">largest difference of a value</th><td colspan="2">{number(seen.residual)}</td>'
    body = "".join([first, f'<tr class="nv-large">{difference}</tr>', *others])
    return f'<table class="nv-facts"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def panel(seen: Outcome) -> Panel:
    """What both formulas give, as bars, as lines over steps, or as two histograms on one axis."""
    sides = [
        (name, values, colour)
        for name, values, colour in zip(seen.names, (seen.printed, seen.right), (WRONG, GOOD), strict=True)
        if values is not None
    ]
    if seen.labels:
        groups = [curves.Bars(name, values.numpy(), colour) for name, values, colour in sides]
        figure = curves.bars(seen.labels, groups, seen.axis, seen.quantity)
        if len(seen.labels) > WRITTEN:
            figure.update_traces(text=None)
    elif seen.at:
        drawn = [curves.Line(name, seen.at, values.numpy(), colour, marks=True) for name, values, colour in sides]
        long = min(seen.at) > 0 and max(seen.at) > 100 * min(seen.at)
        figure = curves.lines(drawn, seen.axis, seen.quantity, log_x=long, log_y=seen.growing)
    else:
        low, high = value_range(*(values for _, values, _ in sides))
        places = [low + (high - low) * (k + 0.5) / BINS for k in range(BINS)]
        drawn = []
        for name, values, colour in sides:
            counts = histogram(values, low, high, BINS).counts.numpy()  # (BINS,)
            drawn.append(curves.Line(name, places, 100 * counts / len(values), colour, step=True))
        figure = curves.lines(drawn, seen.quantity, "share of the values, %")
    title = f"{seen.quantity[0].upper()}{seen.quantity[1:]}: {' and '.join(name for name, _, _ in sides)}"
    return Panel("both", title, figure, span=3, caption=f"Both ran on {seen.data}.", alt=title, height=340)


def link(method: Method) -> None:
    """A link to where the method can be tried: the explorer, the heatmaps, or else its formula."""
    if method.kind == "attribution":
        page, asked = "pages/class_activation_maps.py", {"method": method.title}
    elif method.takes_activations:
        page, asked = "pages/normalize.py", {"method": method.title}
        if "nchw" not in method.layouts():
            asked["shape"] = next(text for layout, text in SHAPES.items() if layout in method.layouts())
    else:
        page, asked = "pages/formula_sheet.py", {"find": method.title}
    st.page_link(page, label=f"Open {method.title}", icon=":material/arrow_forward:", query_params=asked)


def formulas(erratum: Erratum, names: tuple[str, str]) -> None:
    """What is printed beside what is right."""
    with st.container(key="nv-formulas"):
        if erratum.claim:
            st.markdown(f"**Often said:** “{erratum.claim}”")
        for column, head, formula in zip(
            st.columns(2, gap="medium"), ("Often printed", "Right"), (erratum.printed, erratum.right), strict=True
        ):
            with column:
                st.markdown(f"**{head}**")
                st.latex(coloured(formula))


@st.fragment
def work() -> None:
    """The part that answers to the choice."""
    erratum = ERRATA[
        state.select(
            "What is printed wrong", list(ERRATA), next(iter(ERRATA)), "erratum", text=lambda n: ERRATA[n].title
        )
    ]
    with frame.guard():
        seen = cache.memo(("erratum", erratum.name), lambda: cache.compute(erratum.run))
        formulas(erratum, seen.names)
        st.html(STYLE + facts(seen))
        if seen.refusal:
            frame.sentence(f"The printed formula gives nothing: {seen.refusal}.", "hint")
        kept_board(lambda: ([panel(seen)], None), "errata-board", erratum.name)
        st.markdown(erratum.why)
        for name in erratum.methods:
            link(get(name))
        frame.how_to_read(HELP)


work()
