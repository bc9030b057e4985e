"""Compare norms: what every normalization does to the same values, one card per method."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from normviz.normalization.analysis.comparison import LIMIT, look
from normviz.registry import Normalization, methods
from normviz.ui.inputs import source
from normviz.ui.kit import jobs, page_layout, url_widgets
from normviz.ui.pages import compare_norms
from normviz.ui.pages.compare_norms import SORTS, Multiple

HELP = f"""
**Each card** is one method with its default settings, applied to the input chosen on the left; its title opens the
method on the Normalize page. **Cube:** cells of one color share one mean, variance or length; gray if the method has
no such groups. **Histogram:** all values before (gray-blue) and after (orange), on one axis for all cards; bars taller
than the card are cut off. **Colors:** part of the output, on one scale for all cards from −{LIMIT:g} (blue) to
{LIMIT:g} (orange); values beyond are clipped. Feature maps show two samples, one below the other, and four channels.

**Statistics** is the number of means, variances or lengths. **Learned** is the number of trainable parameters.
**Time** is the median of a few calls on this machine. **Memory** is the peak held by PyTorch operations during one
call, without input and output; memory used inside a single operation is not counted. **Change** is the root mean
square of output minus input.
"""
MINE = {"methods", "sort"}  # parameters of the link that do not choose the input
COLUMNS = 3

page_layout.header("compare_norms")


def show(chosen: source.Source, listed: list[Normalization], by: str, exports: DeltaGenerator) -> None:
    """Draw each card as soon as it is computed; cards sorted by a measurement are placed at the end."""
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


def choose() -> tuple[source.Source, list[Normalization], str, DeltaGenerator]:
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
