"""Compare maps of one photo: methods by classes, layers or networks; and their known weaknesses."""

from typing import get_args

import streamlit as st

from normviz.attribution.compare import Correlation
from normviz.experiments.drawbacks import DrawbackInput, drawbacks
from normviz.figures import maps, style
from normviz.prints import map_sheet as figures
from normviz.ui.components.map_sheet import MapCell, map_sheet
from normviz.ui.inputs import network
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import jobs, page_layout, url_widgets
from normviz.ui.maps.photo import Photo
from normviz.ui.pages.compare_maps import choice, comparison, details, drawback
from normviz.ui.pages.compare_maps.comparison import ComparisonRequest

STYLE = """<style>
[data-testid="stProgress"] p { font-size: 1rem; }
.st-key-show [role="radiogroup"] { flex-wrap: wrap; overflow: visible; mask: none; }
.st-key-nv-cell-formula .katex-display { overflow: auto hidden; text-align: left; }
.st-key-nv-cell-formula .katex-display > .katex { text-align: left; }
</style>"""
CELL = "Click a map, or type four indices from 0: row of maps, map in the row, row of the cell, column of the cell."
HELP = """
**Each row** is a method. Each column is a class, a layer, or a network with another normalization. All maps made from
one network share one forward and one backward pass. A cell is one position of the layer; for maps at the input it is a
pixel, with the three color channels summed. Methods never share a scale, because their units differ.

**Click a cell** to see how its value is made: the channels that contribute most, each with its activation A, its
gradient g and its weight. **If maps disagree**, the pages under *Is the map true?* measure which one is faithful to
the network. Agreement between many maps proves nothing.

**The weaknesses** are those reported in the literature, measured on your photo.
"""

page_layout.header("compare_maps")


def ask() -> str | None:
    """Draw the weaknesses as buttons; the name of the chosen one."""
    st.html(STYLE)
    every = drawbacks()
    chosen: str | None = st.pills(
        "Known weaknesses: click to show one on your photo, click again to hide it",
        list(every), key="show", format_func=lambda name: every[name].title, bind="query-params",
    )  # fmt: skip
    return chosen


def look() -> tuple[float, style.ColorMap]:
    """Draw the widgets for opacity and colors."""
    opacity = url_widgets.slider("Opacity of the maps", 0.0, 1.0, 0.7, "opacity", step=0.05)
    return opacity, url_widgets.select("Colors", style.COLOR_MAPS[:-1], style.COLOR_MAPS[0], "colors")


def compare(
    request: ComparisonRequest, opacity: float, colors: style.ColorMap, scale: figures.Scale, kind: Correlation
) -> None:
    """Draw the sheet, the details of the clicked cell, the correlations and the downloads."""

    def stop() -> None:
        st.session_state["methods"] = [method.name for method in request.methods if not method.slow]

    with jobs.Bar("maps", stop) as bar:
        found = comparison.maps(request, bar.watch)
    pixels = request.classifier.view(request.photo.image).permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
    aspect = pixels.shape[1] / pixels.shape[0]
    place = comparison.parse_cell(st.session_state.get("cell", ""), found, request.methods)

    def clicked(cell: MapCell) -> None:
        st.session_state["cell"] = comparison.format_cell(cell)

    rows = comparison.sheet(request, found, scale, colors)
    map_sheet(rows, maps.data_uri(figures.small(pixels)), aspect, opacity, "maps-sheet", place, clicked)
    st.caption(f"All maps {request.fixed}. Colors: {figures.SCALES[scale]}. Click a cell of a map for its details.")
    if request.across == "norms":
        details.confidence(request)
    details.explain_cell(request, found, place, aspect)
    details.similarity(request, found, place, kind)
    details.downloads(request, found, scale, pixels, opacity, colors)


def show(name: str, photo: Photo, setting: DrawbackInput, opacity: float, colors: style.ColorMap) -> None:
    """Draw one weakness, measured on the photo."""

    def stop() -> None:
        st.session_state["show"] = None

    found = drawback.measure(drawbacks()[name], setting, photo, stop)
    pixels = setting.classifier.view(photo.image).permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
    drawback.draw(found, pixels, opacity, colors)


@st.fragment
def work() -> None:
    """Draw the page; it runs again at every change."""
    left, right = page_layout.columns()
    with right:
        name = ask()
    with left, page_layout.guard():
        photo = pick()
        classifier = network.choose()
        if name:
            setting = choice.choose_setting(photo, classifier)
            drawn = look()
            with right, page_layout.guard():
                show(name, photo, setting, *drawn)
        else:
            request = choice.choose(photo, classifier)
            scale = url_widgets.select(
                "Color scale", tuple(figures.SCALES), "own", "scale", text=figures.SCALES.__getitem__
            )
            drawn = look()
            kind = url_widgets.segments("Correlation", get_args(Correlation), "pearson", "correlation")
            url_widgets.text_field("Cell details", "", "cell", help=CELL)
            with right, page_layout.guard():
                compare(request, *drawn, scale, kind)
    with right:
        page_layout.how_to_read(HELP)


work()
