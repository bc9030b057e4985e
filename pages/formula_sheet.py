"""Formula sheet: every normalization with its exact formula, what shares a statistic, and a common mistake."""

import streamlit as st

from normviz.registry import Normalization, methods
from normviz.ui.kit import page_layout, url_widgets
from normviz.ui.pages.formula_sheet import ACTS_ON, entry, fits

EVERYTHING = "everything"
# On paper: black on white and smaller; no sidebar, no knobs, no links; an entry is not cut in two.
STYLE = """
[class*="st-key-nv-entry-"] { max-width: 62rem; padding-bottom: 1rem; border-bottom: 1px solid var(--nv-line); }
[class*="st-key-nv-entry-"] pre, [class*="st-key-nv-entry-"] pre code { white-space: pre-wrap !important; }
[class*="st-key-nv-entry-"] .katex-display { text-align: left; overflow: auto hidden; padding: .2rem 0; }
[class*="st-key-nv-entry-"] .katex-display > .katex { text-align: left; }
[class*="st-key-nv-entry-"] blockquote { margin: 0 0 1rem; padding: .75rem 1rem; opacity: 1; color: var(--nv-ink);
  border-left: 4px solid var(--nv-accent); border-radius: 4px;
  background: color-mix(in srgb, var(--nv-accent) 10%, transparent); }
[class*="st-key-nv-entry-"] blockquote p { margin: 0; }
[class*="st-key-nv-entry-"] [data-testid="stPageLink"] p { font-size: 1rem; color: var(--nv-accent); }
[class*="st-key-nv-entry-"] [data-testid="stPageLink"] a { padding-left: 0; }
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stPageLink"], .st-key-nv-find { display: none; }
  .stApp { background: #FFF !important; }
  [class*="st-key-nv-entry-"] { break-inside: avoid; max-width: none; zoom: .72; }
  .nv-page *, .nv-count, [class*="st-key-nv-entry-"] * { color: #000 !important; background: none !important; }
}
"""

page_layout.header("formula_sheet")


@st.fragment
def find(entries: list[Normalization]) -> None:
    """Draw the search; it hides entries in the browser, so that formulas are typeset only once."""
    with st.container(key="nv-find"):
        left, middle, right = st.columns([2, 1, 1], gap="medium", vertical_alignment="bottom")
        with left:
            query = url_widgets.text_field(
                "Find", "", "find", live=True, help="A name, an abbreviation such as GN, or a word."
            )
        with middle:
            families = list(dict.fromkeys(method.family for method in entries))
            family = url_widgets.select("Family", [EVERYTHING, *families], EVERYTHING, "family")
        with right:
            acts_on = url_widgets.select("Acts on", [EVERYTHING, *ACTS_ON], EVERYTHING, "on")
    chosen = [m for m in entries if family in (EVERYTHING, m.family) and acts_on in (EVERYTHING, m.acts_on)]
    found = [method.name for method in chosen if fits(method, query)]
    hidden = [method.name for method in entries if method.name not in found]
    shown = len(entries) - len(hidden)
    where = ", ".join(f'[data-testid="stLayoutWrapper"]:has(> .st-key-nv-entry-{name})' for name in hidden)
    hide = f"{where} {{ display: none; }}" if hidden else ""
    count = f"{shown} of {len(entries)} normalizations" if hidden else f"{shown} normalizations"
    st.html(f'<p class="nv-count">{count}</p><style>{STYLE}{hide}</style>')
    if not shown:
        page_layout.sentence("No results: try fewer letters, or set both filters to “everything”.", "hint")


def draw(method: Normalization) -> None:
    """Draw one entry with a link to its page."""
    with st.container(key=f"nv-entry-{method.name}"):
        st.markdown(entry(method))
        link = {"method": method.title}
        if not method.takes_activations:
            st.page_link("pages/weights_and_blocks.py", label="Open in Weights and blocks", query_params=link)
            return
        if "nchw" not in method.layouts():
            link["shape"] = ", ".join(method.layouts()[0].upper())
        st.page_link("pages/normalize.py", label="Open in Normalize", query_params=link)


everything = methods("normalization")
find(everything)
for one in everything:
    draw(one)
