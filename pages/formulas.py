"""Formula sheet: every normalization with its exact formula, what shares a statistic, and what goes wrong."""

import re
from html import escape

import streamlit as st

from normviz.normalization.pattern import describe_axes
from normviz.registry import Knob, Method, methods
from normviz.ui import frame, knobs, state
from normviz.ui.source import SHAPES

EVERYTHING = "everything"
ACTS_ON = {
    "activations": "activations, that is the numbers between two layers, or a table of data",
    "weights": "the weights of a layer",
    "training": "gradients and losses while a network is trained",
    "blocks": "a piece of a network: it says where a norm stands",
}
# On paper: no sidebar, no knobs, no links; an entry is not cut in two.
STYLE = """
[class*="st-key-nv-entry-"] { max-width: 62rem; padding-bottom: 1rem; border-bottom: 1px solid var(--nv-line); }
[class*="st-key-nv-entry-"] pre, [class*="st-key-nv-entry-"] pre code { white-space: pre-wrap !important; }
[class*="st-key-nv-entry-"] .katex-display { text-align: left; overflow: auto hidden; padding: .2rem 0; }
[class*="st-key-nv-entry-"] .katex-display > .katex { text-align: left; }
[class*="st-key-nv-entry-"] blockquote { margin: 0 0 1rem; padding: .75rem 1rem; opacity: 1; color: var(--nv-ink);
  border-left: 4px solid var(--nv-accent); border-radius: 4px; background: var(--nv-error); }
[class*="st-key-nv-entry-"] blockquote p { margin: 0; }
[class*="st-key-nv-entry-"] [data-testid="stPageLink"] p { font-size: 1rem; color: var(--nv-accent); }
[class*="st-key-nv-entry-"] [data-testid="stPageLink"] a { padding-left: 0; }
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stPageLink"], .st-key-nv-find { display: none; }
  [class*="st-key-nv-entry-"] { break-inside: avoid; max-width: none; }
}
"""

frame.page("Formula sheet", "What is the exact formula, and what is its trap?")


def words(text: str) -> list[str]:
    """The words of a text in small letters; underscores and hyphens part words."""
    return re.findall(r"[^\W_]+", text.lower())


def fits(method: Method, query: str) -> bool:
    """Whether each word that was typed begins a word of the method's names or summary, or all together begin a name."""
    names = (method.title, method.name, *method.aliases)
    known = words(" ".join([*names, method.summary]))
    asked = words(query)
    together = any("".join(words(name)).startswith("".join(asked)) for name in names)
    return together or all(any(word.startswith(part) for word in known) for part in asked)


def sharing(method: Method) -> str:
    """Which values share one statistic, switch by switch and layout by layout, in words."""
    if not method.axes:
        return f"It acts on {ACTS_ON[method.acts_on]}."
    parts: dict[str, list[str]] = {}
    for key, pattern in method.axes.items():
        layout, _, switch = key.partition(" ")
        start = (
            "No fixed groups" if pattern is None else f"With `{switch}`, one statistic" if switch else "One statistic"
        )
        over = describe_axes(pattern).removeprefix("shared ") if pattern is not None else ""
        parts.setdefault(start, []).append(f"{over} in ({', '.join(layout.upper())})".strip())
    return " ".join(f"{start} {'; '.join(said)}." for start, said in parts.items())


def entry(method: Method) -> str:
    """All that the registry knows of a method, in Markdown."""
    lines = [f"### {method.title}", method.summary, f"$$\n{method.formula}\n$$", f"**What shares.** {sharing(method)}"]
    lines += [f"**When to use it.** {method.use}"]
    lines += ["\n".join(f"- {_knob(knob)}" for knob in method.knobs)]
    lines += [f"```python\n{method.torch}\n```"] if method.torch else []
    lines += [f"> **Trap.** {method.trap}"] if method.trap else []
    also = f"Also called {', '.join(method.aliases)}. " if method.aliases else ""
    lines += [f"{also}Source: [{method.source.text()}]({method.source.url})."]
    return "\n\n".join(lines)


def _knob(knob: Knob) -> str:
    """One parameter: its name and symbol, its default, what it does."""
    symbol = f" ${knob.symbol}$" if knob.range and knob.symbol != knob.name else ""
    return f"`{knob.name}`{symbol} = {knobs.short(knob.default)}: {knob.help}"


@st.fragment
def find(entries: list[Method]) -> None:
    """The search: it hides entries in the browser, so that they are typeset once."""
    with st.container(key="nv-find"):
        left, middle, right = st.columns([2, 1, 1], gap="medium", vertical_alignment="bottom")
        with left:
            query = state.text_field("Find", "", "find", help="A name, a short name such as GN, or a word.")
        with middle:
            families = list(dict.fromkeys(method.family for method in entries))
            family = state.select("Family", [EVERYTHING, *families], EVERYTHING, "family")
        with right:
            acts_on = state.select("Acts on", [EVERYTHING, *ACTS_ON], EVERYTHING, "on")
    chosen = [m for m in entries if family in (EVERYTHING, m.family) and acts_on in (EVERYTHING, m.acts_on)]
    found = [method.name for method in chosen if fits(method, query)]
    hidden = [method.name for method in entries if method.name not in found]
    shown = len(entries) - len(hidden)
    where = ", ".join(f'[data-testid="stLayoutWrapper"]:has(> .st-key-nv-entry-{name})' for name in hidden)
    hide = f"{where} {{ display: none; }}" if hidden else ""
    count = f"{shown} of {len(entries)} normalizations" if hidden else f"{shown} normalizations"
    st.html(f"<p>{escape(count)}</p><style>{STYLE}{hide}</style>")
    if not shown:
        frame.sentence("Nothing is found: try fewer letters, or set both choices to “everything”.", "hint")


def draw(method: Method) -> None:
    """One entry of the sheet, and the way to the page that shows it at work."""
    with st.container(key=f"nv-entry-{method.name}"):
        st.markdown(entry(method))
        link = {"method": method.title}
        if not method.takes_activations:
            st.page_link("pages/weights_and_blocks.py", label="See it at work", query_params=link)
            return
        if "nchw" not in method.layouts():
            link["shape"] = SHAPES[method.layouts()[0]]
        st.page_link("pages/normalize.py", label="Open in the explorer", query_params=link)


everything = methods("normalization")
find(everything)
for one in everything:
    draw(one)
