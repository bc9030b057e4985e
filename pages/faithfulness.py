"""Faithfulness: is a map true? Take away what it marks, and watch the probability."""

from functools import partial

import streamlit as st

from normviz.evaluation.faithfulness.assessment import BASELINES, Settings, verdict
from normviz.evaluation.faithfulness.replacements import REPLACEMENTS
from normviz.figures import maps
from normviz.figures.evaluation import faithfulness as figures
from normviz.figures.evaluation.faithfulness import MAP, NAMES
from normviz.ui.components.board import board
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import knobs, page_layout, tooltips, url_widgets
from normviz.ui.kit.jobs import Waiting
from normviz.ui.maps import map_request, progressive_map
from normviz.ui.maps.map_request import Explained, MapRequest
from normviz.ui.pages import faithfulness
from normviz.ui.pages.cam import stage

ALONG = (0.1, 0.3, 0.5)  # shares of the pixels at which the photo is shown
ACTIONS = ("removed", "put back")
SCORES = ("probability", "logit")
STEPS = (10, 20, 40, 80)
BESIDE = {"none": "nothing more", "quick": "all methods that need no long time"}
WANTED = "curves wanted"  # in the session: the question whose curves were asked for
HELP = """
**The test.** A map claims that some pixels made the network say the class. So take the pixels away, those that the map
marks most first: if the claim is true, the probability falls at once (*deletion*, a small area under the curve). Or put
them into a blurred photo: it rises at once (*insertion*, a large area). *Drop in confidence*: how much is lost when the
photo is only seen where the map is bright. *ROAD* replaces pixels by the mean of their neighbors, so that the holes
themselves tell nothing; its gap is large where the least relevant pixels can go without harm and the most relevant
cannot.

**The rivals** know nothing of the network. A *random* map with as many cells; the *center* of the picture, where
photographers put things; its *edges*. A map that does not beat them has told nothing. The center often wins: then this
photo cannot show whether the map is true.

**What misleads.** A photo with holes is a photo that the network has never seen: scattered single pixels ruin the
texture everywhere, so maps at the pixels, and random pixels, look good in deletion and bad in insertion. Compare maps
of like cells, and trust what several measures agree on. One photo proves little.
"""

page_layout.header("faithfulness")


def choose() -> tuple[MapRequest, Settings, bool]:
    """Draw the knobs; the question, how its map is judged, and whether other methods are judged, too."""
    photo = pick()
    classifier = network.choose()
    method = stage.choose_method()
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
    steps = url_widgets.steps("Pictures along a curve", STEPS, 20, "pictures")
    beside = url_widgets.select("In the table, too", list(BESIDE), "none", "beside", text=BESIDE.__getitem__)
    how = Settings(replacement, steps, score == "probability")
    return MapRequest(photo, classifier, method, target, layer, settings), how, beside == "quick"


def percent(share: float) -> str:
    """A probability in percent."""
    return f"{100 * share:.0f} %" if share >= 0.005 else "below 1 %"


def first_look(asked: MapRequest, seen: Explained, how: Settings) -> None:
    """The map, and the photo with what it marks removed."""
    shape = asked.pixels.shape
    lit = maps.blend(asked.pixels, seen.drawn, 0.55, "inferno", seen.signed)
    rows = [("The map", f"{asked.name}: {percent(faithfulness.probability_before(asked))}", lit)]
    for one in faithfulness.pictures(asked, seen, how, [(MAP, share) for share in ALONG], False):
        rows.append(
            (f"{one.share:.0%} removed".replace("%", " %"), f"{asked.name}: {percent(one.probability)}", one.picture)
        )
    st.html(figures.strip(rows, shape[1] / shape[0]))


def race(asked: MapRequest, seen: Explained, how: Settings) -> int:
    """The same share of the pixels changed in the order of the map and of its rivals; that share in percent."""
    left, right = st.columns([1, 2])
    with left:
        action = url_widgets.segments("Pixels are", ACTIONS, "removed", "action")
    with right:
        share = url_widgets.slider("Share of the pixels", 0, 100, 30, "share", step=5, format="%d %%")
    several = [(name, share / 100) for name in NAMES]
    found = faithfulness.pictures(asked, seen, how, several, action == "put back")
    titles = {MAP: "This map"} | {name: words[0].upper() + words[1:] for name, words in BASELINES.items()}
    rows = [(titles[one.name], f"{asked.name}: {percent(one.probability)}", one.picture) for one in found]
    shape = asked.pixels.shape
    st.html(figures.strip(rows, shape[1] / shape[0]))
    return int(share)


def measures(asked: MapRequest, seen: Explained, how: Settings, beside: bool, share: int) -> None:
    """On demand: verdict, curves and table."""
    identity = (asked.photo.identity, asked.key, how)

    def want() -> None:
        st.session_state[WANTED] = identity

    def stop() -> None:
        st.session_state.pop(WANTED, None)

    if st.session_state.get(WANTED) != identity:
        st.button("Measure the whole curves", key="measure", on_click=want, type="primary")
        return
    wait = Waiting("stop-curves", stop)
    found = faithfulness.measure(asked, seen, how, partial(wait.show, "Asking the network about changed photos"))
    wait.done()
    score = "probability" if how.probability else "logit"
    said = verdict(found[MAP], {name: found[name] for name in BASELINES}, score)
    page_layout.sentence(said.text, "good" if said.good else "hint")
    board(faithfulness.panels(found, asked.method.title, score, share, said.text), "truth-board", columns=2)
    rows = [
        (asked.method.title, found[MAP]),
        *((words[0].upper() + words[1:], found[name]) for name, words in BASELINES.items()),
    ]
    refused: list[str] = []
    if beside:
        wait = Waiting("stop-others", stop)
        listed, refused = faithfulness.others(asked, how, partial(wait.show, "Judging the other methods"))
        wait.done()
        rows += sorted(listed, key=lambda row: -row[1].insertion.area)
    st.html(figures.table(rows))
    for sentence in refused:
        st.caption(sentence)


def show(asked: MapRequest, how: Settings, beside: bool) -> None:
    """The map, the race, the measures."""
    seen = progressive_map.answer(asked, 0.55, "inferno")
    if seen.reason:
        page_layout.sentence(f"The map is blank, so its order is as good as random: {seen.reason}.", "hint")
    first_look(asked, seen, how)
    measures(asked, seen, how, beside, race(asked, seen, how))
    page_layout.how_to_read(HELP)


@st.fragment
def work() -> None:
    """The part that answers to every choice."""
    left, right = page_layout.columns()
    with left, page_layout.guard():
        question = choose()
        with right, page_layout.guard():
            show(*question)


work()
