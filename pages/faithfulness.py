"""Faithfulness: hide the pixels that a map marks, and measure how the score drops."""

import streamlit as st

from normviz.evaluation.faithfulness.assessment import BASELINES, Settings, verdict
from normviz.evaluation.faithfulness.replacements import REPLACEMENTS
from normviz.figures import maps
from normviz.figures.evaluation.faithfulness import MAP, NAMES
from normviz.formatting import percent
from normviz.html import faithfulness as tables
from normviz.ui.components.board import board
from normviz.ui.inputs import method as method_picker
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import knobs, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import AttributionMap, MapRequest
from normviz.ui.maps.progressive_map import progressive_map
from normviz.ui.pages import faithfulness

ALONG = (0.1, 0.3, 0.5)  # shares of the pixels at which the photo is shown
ACTIONS = ("hide", "reveal")
SCORES = ("probability", "logit")
STEPS = (10, 20, 40, 80)
BESIDE = {"none": "nothing", "quick": "all fast methods"}
WANTED = "curves wanted"  # session key of the request whose curves are shown
HELP = """
**The test.** A map claims that certain pixels made the network choose the class. So remove pixels, starting with those
that the map marks most: if the claim is true, the probability drops at once (*deletion*, a small area under the
curve). Or reveal them in a blurred photo: the probability rises at once (*insertion*, a large area). *Drop in
confidence*: how much is lost when only the bright parts of the map are visible. *ROAD* replaces pixels by a weighted
mean of their neighbors, so that the shape of the holes reveals nothing. Its gap is large if the least relevant pixels
can be removed without harm and the most relevant ones cannot.

**The baselines** know nothing about the network: a *random* map with the same number of cells; the *center* of the
image, where photographers put their subject; its *edges*. A map that does not beat them carries no information about
the network. The center often wins: then this photo cannot show whether the map is true.

**Pitfalls.** The network has never seen a photo with holes. Scattered single pixels destroy the texture everywhere, so
maps at the input, and random pixels, look good in deletion and bad in insertion. Compare maps with similar cells, and
trust what several measures agree on. One photo proves little.
"""

page_layout.header("faithfulness")


def choose() -> tuple[MapRequest, Settings, bool]:
    """Draw the widgets; the request, the settings of the measures, and whether other methods are measured, too."""
    photo = pick()
    classifier = network.choose()
    method = method_picker.choose()
    names = target_picker.labels(classifier)
    wanted = url_widgets.select("Class", [target_picker.TOP, *names], target_picker.TOP, "class", help=tooltips.CLASS)
    best = int(map_request.probabilities(classifier, photo).argmax())
    target = best if wanted == target_picker.TOP else names.index(wanted)
    shapes = map_request.feature_layers(classifier, photo)
    layer = next(iter(shapes))
    if map_request.reads_layer(method):
        text = {name: f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items()}
        layer = url_widgets.select(
            "Layer", list(text), layer, "layer", text=text.__getitem__, help=tooltips.SIZED_LAYER
        )
    settings = knobs.knobs(method)
    replacement = url_widgets.select(
        "Removed pixels become", list(REPLACEMENTS), "mean", "filled", text=REPLACEMENTS.__getitem__
    )
    score = url_widgets.segments("Curves show", SCORES, "probability", "shown")
    steps = url_widgets.steps("Points per curve", STEPS, 20, "pictures")
    beside = url_widgets.select("Add to the table", list(BESIDE), "none", "beside", text=BESIDE.__getitem__)
    how = Settings(replacement, steps, score == "probability")
    return MapRequest(photo, classifier, method, target, layer, settings), how, beside == "quick"


def first_look(request: MapRequest, result: AttributionMap, how: Settings) -> None:
    """Draw the map, and the photo with the marked pixels hidden."""
    shape = request.pixels.shape
    lit = maps.blend(request.pixels, result.drawn, 0.55, "inferno", result.signed)
    rows = [("The map", f"{request.name}: {percent(faithfulness.probability_before(request))}", lit)]
    for one in faithfulness.pictures(request, result, how, [(MAP, share) for share in ALONG], False):
        rows.append((f"{percent(one.share)} hidden", f"{request.name}: {percent(one.probability)}", one.picture))
    st.html(tables.pictures(rows, shape[1] / shape[0]))


def race(request: MapRequest, result: AttributionMap, how: Settings) -> int:
    """Draw the photo with a share of the pixels changed by the map and by each baseline; that share in percent."""
    left, right = st.columns([1, 2])
    with left:
        action = url_widgets.segments("Pixels", ACTIONS, "hide", "action")
    with right:
        share = url_widgets.slider("Share of the pixels", 0, 100, 30, "share", step=5, format="%d%%")
    several = [(name, share / 100) for name in NAMES]
    found = faithfulness.pictures(request, result, how, several, action == "reveal")
    titles = {MAP: "This map"} | {name: words[0].upper() + words[1:] for name, words in BASELINES.items()}
    rows = [(titles[one.name], f"{request.name}: {percent(one.probability)}", one.picture) for one in found]
    shape = request.pixels.shape
    st.html(tables.pictures(rows, shape[1] / shape[0]))
    return int(share)


def measures(request: MapRequest, result: AttributionMap, how: Settings, beside: bool, share: int) -> None:
    """Draw the verdict, the curves and the table, once they are requested."""
    identity = (request.photo.identity, request.key, how)

    def want() -> None:
        st.session_state[WANTED] = identity

    def stop() -> None:
        st.session_state.pop(WANTED, None)

    if st.session_state.get(WANTED) != identity:
        st.button("Measure the curves", key="measure", on_click=want, type="primary")
        return
    found = faithfulness.measure(request, result, how, stop)
    score = "probability" if how.probability else "logit"
    said = verdict(found[MAP], {name: found[name] for name in BASELINES}, score)
    page_layout.sentence(said.text, "good" if said.good else "hint")
    board(faithfulness.panels(found, request.method.title, score, share, said.text), "truth-board", columns=2)
    rows = [
        (request.method.title, found[MAP]),
        *((words[0].upper() + words[1:], found[name]) for name, words in BASELINES.items()),
    ]
    refused: list[str] = []
    if beside:
        listed, refused = faithfulness.others(request, how, stop)
        rows += sorted(listed, key=lambda row: -row[1].insertion.area)
    st.html(tables.measures(rows))
    for sentence in refused:
        st.caption(sentence)


def show(request: MapRequest, how: Settings, beside: bool) -> None:
    """Draw the map, the changed photos and the measures."""
    result = progressive_map(request, 0.55, "inferno")
    if result.reason:
        page_layout.sentence(f"The map is blank, so its order is random: {result.reason}.", "hint")
    first_look(request, result, how)
    measures(request, result, how, beside, race(request, result, how))
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
