"""Compare: what every normalization does to the same numbers, as small multiples that appear as they are computed."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from normviz.normalization.analysis.comparison import LIMIT, look
from normviz.registry import Method, methods
from normviz.ui.inputs import source
from normviz.ui.kit import jobs, page_layout, url_widgets
from normviz.ui.pages import compare_norms
from normviz.ui.pages.compare_norms import SORTS, Multiple

HELP = f"""
**Each card** is one method with its default settings, on the input chosen beside the cards; its title opens the method
on the Normalize page. **Cube:** cells of one color share one mean, variance or length; gray where there are no such
groups. **Histogram:** all values before (gray-blue) and after (orange), on one axis for all cards; what is taller than
its card is cut off. **Colors:** a part of the output, on one scale for all cards from −{LIMIT:g} (blue) to {LIMIT:g}
(orange); beyond that the color stays. Of maps it shows two examples, one below the other, and four channels.

**Statistics** counts the means, or the variances, or the lengths. **Learned** counts the numbers that training adjusts.
**Time** is the median of a few calls on this machine. **Memory** is what PyTorch's operations held at most during one
call, beyond input and output; what one operation needs inside itself is not seen. **Moved by** is the root mean square
of output minus input.
"""
MINE = {"methods", "sort"}  # parameters of the link that do not choose the input
COLUMNS = 3

page_layout.header("compare_norms")


def show(chosen: source.Source, listed: list[Method], by: str, exports: DeltaGenerator) -> None:
    """The cards, each in its place as soon as it is computed; by what is measured they are sorted in the end."""
    st.html(compare_norms.STYLE)
    ground = jobs.compute(lambda: look(chosen.x, chosen.mask))
    link = {name: value for name, value in st.query_params.to_dict().items() if name not in MINE}
    asked = (chosen.identity, frozenset(method.name for method in listed))
    new = st.session_state.get("compare-seen") != asked
    line = st.empty()
    rows = [st.columns(COLUMNS) for _ in range(0, len(listed), COLUMNS)]
    places = [column.empty() for row in rows for column in row][: len(listed)]
    if new:
        for place, method in zip(places, listed, strict=True):
            compare_norms.placeholder(place, method)
    found: list[Multiple] = []
    for place, method in zip(places, listed, strict=True):
        if new:
            line.progress(len(found) / len(listed), f"{method.title}: {len(found) + 1} of {len(listed)}")
        found.append(compare_norms.multiple(method, chosen, ground))
        if new:
            compare_norms.fill(place, found[-1], ground, link)
    st.session_state["compare-seen"] = asked
    if not new or SORTS[by]:
        found = compare_norms.ordered(found, by)
        for place, shown in zip(places, found, strict=True):
            compare_norms.fill(place, shown, ground, link)
    what = " × ".join(map(str, chosen.x.shape))
    line.caption(f"{len(found)} methods on the same {chosen.x.numel():,} values ({what}).")
    with exports:
        compare_norms.downloads(found, ground, f"Normalizations of {what} values")
    page_layout.how_to_read(HELP)


def choose() -> tuple[source.Source, list[Method], str, DeltaGenerator]:
    """Draw the widgets; the input, the methods, the order of the cards, and a place for the downloads."""
    chosen = source.choose()
    offered = [m for m in methods("normalization") if m.takes_activations and chosen.layout in m.layouts()]
    titles = url_widgets.several("Methods", [method.title for method in offered], "methods", "all")
    by = url_widgets.select("Sort by", tuple(SORTS), next(iter(SORTS)), "sort")
    listed = [method for method in offered if method.title in titles]
    if by == "name":
        listed.sort(key=lambda method: method.title)
    return chosen, listed, by, st.container()


page_layout.two_columns(choose, show)
