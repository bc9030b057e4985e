"""Class model visualization: the input that maximizes the score of a class."""

import numpy as np
import streamlit as st

from normviz.figures import curves
from normviz.images import encode_png
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import network
from normviz.ui.kit import page_layout, url_widgets
from normviz.ui.pages.class_model import ClassModelRequest, Found, pictures, search

NONE = "no other class"
STEPS = (10, 25, 50, 100, 200, 400)
DECAYS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RATES = (1.0, 3.0, 10.0, 30.0, 60.0)
FORMULA = r"\arg\max_I\; S_c(I) - \lambda \lVert I \rVert_2^2"
HELP = """
No photo is involved. The search starts from the mean color of the training photos, which is zero for the network. Each
step moves every pixel slightly in the direction in which the class score (the **logit**) $S_c$ rises fastest: gradient
ascent with fixed weights. The second term keeps the pixel values small; without it, colors would grow without bound.
The mean is added back for display.

**What to look for.** Parts of what the network looks for, repeated all over the image: nothing makes it draw one cat
in one place. What is missing matters, too: a class that is recognized by its background shows the background. The
probability is close to 100% although nobody would mistake the result for a photo, so high confidence does not mean
that the input was a real photo.

**Why the logit?** The probability also rises when all other logits fall. Then the image would show evidence against
the other classes.

**The options** are not in the paper. Shifting and blurring the image before each step suppress fine patterns that the
network responds to and people do not see.
"""

CLASS = "The image is optimized to give this class the highest score possible."

page_layout.header("class_model")


def choose() -> tuple[ClassModelRequest]:
    """Draw the widgets."""
    classifier = network.choose()
    names = list(classifier.classes)
    first = url_widgets.select("Class", names, "cat" if "cat" in names else names[0], "class", help=CLASS)
    others = [name for name in names if name != first]
    second = url_widgets.select(
        "Second class", [NONE, *others], NONE, "beside", help="A second image doubles the time."
    )
    steps = url_widgets.steps("Gradient ascent steps", STEPS, 50, "steps")
    decay = url_widgets.steps(
        r"Penalty $\lambda$",
        DECAYS,
        1e-3,
        "decay",
        text="{:g}".format,
        help="Larger values give fainter, smoother images.",
    )
    with st.expander("Clearer images"):
        st.caption("Not in the paper. A jitter of 4 pixels and a blur of 0.5 make the shapes clearer.")
        rate = url_widgets.steps("Step size", RATES, 10.0, "rate", text="{:g}".format)
        jitter = url_widgets.slider("Jitter (pixels)", 0, 16, 0, "jitter")
        blur = url_widgets.slider("Blur every fourth step (pixels)", 0.0, 2.0, 0.0, "blur", step=0.1)
        starts = url_widgets.slider(
            "Starts", 1, 4, 1, "starts", help="The first starts from zero, the others from faint noise."
        )
        seed = url_widgets.number("Seed", 0, 999, 0, "seed")
    targets = tuple(names.index(name) for name in (first, second) if name != NONE)
    return (ClassModelRequest(classifier, targets, decay, rate, steps, jitter, blur, starts, seed),)


def curve(request: ClassModelRequest, found: Found) -> Panel:
    """The logit over the steps; for a single image also the logit minus the penalty."""
    steps, names = np.arange(len(found.scores)), request.names
    lines = [curves.Line(name, steps, found.scores[:, index]) for index, name in enumerate(names)]
    if len(names) == 1:
        rest = found.scores[:, 0] - request.decay * found.norms[:, 0]  # (steps + 1,)
        lines = [
            curves.Line("logit", steps, found.scores[:, 0]),
            curves.Line("logit minus penalty", steps, rest, dash="dash"),
        ]
    alt = "The class score (logit) at the start and after each step"
    return Panel("logit", "Class score by step", curves.lines(lines, "step", "logit"), alt=alt)


def show(request: ClassModelRequest) -> None:
    """Draw the images, their curves, and the formula with its numbers."""
    alone = len(request.names) == 1
    stage, beside = st.columns([4, 3]) if alone else (st.container(), st.container())
    with stage:
        found = search(request)
        if found.shares is None:
            page_layout.sentence(f"Stopped after {len(found.scores)} of {request.steps} steps.", "hint")
        st.html(pictures(request, found))
    with beside:
        board([curve(request, found)], "class-model-board", columns=1)
    score, penalty = float(found.scores[-1, 0]), request.decay * float(found.norms[-1, 0])
    numbers = rf"{score:.3g} - {request.decay:g} \cdot {found.norms[-1, 0]:.4g} = {score - penalty:.3g}"
    st.latex(FORMULA)
    st.latex(rf"{numbers} \text{{ for {request.names[0]}}}")
    for index, (column, name) in enumerate(zip(st.columns(max(3, len(request.names))), request.names, strict=False)):
        file = f"{name.replace(' ', '_').replace(',', '')}_class_model.png"
        column.download_button(
            f"{name} (PNG)", encode_png(found.pixels[index]), file, "image/png", on_click="ignore", width="stretch"
        )
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
