"""Errata: which formulas are often printed wrong, and what would they do?"""

import streamlit as st

from normviz.experiments.errata import ERRATA, Erratum, Outcome
from normviz.figures.experiments import errata
from normviz.registry import Method, get
from normviz.ui.components.board import Panel, kept_board
from normviz.ui.inputs.source import SHAPES
from normviz.ui.kit import cache, jobs, page_layout, url_widgets

HELP = """
Each of these mistakes can be found in articles, text books and glossaries. First comes what they print, then what the
papers say and what this program computes; **the mistake and what belongs in its place are colored**. Both
formulas are run on the very same numbers, and what they give is drawn in the same two colors. The largest difference
is the largest one between a value of the one and the same value of the other.
"""
STYLE = f"""
<style>
.st-key-nv-formulas .katex-display {{ overflow-x: auto; overflow-y: hidden; padding: .25rem; }}
.st-key-nv-formulas .katex {{ font-size: clamp(1.1rem, .9rem + .6vw, 1.4rem); }}
{errata.shades(".st-key-nv-formulas")}
[data-testid="stMain"] [data-testid="stPageLink"] p {{ font-size: 1rem; }}
</style>
"""

page_layout.header("errata")


def panel(seen: Outcome) -> Panel:
    """What both formulas give."""
    drawn = [name for name, values in zip(seen.names, (seen.printed, seen.right), strict=True) if values is not None]
    title = f"{seen.quantity[0].upper()}{seen.quantity[1:]}: {' and '.join(drawn)}"
    caption = f"Both ran on {seen.data}."
    return Panel("both", title, errata.chart(seen), span=3, caption=caption, alt=title, height=340)


def link(method: Method) -> None:
    """A link to where the method can be tried: the explorer, the heatmaps, or else its formula."""
    if method.kind == "attribution":
        page, asked = "pages/cam.py", {"method": method.title}
    elif method.takes_activations:
        page, asked = "pages/normalize.py", {"method": method.title}
        if "nchw" not in method.layouts():
            asked["shape"] = next(text for layout, text in SHAPES.items() if layout in method.layouts())
    else:
        page, asked = "pages/formula_sheet.py", {"find": method.title}
    st.page_link(page, label=f"Open {method.title}", icon=":material/arrow_forward:", query_params=asked)


def formulas(erratum: Erratum) -> None:
    """What is printed beside what is right."""
    with st.container(key="nv-formulas"):
        if erratum.claim:
            st.markdown(f"**Often said:** “{erratum.claim}”")
        for column, head, formula in zip(
            st.columns(2, gap="medium"), ("Often printed", "Right"), (erratum.printed, erratum.right), strict=True
        ):
            with column:
                st.markdown(f"**{head}**")
                st.latex(errata.colored(formula))


@st.fragment
def work() -> None:
    """The part that answers to the choice."""
    erratum = ERRATA[
        url_widgets.select(
            "What is printed wrong", list(ERRATA), next(iter(ERRATA)), "erratum", text=lambda n: ERRATA[n].title
        )
    ]
    with page_layout.guard():
        seen = cache.keep("erratum", erratum.name, lambda: jobs.compute(erratum.run))
        formulas(erratum)
        st.html(STYLE + errata.table(seen))
        if seen.refusal:
            page_layout.sentence(f"The printed formula gives nothing: {seen.refusal}.", "hint")
        kept_board(lambda: ([panel(seen)], None), "errata-board", erratum.name)
        st.markdown(erratum.why)
        for name in erratum.methods:
            link(get(name))
        page_layout.how_to_read(HELP)


work()
