"""Normalize: which numbers share a mean and a variance, and what that does to them."""

import streamlit as st
import torch

from normviz.figures import cube, distributions, formula, style, tensors
from normviz.normalization import divisors, running_statistics
from normviz.normalization.statistics import describe_axes
from normviz.normalization.view import Before, View, look_before, view
from normviz.registry import Method, Value, get, methods
from normviz.ui import cache, frame, knobs, source, state
from normviz.ui.board import Panel, board, kept_board

HELP = """
**The cube** shows a block of the activations: examples going back, channels to the right, positions down. Cells of one
colour share one mean and one variance. **Point at a cell** anywhere: its group lights up in the cube, in the slices
and in the histogram, and the formula shows its numbers. **Before and after** share one colour scale, so a pale slice
has small values. With *training* off, batch normalization uses stored running statistics instead of the batch's own:
that is what `eval()` changes.
"""

frame.page("Normalize", "Which numbers share a mean and a variance?")


def panels(seen: View, chosen: source.Source, example: int, channel: int) -> list[Panel]:
    """The pictures of one normalization."""
    low, high = style.limits(seen.before, seen.after)
    names, sizes = zip(*seen.block_axes, strict=True)
    rows, columns = seen.slice_axes
    place = {"nc": "all values", "ntd": f"example {example}", "nchw": f"example {example}, channel {channel}"}
    where = place[chosen.layout]
    share = "One colour, one statistic" if seen.live else "Stored: one pair a channel"
    sampled = seen.histogram_before.sampled
    note = "" if sampled == 1 else f"An even sample of {sampled:.0%} of the values. "
    outside = max(seen.histogram_before.outside, seen.histogram_after.outside)
    note += f"{outside:.1%} lie outside." if outside >= 0.0005 else ""
    before = tensors.slice_heatmap(seen.before, low, high, seen.groups, (rows, columns), "before")
    after = tensors.slice_heatmap(seen.after, low, high, seen.groups, (rows, columns), "after")
    bars = distributions.before_after(
        seen.histogram_before.counts.numpy(), seen.histogram_after.counts.numpy(), seen.histogram_before.low,
        seen.histogram_before.high, seen.bars_before, seen.bars_after, seen.bars,
    )  # fmt: skip
    return [
        Panel("cube", share, cube.shared_axes_cube(seen.block, names, sizes), alt=f"{seen.total} groups of cells"),
        Panel("before", f"Before: {where}", before, alt=f"The values of {where} before"),
        Panel("after", "After, on the same colours", after, alt=f"The values of {where} after"),
        Panel("bars", "All values, before and after", bars, span=3, caption=note, height=250),
    ]


def readout(method: Method, seen: View, settings: dict[str, Value], gamma: float, beta: float) -> formula.Readout:
    """The formula with the numbers of the cell under the pointer, and the table of statistics."""
    rows = seen.rows
    table = formula.GroupStatistics(
        rows.ids, rows.labels, rows.mean_before, rows.std_before, rows.mean_after, rows.std_after, rows.centre,
        rows.spread, seen.total,
    )  # fmt: skip
    what = f"{seen.total:,} statistics, {describe_axes(seen.pattern)}"
    return formula.normalization(
        table, float(settings["eps"]), gamma, beta, what if seen.live else f"{seen.total:,} stored statistics",
        centred=r"\mu" in method.formula, shifted=method.takes("bias"),
    )  # fmt: skip


def running(chosen: source.Source) -> tuple[torch.Tensor, torch.Tensor]:
    """The running mean and variance: the network's own, or those after some training steps on this batch."""
    if chosen.running is not None:
        st.caption("The running mean and variance are those that the network stored in its training.")
        return chosen.running
    x = chosen.x.movedim(2, 1) if chosen.layout == "ntd" else chosen.x  # (N, C, ...)
    start = torch.zeros(x.shape[1], device=x.device), torch.ones(x.shape[1], device=x.device)  # (C,), (C,)
    if x.numel() == x.shape[1]:
        st.caption("One value per channel allows no training step: mean 0 and variance 1 are those at the start.")
        return start
    steps = state.slider("Training steps before", 0, 50, 10, "steps", help="On this very batch; they start at 0 and 1.")
    momentum = state.slider("Momentum", 0.01, 1.0, 0.1, "momentum", step=0.01, help="Weight of the new value.")
    return running_statistics(x, *start, 1 - (1 - momentum) ** steps)  # equal steps are one larger step


@st.fragment
def work() -> None:
    """The part that answers to every knob."""
    left, right = frame.columns()
    with left, frame.guard():
        chosen = source.choose()
        names = [m.name for m in methods("normalization") if chosen.layout in m.layouts()]
        method = get(state.select("Normalization", names, names[0], "method", text=lambda name: get(name).title))
        n, c = chosen.x.shape[0], chosen.x.shape[-1 if chosen.layout == "ntd" else 1]
        offer = {"num_groups": [groups for groups in divisors(c) if groups <= 64]}
        settings = knobs.knobs(method, offer=offer, hide=method.idle(chosen.layout))
        stored = running(chosen) if settings.get("training") is False else None
        gamma = state.slider(r"Scale $\gamma$", -3.0, 3.0, 1.0, "gamma", step=0.1) if method.takes("weight") else 1.0
        beta = state.slider(r"Shift $\beta$", -3.0, 3.0, 0.0, "beta", step=0.1) if method.takes("bias") else 0.0
        example = state.slider("Example shown", 0, n - 1, 0, "example") if n > 1 and chosen.layout != "nc" else 0
        channel = state.slider("Channel shown", 0, c - 1, 0, "channel") if c > 1 and chosen.layout == "nchw" else 0
        with right, frame.guard():

            def before() -> Before:
                return look_before(method, chosen.x, chosen.layout, settings)

            def look() -> View:
                known = cache.memo(("before", *groups), before) if chosen.key else before()
                where = {"example": example, "channel": channel}
                return view(method, chosen.x, chosen.layout, settings, gamma, beta, stored, **where, known=known)

            def draw() -> tuple[list[Panel], formula.Readout]:
                seen = cache.compute(look)
                return panels(seen, chosen, example, channel), readout(method, seen, settings, gamma, beta)

            groups = (chosen.key, method.name, *(value for name, value in settings.items() if name != "eps"))
            statistics = [tuple(numbers.tolist()) for numbers in stored or ()]
            if chosen.key:
                kept_board(draw, "norm-board", (*groups, settings["eps"], gamma, beta, *statistics, example, channel))
            else:
                drawn = draw()
                board(drawn[0], "norm-board", drawn[1])
            frame.how_to_read(HELP)


work()
