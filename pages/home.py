"""Home: the two main pages with live pictures, and the list of all pages."""

from html import escape

import streamlit as st

from normviz.ui.kit import page_layout
from normviz.ui.kit.page_registry import PAGES
from normviz.ui.pages import home


def door(key: str, page: str, halves: tuple[home.Half, home.Half], title: str, text: str) -> None:
    """Draw a card that links to a page."""
    figures = "".join(
        f'<figure><img src="{half.source}" alt="{escape(half.alt)}" width="{home.WIDTH}" height="{home.HEIGHT}">'
        f"<figcaption>{escape(half.caption)}</figcaption></figure>"
        for half in halves
    )
    with st.container(border=True, key=f"nv-door-{key}"):
        st.html(f'<div class="nv-door">{figures}</div>')
        st.page_link(page, label=title)
        st.markdown(text)


page_layout.header("home")
st.html(
    '<p class="nv-lead">See where an image classifier finds its evidence, and how normalization changes the values '
    "inside a network. Everything runs on this server, and no photo is kept.</p>"
)
heatmap, normalization = home.pictures()
left, right = st.columns(2, gap="medium")
with left:
    door(
        "cam",
        "pages/cam.py",
        heatmap,
        "Your photo: where did it look?",
        "Upload a photo and see which parts made the network say *cat*: Grad-CAM and related methods, "
        "at any layer, for any class, with the formula and its numbers.",
    )
with right:
    door(
        "norm",
        "pages/normalize.py",
        normalization,
        "Your activations: what shares a mean?",
        "Generate activations, choose a normalization, and see which values share statistics: "
        "every value, histogram and statistic, before and after.",
    )

for group, pages in PAGES.items():
    if group:
        st.html(f'<h2 class="nv-group">{escape(group)}</h2>')
        with st.container(key=f"nv-pages-{group.split()[0].lower()}"):
            for row in range(0, len(pages), 3):  # row by row, so that a phone stacks them in their order
                for page, column in zip(pages[row : row + 3], st.columns(3, gap="medium"), strict=False):
                    with column:
                        st.page_link(page.file, label=f"**{page.title}**")
                        st.caption(page.question)
