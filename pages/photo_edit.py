"""Photo edit: does the class disappear when the region that a map marks is painted over?"""

from dataclasses import replace

import streamlit as st

from normviz.evaluation.photo_edit import FILLS, Fill
from normviz.figures import maps
from normviz.formatting import number
from normviz.html import confidence_change
from normviz.registry import get, methods
from normviz.ui.components import paint
from normviz.ui.inputs import network, painted_region
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.explained_photo import ExplainedPhoto
from normviz.ui.maps.map_request import MapRequest
from normviz.ui.pages import photo_edit

TOP = "most probable"
PAINTED = "my painted region"
STRONGEST = {"strongest 10%": 0.1, "strongest 20%": 0.2, "strongest 30%": 0.3, "strongest 50%": 0.5}
ALL_BUT = {"all but the strongest 10%": 0.1, "all but the strongest 30%": 0.3}
FILLED = {"mean": "one color", "blur": "blur", "inpaint": "surroundings"}
HELP = """
A map claims that certain pixels made the network choose a class. Remove them and ask again: if the claim is true, the
class loses probability, and more than if you paint over an equally large region elsewhere. Conversely, if everything
except these pixels is removed, the class should stay. If it stays both ways, the evidence was in several regions, and
one is enough.

**Filling is a change, too.** *One color* is the mean of all other pixels: a flat patch that no photo contains. *Blur*
keeps the rough colors of the region. *Surroundings* extends the border inward as smoothly as possible (each pixel is
the mean of its neighbors): it adds the fewest edges, and no texture. A result that holds for only one filling says
more about the filling.

Both maps share one scale, so darker cells have lost evidence. A class can rise without new evidence, because the
probabilities sum to 100%.
"""

page_layout.header("photo_edit")


def choose() -> tuple[MapRequest, str, Fill]:
    """Draw the widgets; the request for the original photo, the region to remove, and how it is filled."""
    photo = photo_edit.reduced(pick())
    classifier = network.choose()
    every = [method.name for method in methods("attribution")]
    method = get(
        url_widgets.select(
            "Method", every, "grad_cam", "method", text=lambda name: get(name).title, help=tooltips.METHOD
        ),
        "attribution",
    )
    wanted = url_widgets.select("Class", [TOP, *classifier.classes], TOP, "class", help=tooltips.CLASS)
    best = int(map_request.probabilities(classifier, photo).argmax())
    target = best if wanted == TOP else classifier.index(wanted)
    layer = next(iter(map_request.feature_layers(classifier, photo)))
    where = url_widgets.select("Region to remove", [PAINTED, *STRONGEST, *ALL_BUT], "strongest 30%", "area")
    how = url_widgets.select("Fill it with", FILLS, "mean", "filling", text=FILLED.__getitem__)
    return MapRequest(photo, classifier, method, target, layer, method.settings()), where, how


def region_of(before: ExplainedPhoto, request: MapRequest, where: str) -> str:
    """The region to fill, as run lengths: painted by the visitor, or the strongest cells of the map.

    Raises:
        ValueError: the link holds no region of this photo, or the map has no evidence for the class.
    """
    known = st.session_state.get("edit-photo")
    if known not in (None, request.photo.identity):
        st.query_params.pop("paint", None)  # it was painted on another photo
    st.session_state["edit-photo"] = request.photo.identity
    if where == PAINTED:
        return painted_region.valid(st.query_params.get("paint", ""), request.photo)
    chosen = photo_edit.strongest_cells(before, request.classifier, (STRONGEST | ALL_BUT)[where])  # (rows, columns)
    return paint.runs(~chosen if where in ALL_BUT else chosen)


def painted(region: str) -> None:
    """Use the painted region from now on, and store it in the link."""
    st.session_state["area"] = PAINTED
    st.query_params["paint"] = region


def show(request: MapRequest, where: str, how: Fill) -> None:
    """Draw the photo to paint on, the filled photo, and the predictions for both."""
    before = photo_edit.explain("before", request, f"{request.method.title} of the photo")
    left, right = st.columns(2)
    region, photo = "", request.photo
    with right, page_layout.guard():  # an invalid region is reported, and another one can be painted
        region = region_of(before, request, where)
    with left:  # nothing above it may change while it is painted, or it would move
        paint.paint(request.photo.pixels, region, where != PAINTED, f"paint-{request.photo.identity}", painted)
    with right:
        with page_layout.guard():
            photo = painted_region.filled(request.photo, region, how) if region else request.photo
        changed = photo is not request.photo
        page_layout.figure(
            maps.data_uri(photo.pixels), f"The region filled with {FILLED[how]}" if changed else "Not yet changed"
        )
        after = before
        if changed:
            after = photo_edit.explain(
                "after", replace(request, photo=photo), f"{request.method.title} of the edited photo"
            )
        hint = "Drag over the photo to paint the region to remove."
        page_layout.sentence(
            photo_edit.describe(request, before, after) if changed else hint, "good" if changed else "hint"
        )
    compare(request, before, after)
    page_layout.how_to_read(HELP)


def compare(request: MapRequest, before: ExplainedPhoto, after: ExplainedPhoto) -> None:
    """Draw both maps on one scale, and the classes."""
    high = max(float(abs(one.map.drawn).max()) for one in (before, after))
    signed = before.map.signed or after.map.signed
    for column, one, name in zip(st.columns(2), (before, after), ("Before", "After"), strict=True):
        with column:
            highest = f"highest {number(float(one.map.drawn.max()), markup=False)} {request.method.unit}"
            page_layout.figure(
                maps.data_uri(one.overlay(request.classifier, high, signed)),
                f"{name}: {request.method.title} of {request.name}, {highest}",
            )
    order = photo_edit.shown_classes(before.probabilities, after.probabilities, request.target)
    names = [request.classifier.classes[index] for index in order]
    st.html(
        confidence_change.probabilities(
            names, before.probabilities[order].tolist(), after.probabilities[order].tolist(), request.name
        )
    )


page_layout.two_columns(choose, show)
