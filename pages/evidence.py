"""Evidence: how the cells of a layer, or pixels and biases, add up to the score."""

import numpy as np
import streamlit as st

from normviz.evaluation.evidence import EvidenceMap, full_evidence, layer_evidence
from normviz.figures import formula, maps
from normviz.figures.evaluation import evidence
from normviz.formatting import number, signed
from normviz.registry import get
from normviz.ui.components.board import Panel, board
from normviz.ui.inputs import network, target_picker
from normviz.ui.inputs.photo import pick
from normviz.ui.kit import cache, jobs, page_layout, tooltips, url_widgets
from normviz.ui.maps import map_request
from normviz.ui.maps.map_request import MapRequest

WAYS = {"layer": "Cells of a layer", "full": "Pixels and biases (FullGrad)"}
GRIDS = (8, 16, 32, 64)
WAY = "The cells of one layer, or every pixel of the photo and every bias of the network."
GRID = "The contributions of neighboring pixels are summed into a grid of this many rows and columns."
HELP = """
A score (the logit of the class, before softmax) is a sum. This page shows where each term of the sum comes from:
orange cells raise the score, blue cells lower it, and the number under the pointer is that cell's part, in logits.
Nothing is rescaled, so two cells of +0.5 equal one of +1.

**Cells of a layer.** Activation times gradient. If the network averages the layer and applies one linear layer, the
cells and the bias add up to the logit exactly. At other layers a remainder is left: the biases of later layers.

**Pixels and biases.** Every pixel times its gradient, and every bias of the network times its gradient, at its
position. Biases of the last layers have no position, nor do the terms that attention adds between tokens. What a
normalization subtracts counts as a bias. The line above the picture reports any remainder.

**Difference of two classes.** The same for the difference of two logits: evidence that both classes share cancels.

An exact sum does not prove that the evidence is good. It shows only where the network's number comes from.
"""

page_layout.header("evidence")


def choose() -> tuple[MapRequest, str, int]:
    """Draw the widgets; the request, the kind of terms, and the rows of the grid of pixels."""
    photo = pick()
    classifier = network.choose()
    aim = target_picker.choose_classes(classifier, photo)
    way = url_widgets.select("Terms of the sum", list(WAYS), "layer", "way", text=WAYS.__getitem__, help=WAY)
    shapes = map_request.feature_layers(classifier, photo)
    layer, rows = next(iter(shapes)), 16
    if way == "layer":
        layer = url_widgets.select("Layer", list(shapes), layer, "layer", help=tooltips.LAYER)
    else:
        rows = url_widgets.steps("Rows and columns", GRIDS, 16, "grid", help=GRID)
    method = get("hires_cam", "attribution")  # activation times gradient
    return MapRequest(photo, classifier, method, aim.target, layer, {}, aim.other), way, rows


def entered(request: MapRequest, way: str, rows: int) -> EvidenceMap:
    """The terms of the sum, cached."""

    def run() -> EvidenceMap:
        probe = request.probe()
        return layer_evidence(probe) if way == "layer" else full_evidence(probe, size=(rows, rows))

    return cache.keep("evidence", (*request.key, way, rows), lambda: jobs.compute(run), request.photos)


def heading(request: MapRequest, ledger: EvidenceMap) -> str:
    """The terms and their sum, in one sentence."""
    what = (
        f"score (logit) of {request.name}" if request.other is None else f"difference in score (logits): {request.name}"
    )
    parts = [
        f"{signed(ledger.positive, markup=False)} for it",
        f"{signed(ledger.negative, markup=False)} against it",
    ]
    if ledger.unplaced:
        parts.append(f"{signed(ledger.unplaced, markup=False)} from biases")
    if not ledger.exact:
        parts.append(f"{signed(ledger.residual, markup=False)} unexplained")
    return f"{', '.join(parts)}: together {number(ledger.score, 4, markup=False)}, the {what}."


def show(request: MapRequest, way: str, rows: int) -> None:
    """Draw the sentence, the pictures, the bars that add up, and how the terms were computed."""
    ledger = entered(request, way, rows)
    page_layout.sentence(heading(request, ledger), "good" if ledger.exact else "hint")
    cells = ledger.cells.numpy().astype(np.float32)  # (h, w)
    pixels = request.pixels
    aspect = pixels.shape[1] / pixels.shape[0]
    entries = [
        ("for", ledger.positive),
        ("against", ledger.negative),
        ("bias" if way == "layer" else "biases", ledger.unplaced),
    ]
    if not ledger.exact:
        entries.append(("unexplained", ledger.residual))
    total = "the logit" if request.other is None else "the difference"
    board(
        [
            Panel("photo", request.photo.name[0].upper() + request.photo.name[1:], maps.photo(pixels, cells.shape),
                  alt=request.photo.name),
            Panel("map", f"Contribution of each cell: {request.name}",
                  maps.heat(cells, True, "logits", aspect=aspect, total=ledger.score),
                  alt=f"The signed evidence for {request.name}, {cells.shape[0]} x {cells.shape[1]} cells"),
            Panel("overlay", "Over the photo", maps.overlay(pixels, cells, 0.6, signed=True),
                  alt=f"The photo, orange for {request.name}, blue against"),
            Panel("sum", f"It adds up to {total}", evidence.waterfall(entries, (total, ledger.score)),
                  span=3, height=210, alt=heading(request, ledger)),
        ],
        "ledger-board", formula.attribution("logits"),
    )  # fmt: skip
    exact = f"They sum to the score up to rounding ({abs(ledger.residual):.0e})." if ledger.exact else ""
    st.caption(f"Terms: {ledger.description}. {exact}")
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
