"""Board panels for one normalization: the cube, a slice before and after, and the histograms."""

from __future__ import annotations

from normviz.figures import link, style
from normviz.figures.normalization import cube, distributions, tensors
from normviz.formatting import percent
from normviz.normalization.analysis.view import View
from normviz.ui.components.board import Panel


def view_panels(result: View, where: str, padding: str = link.PADDING_LABEL) -> list[Panel]:
    """Create the panels of one normalization.

    Args:
        result: the view of the normalization.
        where: the name of the slice.
        padding: the hover text of a padded cell.
    """
    low, high = style.limits(result.before, result.after)
    names, sizes = zip(*result.block_axes, strict=True)
    axes = result.slice_axes
    title = "Same color: same statistics" if result.live else "Stored statistics: one pair per channel"
    title = title if result.pattern else "Colored: inputs of the chosen cell"
    sampled = result.histogram_before.sampled
    note = "" if sampled == 1 else f"Evenly sampled: {percent(sampled)} of the values. "
    outside = max(result.histogram_before.outside, result.histogram_after.outside)
    note += f"{percent(outside, 1)} of the values lie outside this range." if outside >= 0.0005 else ""
    quiet = result.padding if result.pattern else 1  # index of the gray group: padding, or inputs that are not read
    gray, groups = result.padding, result.groups
    before = tensors.slice_heatmap(
        result.before, low, high, groups, axes, "before", padding=gray, padding_label=padding
    )
    after = tensors.slice_heatmap(result.after, low, high, groups, axes, "after", padding=gray, padding_label=padding)
    bars = distributions.before_after(
        result.histogram_before.counts.numpy(), result.histogram_after.counts.numpy(), result.histogram_before.low,
        result.histogram_before.high, result.bars_before, result.bars_after, result.bars,
    )  # fmt: skip
    label = padding if result.pattern else "does not affect the chosen cell"
    drawing = cube.shared_axes_cube(result.block, names, sizes, padding=quiet, padding_label=label)
    return [
        Panel("cube", title, drawing, alt=f"{result.total} groups of cells"),
        Panel("before", f"Before: {where}", before, alt=f"The values of {where} before"),
        Panel("after", "After, on the same color scale", after, alt=f"The values of {where} after"),
        Panel("bars", "All values, before and after", bars, span=3, caption=note, height=250),
    ]
