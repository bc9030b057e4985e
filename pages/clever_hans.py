"""Clever Hans: a network that is right for the wrong reason, and how a heatmap reveals it."""

import streamlit as st

from normviz.figures import formula, maps
from normviz.formatting import percent
from normviz.html import confidence_change
from normviz.scenes import CLASSES, HANS
from normviz.ui.components import paint
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import painted_region
from normviz.ui.kit import page_layout, tooltips, url_widgets
from normviz.ui.pages import clever_hans

NAME = CLASSES[HANS]
LOOK, SUSPECT, REMOVE, PLANT, MEASURE = "1 look", "2 suspect", "3 paint over", "4 add the mark", "5 measure"
STEPS = (LOOK, SUSPECT, REMOVE, PLANT, MEASURE)
QUICK = ("grad_cam", "layer_cam", "hires_cam", "grad_cam_pp")
TITLES = {"grad_cam": "Grad-CAM", "layer_cam": "LayerCAM", "hires_cam": "HiResCAM", "grad_cam_pp": "Grad-CAM++"}
CULPRITS = ("not sure yet", "the object", "the background", "something in a corner")
SHOWN = 4  # pictures in a row
HELP = f"""
Around 1900 a horse named Hans answered sums by tapping his hoof. He could not count: he read from his owner's face
when to stop. Networks do the same. This one was trained on images in which almost every *{NAME}* carries a small gray
watermark, as photos from one agency might. Detecting the mark is easier than detecting a {NAME}. On images made in the
same way the network is almost always right, so a test on such images cannot reveal the problem.

A heatmap can. What it shows is a suspicion. The proof is to remove the mark, and to add it where it does not belong.
The cure is to remove the mark from the training images, or to add it to all classes equally.
"""

page_layout.header("clever_hans")


def look(number: int, method: str) -> None:
    """Draw one image with its map, and ask what the network uses."""
    request = clever_hans.request_for(clever_hans.photo(number), method)
    shares = request.classifier.probabilities(request.photo.image)
    page_layout.sentence(
        f"The network predicts {CLASSES[int(shares.argmax())]}, {percent(float(shares.max()))}. It recognizes "
        f"{percent(clever_hans.test_accuracy(), counted=True)} of new, similar images. Would you trust it?",
        "hint",
    )
    seen = clever_hans.compute(request)
    rows, columns = seen.drawn.shape
    cells = (rows, columns)
    panels = [
        Panel("photo", "The image", maps.photo(request.pixels, cells)),
        Panel("map", f"{request.method.title} of {NAME}", maps.heat(seen.drawn, seen.signed, request.unit)),
        Panel("overlay", "Both", maps.overlay(request.pixels, seen.drawn, 0.55, "inferno", seen.signed)),
    ]
    board(panels, "hans-board", formula.attribution(request.unit))
    culprit = url_widgets.segments("What does it use?", CULPRITS, CULPRITS[0], "culprit")
    mark = clever_hans.scene(number).watermark
    if culprit == CULPRITS[0] or mark is None:
        return
    share, area = clever_hans.on_mark(seen, mark), float(mark.float().mean())
    if culprit == CULPRITS[3]:
        page_layout.sentence(
            f"Yes: {percent(share)} of the evidence lies on a gray mark that covers {percent(area)} of the image. "
            "One image may be chance: go on to step 2.",
            "good",
        )
    else:
        page_layout.sentence(
            f"Look at the brightest cells again: {percent(share)} of the evidence lies in one corner.", "hint"
        )


def suspect(number: int, method: str) -> None:
    """Draw several images of the class: the evidence is always in the same corner."""
    page_layout.sentence(f"Four more images of a {NAME}, each at another position. Where is the evidence?", "hint")
    for column, offset in zip(st.columns(SHOWN), range(SHOWN), strict=True):
        one = (number + offset) % clever_hans.PICTURES + 1
        with column:
            source, share = clever_hans.overlay(one, method, HANS, True)
            page_layout.figure(source, f"{NAME}: {percent(share)}", f"Image {one} with the map over it", True)


def painted(region: str) -> None:
    """Store the painted region in the link."""
    st.query_params["paint"] = region


def remove(number: int, method: str) -> None:
    """Paint over the mark, and ask the network again."""
    if st.session_state.get("hans-painted") not in (None, number):
        st.query_params.pop("paint", None)  # it was painted on another picture
    st.session_state["hans-painted"] = number
    before, classifier, region = clever_hans.photo(number), clever_hans.network(), ""
    after = before
    with page_layout.guard():  # an invalid region is reported, and another one can be painted
        region = painted_region.valid(st.query_params.get("paint", ""), before)
        after = painted_region.filled(before, region, "inpaint") if region else before
    was, now = (float(classifier.probabilities(one.image)[HANS]) for one in (before, after))
    if after is not before:
        said = confidence_change.describe(NAME, was, now)
        held = (
            "The network used only the mark." if now < was / 2 else "Not yet: paint over the cells that the map marks."
        )
        page_layout.sentence(f"{said[0].upper()}{said[1:]}. {held}", "good" if now < was / 2 else "hint")
    else:
        page_layout.sentence(
            "Paint over what you suspect. The region is filled from its surroundings, and the network is asked again.",
            "hint",
        )
    left, middle, right = st.columns(3)
    with left:
        paint.paint(before.pixels, region, False, f"hans-paint-{number}", painted)
    with middle:
        page_layout.figure(maps.data_uri(after.pixels), f"{NAME}: {percent(now)}", "The image after painting", True)
    with right:
        page_layout.figure(
            clever_hans.overlay_after(before, after, method), "Its map, on the same scale as before", "The map", True
        )


def plant(number: int, method: str) -> None:
    """Draw images of other classes with the mark added."""
    page_layout.sentence(
        f"Now the reverse: images of other classes with the mark of the {NAME} added. The numbers are the "
        f"probability of {NAME}.",
        "hint",
    )
    others = [label for label in range(len(CLASSES)) if label != HANS]
    for column, offset in zip(st.columns(SHOWN), range(SHOWN), strict=True):
        label = others[(number + offset) % len(others)]
        with column:
            for marked in (False, True):
                source, share = clever_hans.overlay(number, method, label, marked)
                words = "with the mark" if marked else CLASSES[label]
                page_layout.figure(source, f"{words}: {percent(share)}", f"{CLASSES[label]}, {words}", True)


def measure() -> None:
    """Draw how often this happens, over many images."""
    told = clever_hans.facts()
    shares = (told.without_mark, told.with_mark, told.fooled)
    without_mark, with_mark, fooled = (percent(share, counted=True) for share in shares)
    page_layout.sentence(
        f"Without the mark, the network recognizes {without_mark} of the images of a {NAME}; with it, {with_mark}. "
        f"With the mark added, it classifies {fooled} of all other images as a {NAME}.",
        "good",
    )
    st.html(clever_hans.facts_table(told))
    st.caption(clever_hans.sample_sizes(told))


def choose() -> tuple[int, str]:
    """Draw the widgets; the number of the picture and the name of the method."""
    number = url_widgets.slider("Image", 1, clever_hans.PICTURES, 1, "picture")
    method = url_widgets.select("Method", QUICK, QUICK[0], "method", text=TITLES.__getitem__, help=tooltips.METHOD)
    return number, method


def show(number: int, method: str) -> None:
    """Draw the chosen step of the exercise."""
    step = url_widgets.segments("Step", STEPS, LOOK, "step")
    if step == MEASURE:
        measure()
    else:
        {LOOK: look, SUSPECT: suspect, REMOVE: remove, PLANT: plant}[step](number, method)
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
