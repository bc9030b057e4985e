"""Errata: formulas that are often printed wrong, next to the correct ones, both computed."""

import streamlit as st

from normviz.experiments.errata import ERRATA, Erratum, Outcome
from normviz.figures.experiments import errata
from normviz.html import errata as errata_html
from normviz.registry import Attribution, Normalization, get
from normviz.ui.components.board import Panel, cached_board
from normviz.ui.inputs.source import SHAPES
from normviz.ui.kit import cache, jobs, page_layout, url_widgets

HELP = """
Each of these mistakes appears in articles, textbooks or glossaries. The printed version comes first, then the version
from the papers, which NormViz computes. **The mistake and its correction are colored.** Both formulas run on the same
numbers, and the results are drawn in the same two colors. The largest difference is the maximum over all values.
"""
STYLE = f"""
<style>
.st-key-nv-formulas .katex-display {{ overflow-x: auto; overflow-y: hidden; padding: .25rem; }}
.st-key-nv-formulas .katex {{ font-size: clamp(1.1rem, .9rem + .6vw, 1.4rem); }}
{errata_html.formula_css(".st-key-nv-formulas")}
[data-testid="stMain"] [data-testid="stPageLink"] p {{ font-size: 1rem; }}
</style>
"""

page_layout.header("errata")


def panel(seen: Outcome) -> Panel:
    """The chart of both results."""
    drawn = [name for name, values in zip(seen.names, (seen.printed, seen.right), strict=True) if values is not None]
    title = f"{seen.quantity[0].upper()}{seen.quantity[1:]}: {' and '.join(drawn)}"
    caption = f"Both were computed on {seen.data}."
    return Panel("both", title, errata.chart(seen), span=3, caption=caption, alt=title, height=340)


def link(method: Normalization | Attribution) -> None:
    """Draw a link to the page where the method can be tried, or to its formula."""
    if isinstance(method, Attribution):
        page, asked = "pages/cam.py", {"method": method.title}
    elif method.takes_activations:
        page, asked = "pages/normalize.py", {"method": method.title}
        if "nchw" not in method.layouts():
            asked["shape"] = next(text for layout, text in SHAPES.items() if layout in method.layouts())
    else:
        page, asked = "pages/formula_sheet.py", {"find": method.title}
    st.page_link(page, label=f"Open {method.title}", icon=":material/arrow_forward:", query_params=asked)


def formulas(erratum: Erratum) -> None:
    """Draw the printed formula next to the correct one."""
    with st.container(key="nv-formulas"):
        if erratum.claim:
            st.markdown(f"**Common claim:** “{erratum.claim}”")
        for column, head, formula in zip(
            st.columns(2, gap="medium"), ("Often printed", "Correct"), (erratum.printed, erratum.right), strict=True
        ):
            with column:
                st.markdown(f"**{head}**")
                st.latex(errata_html.colored(formula))


@st.fragment
def work() -> None:
    """Draw the page; it runs again at every change."""
    erratum = ERRATA[
        url_widgets.select(
            "Misprinted formula", list(ERRATA), next(iter(ERRATA)), "erratum", text=lambda n: ERRATA[n].title
        )
    ]
    with page_layout.guard():
        seen = cache.keep("erratum", erratum.name, lambda: jobs.compute(erratum.run))
        formulas(erratum)
        st.html(STYLE + errata_html.results(seen))
        if seen.refusal:
            page_layout.sentence(f"The printed formula cannot be computed: {seen.refusal}.", "hint")
        cached_board(lambda: ([panel(seen)], None), "errata-board", erratum.name)
        st.markdown(erratum.why)
        for name in erratum.methods:
            link(get(name))
        page_layout.how_to_read(HELP)


work()
