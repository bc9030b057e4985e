"""Data scaling: what it does to the columns of a table, or to a photo."""

import streamlit as st

from normviz.figures.normalization import data_scaling as figures
from normviz.html import data_scaling as tables
from normviz.registry import Normalization, Value, get, methods
from normviz.ui.components.board import board
from normviz.ui.inputs import photo, table
from normviz.ui.kit import knobs, page_layout, url_widgets
from normviz.ui.pages import data_scaling

METHODS = [method.name for method in methods("normalization") if method.family == "scaling"]
HELP = """
**Why scale at all?** A method that compares rows by distance, or learns with one step size for all columns, sees
mostly the column with the largest values. The last column of the table gives each column's average share of the
distance between two rows.

**Training rows and new rows.** A model sees new rows only after training. So the statistics come from the training
rows alone and are then applied to new rows, which may fall outside the range of the training rows. Computing the
statistics from all rows leaks information from the new rows into training.

Min-max, z-score, max-abs and robust scaling shift and stretch each column; the shape of its histogram stays the same.
**ZCA whitening** also rotates the points so that no two columns are correlated, while staying as close to the data as
possible. **Unit length** works on rows: it moves each point onto the sphere of radius 1.

**A photo is also a table**: each pixel is a row, and red, green and blue are its columns. Scaling each color
separately removes a tint; unit length removes shadows and keeps the hue; ZCA of small patches keeps what a pixel's
neighbors do not predict: edges.
"""
page_layout.header("data_scaling")


def of_table(method: Normalization, settings: dict[str, Value], right: st.delta_generator.DeltaGenerator) -> None:
    """Scale a table: widgets on the left, pictures on the right."""
    chosen = table.pick()
    for remark in chosen.table.remarks():
        st.caption(remark)
    share = url_widgets.slider("Training rows", 10, 100, 70, "share", step=5, format="%d%%")
    seed = url_widgets.number("Seed", 0, 9999, 0, "seed", help="Splits the rows into training rows and new rows.")
    names = chosen.table.columns
    across = names.index(url_widgets.select("Horizontal axis", names, names[-1], "across"))
    up = names.index(url_widgets.select("Vertical axis", names, names[0], "up"))
    seen = data_scaling.scale_table(method, settings, chosen, share / 100, seed)
    with right, page_layout.guard():
        board(data_scaling.table_panels(seen, across, up), "scaling-table", columns=2)
        st.markdown(data_scaling.describe_table(method, seen))
        st.html(tables.statistics(seen.columns, seen.before[seen.train], seen.after[seen.train]))
        st.caption("Statistics of the training rows. Share of distance: the column's share of the total variance.")


def of_photo(method: Normalization, settings: dict[str, Value], right: st.delta_generator.DeltaGenerator) -> None:
    """Scale a photo: widgets on the left, pictures on the right."""
    chosen, patch = photo.pick(), 1
    if method.name == "zca_whitening":
        rows = url_widgets.segments("One row is", ("a pixel", "a patch"), "a pixel", "row")
        if rows == "a patch":
            patch = url_widgets.steps("Patch size (pixels)", (2, 4, 6, 8, 12), 4, "patch")
    seen = data_scaling.scale_photo(method, settings, chosen, patch)
    with right, page_layout.guard():
        board(data_scaling.photo_panels(seen), "scaling-photo", columns=2)
        st.markdown(data_scaling.describe_photo(method, seen))
        st.html(tables.statistics(tuple(figures.COLORS), seen.before.reshape(-1, 3), seen.after.reshape(-1, 3)))


@st.fragment
def work() -> None:
    """Draw the page; it runs again at every change."""
    left, right = page_layout.columns()
    with left, page_layout.guard():
        source = url_widgets.segments("Scale", ("a table", "a photo"), "a table", "data")
        method = get(
            url_widgets.select(
                "Scaling", METHODS, "z_score", "method", text=lambda name: get(name, "normalization").title
            ),
            "normalization",
        )
        settings = knobs.knobs(method)
        (of_table if source == "a table" else of_photo)(method, settings, right)
        with right, page_layout.guard():
            st.latex(method.formula)
            st.markdown(f"**When:** {method.use} **Common mistake:** {method.common_mistake}")
            page_layout.how_to_read(HELP)


work()
