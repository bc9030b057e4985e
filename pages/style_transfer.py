"""Style transfer: what happens when only means and standard deviations are swapped."""

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from normviz.experiments.labs.style_transfer import LAYERS
from normviz.images import encode_png
from normviz.ui.components.board import board
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import page_layout, url_widgets
from normviz.ui.pages import style_transfer
from normviz.ui.pages.style_transfer import Pair

PLACES = {
    "pixels": "the three colors",
    "stem": "the first layers",
    "stage1": "stage 1",
    "stage2": "stage 2",
}
STEPS = (50, 150, 300, 600)
FORMULAS = (
    r"\operatorname{AdaIN}(c, s) = \sigma(s)\,\frac{c - \mu(c)}{\sigma(c)} + \mu(s)",
    r"t = (1 - \alpha)\,c + \alpha\,\operatorname{AdaIN}(c, s)",
)
HELP = """
A layer of the network turns a photo into feature maps, one per channel: one responds to edges, another to a color.
**AdaIN** removes the mean and the standard deviation of each feature map of the content, and gives it those of the same
feature map of the style. Nothing else changes: *where* a map is bright stays the content's; *how* bright it is, and how
much that varies, becomes the style's. This is instance normalization with γ and β from another photo.

**The picture** does not follow from a formula. The authors of AdaIN trained a second network, a decoder, to turn
feature maps back into pixels. Here the picture is optimized instead. It starts as the content with the colors of the
style. Gradient descent then changes its pixels until the network computes the swapped feature maps for it, and the
swapped means and standard deviations at all earlier layers, including the colors. It never fits completely: a picture
with exactly these feature maps may not exist.

**What to expect.** With the three colors alone, only tint and contrast change. Deeper layers add texture: a smooth
style removes the detail of fur, and a style with small lights turns edges into lights. Brush strokes as in the paper
do not appear: this network is small and knows 11 classes of photos at 128 pixels, and means and standard deviations do
not encode positions.
"""

page_layout.header("style_transfer")


def choose() -> tuple[Pair, int, DeltaGenerator]:
    """Draw the widgets; the photos with the layer and the strength, the steps, and a place for one more widget."""
    content, given = pick("Content: your photo"), pick("Style: your photo", "style-", "retina")
    layer = url_widgets.select("Layer", LAYERS, "stage1", "layer", text=PLACES.__getitem__)
    alpha = url_widgets.slider(r"Style strength $\alpha$", 0.0, 1.0, 1.0, "alpha", step=0.05)
    steps = url_widgets.steps("Optimization steps", STEPS, 150, "steps", help="More steps fit better and take longer.")
    return Pair(content, given, layer, alpha), steps, st.container()


def show(pair: Pair, steps: int, left: DeltaGenerator) -> None:
    """Draw the pictures, the statistics, one channel (chosen on the left), and the optimized picture."""
    seen = style_transfer.exchanged(pair)
    top, bar = st.empty(), st.container()
    top.html(style_transfer.pictures(pair))
    order = np.argsort(-np.square(seen.after - seen.content).mean((1, 2)))  # (C,)
    with left:
        rank = url_widgets.slider("Feature map (1: largest change)", 1, len(order), 1, "map")
    for formula in FORMULAS:
        st.latex(formula)
    board(style_transfer.panels(pair, seen, int(order[rank - 1])), "style-board", columns=6)
    below = st.container()
    page_layout.how_to_read(HELP)
    with bar:
        found = style_transfer.search(pair, steps, top)
    top.html(style_transfer.pictures(pair, found.pixels))
    with below:
        if len(found.map_errors):
            board(style_transfer.search_panels(seen, found), "style-search", columns=2)
        st.html(style_transfer.numbers(seen, found))
        st.download_button("Picture (PNG)", encode_png(found.pixels), "style.png", "image/png", on_click="ignore")


page_layout.two_columns(choose, show)
