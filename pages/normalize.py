"""Normalize: which values share a mean and a variance, and what that does to them."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from normviz.figures import formula
from normviz.normalization import divisors, identity_parameters, running_statistics
from normviz.normalization.analysis.conditioning import make_sides
from normviz.normalization.analysis.view import Before, View, look_before, view
from normviz.normalization.patterns import divided_axes
from normviz.registry import Normalization, Value, get, methods
from normviz.ui.components.board import Panel, cached_board
from normviz.ui.components.view_panels import view_panels
from normviz.ui.inputs import source
from normviz.ui.kit import cache, jobs, knobs, page_layout, url_widgets
from normviz.ui.pages import normalize

HELP = """
**The cube** shows a block of the activations: samples to the back, channels to the right, positions down. Drag it to
rotate it. Cells of one color share one statistic. **Click a cell** anywhere: its group is highlighted in the cube, the
slices and the histogram, and the formula shows its numbers. **Before and after** share one color scale, so a pale
slice has small values. If a method has no groups (a sliding window, a mixture), the highlighted cells are those that
the chosen cell's output depends on. In `eval()` mode, batch normalization uses stored running statistics instead of
the statistics of the batch: this is what `eval()` changes.
"""

MOST_PARTS = 64  # the largest divisor of an axis to offer
WINDOWS = [3, 5, 7, 9, 11, 13, 15]  # cells across: odd, with a middle

page_layout.header("normalize")


@dataclass(frozen=True)
class NormalizeRequest:
    """What the page shows.

    Attributes:
        source: the activations.
        method: the normalization.
        settings: its knobs.
        stored: the running mean and variance (C,), for a method that reads them.
        cell: the index of the chosen cell.
        pinned: whether the visitor has chosen the cell.
        where: the name of the slice.
        affine: the scale and shift after the normalization.
    """

    source: source.Source
    method: Normalization
    settings: dict[str, Value]
    stored: tuple[Tensor, Tensor] | None
    cell: tuple[int, ...]
    pinned: bool
    where: str
    affine: normalize.Affine


def running(chosen: source.Source) -> tuple[Tensor, Tensor]:
    """The running mean and variance: those stored in the network, or those after some training steps on this batch."""
    if chosen.running is not None:
        st.caption("The running mean and variance are those that the network stored during training.")
        return chosen.running
    x = chosen.x.movedim(2, 1) if chosen.layout == "ntd" else chosen.x  # (N, C, ...)
    start = torch.zeros(x.shape[1], device=x.device), torch.ones(x.shape[1], device=x.device)  # (C,), (C,)
    if x.numel() == x.shape[1]:
        st.caption(
            "With one value per channel there can be no training step: mean 0 and variance 1 are the initial values."
        )
        return start
    steps = url_widgets.slider(
        "Training steps before", 0, 50, 10, "steps", help="On this batch; the running statistics start at 0 and 1."
    )
    momentum = url_widgets.slider(
        "Momentum", 0.01, 1.0, 0.1, "momentum", step=0.01, help="The weight of the new value."
    )
    return running_statistics(x, *start, 1 - (1 - momentum) ** steps)  # equal steps are one larger step


def affine(
    method: Normalization, chosen: source.Source, cell: tuple[int, ...], settings: dict[str, Value]
) -> normalize.Affine:
    """Draw the widgets of gamma and beta, or of the condition that they come from."""
    if method.name == "batch_norm" and settings["training"]:
        undo = url_widgets.toggle("Let γ and β undo it", False, "undo", help="γ = √(σ² + ε) and β = μ restore x.")
        if undo:
            x = chosen.x.movedim(2, 1) if chosen.layout == "ntd" else chosen.x  # (N, C, ...)
            weight, bias = identity_parameters(x, float(settings["eps"]))  # (C,), (C,)
            shown = slice(None) if len(chosen.layout) < 4 else slice(cell[1], cell[1] + 1)
            gamma, beta = (tensor[None, shown].cpu().numpy() for tensor in (weight, bias))  # (1, columns or 1)
            return normalize.Affine(gamma, beta, {"weight": weight, "bias": bias})
    if method.takes("style"):
        st.caption("Style: each sample takes the mean and the standard deviation of the previous one.")
        return normalize.Affine(1.0, 0.0, make_sides(method, chosen.x))
    if method.takes("scale"):
        strength = url_widgets.slider("Strength of the condition", 0.0, 2.0, 0.5, "condition", step=0.1)
        sides = make_sides(method, chosen.x, strength)
        scale, shift = (sides[name].cpu() for name in ("scale", "shift"))  # (N, D), or shape of x
        place = () if chosen.layout == "nc" else cell[: max(1, scale.ndim - 2)]
        gamma, beta = (np.atleast_2d(tensor[place].numpy()) for tensor in (1 + scale, shift))
        return normalize.Affine(gamma, beta, sides)
    return normalize.Affine(
        url_widgets.slider(r"Scale $\gamma$", -3.0, 3.0, 1.0, "gamma", step=0.1) if method.takes("weight") else 1.0,
        url_widgets.slider(r"Shift $\beta$", -3.0, 3.0, 0.0, "beta", step=0.1) if method.takes("bias") else 0.0,
    )


def offered(method: Normalization, chosen: source.Source) -> dict[str, list[int]]:
    """The values to offer for integer knobs: divisors of the axis that they split, and odd windows."""
    divided = divided_axes(method, chosen.layout)
    splits = {
        knob: [part for part in divisors(chosen.x.shape[chosen.layout.index(axis)]) if part <= MOST_PARTS]
        for knob, axis in divided.items()
    }
    return splits | {knob.name: WINDOWS for knob in method.knobs if knob.range and knob.range.odd}


def about(method: Normalization) -> None:
    """Draw the facts about a method below its pictures."""
    if not method.scale:  # the other methods show their formula above, with the numbers of the cell
        st.latex(method.formula)
    st.markdown(f"{method.summary} **When:** {method.use} **Common mistake:** {method.common_mistake}")
    with st.expander("PyTorch code and source"):
        if method.torch:
            st.code(method.torch, language="python", wrap_lines=True)
        st.markdown(method.citation)


def choose() -> NormalizeRequest:
    """Draw the widgets."""
    chosen = source.choose()
    names = [m.name for m in methods("normalization") if m.takes_activations and chosen.layout in m.layouts()]
    method = get(
        url_widgets.select("Normalization", names, names[0], "method", text=lambda name: get(name).title),
        "normalization",
    )
    settings = knobs.knobs(method, offer=offered(method, chosen), hide=method.idle(chosen.layout))
    stored = running(chosen) if settings.get("training") is False or method.takes("running_sq") else None
    cell, pinned, where = normalize.place(chosen)
    return NormalizeRequest(
        chosen, method, settings, stored, cell, pinned, where, affine(method, chosen, cell, settings)
    )


def show(request: NormalizeRequest) -> None:
    """Draw the board, the formula with numbers, and the facts about the method."""
    chosen, method, settings, after = request.source, request.method, request.settings, request.affine
    counted = chosen.mask is not None and not method.takes("mask") and bool(padded_axes(method, settings))
    if counted:
        page_layout.sentence(f"{method.title} includes the padded zeros; recurrent batch norm excludes them.", "hint")
    groups = (method.name, *(value for name, value in settings.items() if name != "eps"))

    def before() -> Before:
        return jobs.compute(lambda: look_before(method, chosen.x, chosen.layout, settings, chosen.mask))

    def draw() -> tuple[list[Panel], formula.Readout]:
        known = cache.keep("before", groups, before, [chosen])

        def look() -> View:
            return view(
                method, chosen.x, chosen.layout, settings, *after.scalars, running=request.stored, cell=request.cell,
                mask=chosen.mask, sides=after.sides, known=known,
            )  # fmt: skip

        result = jobs.compute(look)
        padding = {"padding": "padding: counted as 0"} if counted else {}
        panels = view_panels(result, request.where, **padding)
        return panels, normalize.readout(method, result, settings, after, request.pinned)

    windowed = None in method.patterns(chosen.layout).values()

    def click(what: str) -> None:
        normalize.clicked(what, chosen, request.cell if windowed else None)

    statistics = [tuple(numbers.tolist()) for numbers in request.stored or ()]
    values = (*groups, settings.get("eps"), after.key, *statistics, request.cell, request.pinned)
    cached_board(draw, "norm-board", values, click, [chosen])
    about(method)
    page_layout.how_to_read(HELP)


def padded_axes(method: Normalization, settings: dict[str, Value]) -> str:
    """The axes that share a statistic over which padding would be counted."""
    pattern = method.pattern("ntd", settings)
    return "".join(letter for letter in "nt" if pattern and letter not in pattern.split("->")[1])


page_layout.two_columns(lambda: (choose(),), show)
