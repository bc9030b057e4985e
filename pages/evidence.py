"""Evidence ledger: which places add up to the network's score?"""

import numpy as np
import streamlit as st

from normviz.evaluation.evidence import EvidenceMap, full_evidence, layer_evidence
from normviz.figures import formula, maps
from normviz.figures.evaluation import evidence
from normviz.registry import get
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import kept, pick
from normviz.ui.kit import cache, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import MapRequest

WAYS = {"layer": "Cells of a layer", "full": "Pixels and biases (FullGrad)"}
GRIDS = (8, 16, 32, 64)
WAY = "The parts of the sum: the cells of one layer, or every pixel of the photo and every bias of the network."
GRID = "The entries of neighboring pixels are added up, so that there are so many rows and columns of them."
HELP = """
A score (the class's logit, before the softmax) is a sum. The ledger enters every part of it where it comes from:
orange cells raise the score, blue ones lower it, and the number under the pointer is a part of the whole, in logits.
Nothing is rescaled, so two cells of +0.5 are worth one of +1.

**Cells of a layer.** Activation times gradient. Where the network averages the layer and reads it by one linear layer,
the cells and the bias are the logit exactly. At other layers a rest remains: biases of the layers behind.

**Pixels and biases.** Every pixel times its gradient, and every bias in the network times its own, each at its place.
The last biases have none, nor has what attention adds between tokens. What a normalization subtracts counts as a bias.
The line above the picture says what is left unaccounted, if anything is.

**One class and not another.** The same for the difference of two logits: evidence that both share cancels.

An exact sum is no proof that the evidence is good. It says where this network's number comes from, no more.
"""

page_layout.header("evidence")


def choose() -> tuple[MapRequest, str, int]:
    """Draw the knobs; the question, how the entries are made, and rows of the grid of pixels."""
    photo = pick()
    classifier = network.choose()
    asked = target_picker.choose_classes(classifier, photo)
    way = url_widgets.select("What is entered", list(WAYS), "layer", "way", text=WAYS.__getitem__, help=WAY)
    shapes = map_request.feature_layers(classifier, photo)
    layer, rows = next(iter(shapes)), 16
    if way == "layer":
        layer = url_widgets.select("Layer", list(shapes), layer, "layer", help=tooltips.LAYER)
    else:
        rows = url_widgets.steps("Rows and columns of the ledger", GRIDS, 16, "grid", help=GRID)
    return MapRequest(photo, classifier, get("hires_cam"), asked.target, layer, {}, asked.other), way, rows


def entered(asked: MapRequest, way: str, rows: int) -> EvidenceMap:
    """The ledger, kept."""

    def run() -> EvidenceMap:
        probe = asked.probe()
        return layer_evidence(probe) if way == "layer" else full_evidence(probe, size=(rows, rows))

    return kept(asked.photos, "ledger", (*asked.key, way, rows), lambda: cache.compute(run))


def heading(asked: MapRequest, found: EvidenceMap) -> str:
    """What adds up to what, in one sentence."""
    what = f"score (logit) of {asked.name}" if asked.other is None else f"lead in the score (logit): {asked.name}"
    said = f"{found.positive:+.3g} for it, {found.negative:+.3g} against it"
    fixed = f", {found.unplaced:+.3g} without a place" if found.unplaced else ""
    rest = f", {found.residual:+.3g} not accounted for" if not found.exact else ""
    return f"{said}{fixed}{rest}: together {found.score:.4g}, the {what}.".replace("-", "−")


def show(asked: MapRequest, way: str, rows: int) -> None:
    """The sentence, the pictures, the bars that add up, and how the entries were made."""
    found = entered(asked, way, rows)
    page_layout.sentence(heading(asked, found), "good" if found.exact else "hint")
    cells = found.cells.numpy().astype(np.float32)  # (h, w)
    pixels, signed = asked.pixels, True
    aspect = pixels.shape[1] / pixels.shape[0]
    entries = [
        ("for", found.positive),
        ("against", found.negative),
        ("bias" if way == "layer" else "no place", found.unplaced),
    ]
    if not found.exact:
        entries.append(("not accounted for", found.residual))
    total = "the logit" if asked.other is None else "the lead"
    board(
        [
            Panel("photo", asked.photo.name[0].upper() + asked.photo.name[1:], maps.photo(pixels, cells.shape),
                  alt=asked.photo.name),
            Panel("map", f"What each place adds: {asked.name}",
                  maps.heat(cells, signed, "logits", aspect=aspect, total=found.score),
                  alt=f"The signed evidence for {asked.name}, {cells.shape[0]} x {cells.shape[1]} cells"),
            Panel("overlay", "Over the photo", maps.overlay(pixels, cells, 0.6, signed=signed),
                  alt=f"The photo, orange where it speaks for {asked.name}, blue where against"),
            Panel("sum", f"It adds up to {total}", evidence.waterfall(entries, (total, found.score)),
                  span=3, height=210, alt=heading(asked, found)),
        ],
        "ledger-board", formula.attribution("logits"),
    )  # fmt: skip
    exact = f"They add up to the score; what is left is rounding ({abs(found.residual):.0e})." if found.exact else ""
    st.caption(f"Entries: {found.description}. {exact}")
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
