"""The composer: name of the chosen norm, remarks on it, and its panels."""

from __future__ import annotations

from dataclasses import replace

from normviz.activations import Distribution, Layout
from normviz.normalization.analysis.compose import Choice, as_method
from normviz.normalization.analysis.identify import Match, matches, one_step_away
from normviz.normalization.analysis.view import view
from normviz.normalization.patterns import describe_axes
from normviz.ui.components.board import Panel
from normviz.ui.components.view_panels import view_panels
from normviz.ui.inputs.source import DEFAULTS
from normviz.ui.kit import cache, jobs


def shape_of(layout: Layout) -> tuple[int, ...]:
    """The shape of the activations."""
    return tuple(DEFAULTS["depth" if letter == "D" and layout == "ncdhw" else letter] for letter in layout.upper())


def named(choice: Choice) -> list[Match]:
    """The registered methods that equal the choice."""
    return cache.keep("matches", choice, lambda: matches(choice, shape_of(choice.layout)))


def verdict(choice: Choice) -> str:
    """The name of the norm, in one sentence."""
    equal = [match for match in named(choice) if not match.needs]
    if not choice.axes:
        result = (
            "every value equals its own mean and becomes 0"
            if choice.centered
            else "only the sign of each value remains"
        )
        return f"No normalization: nothing is shared, so {result}."
    if equal:
        first, *others = equal
        same = [match.title for match in others if match.factor == 1]
        also = f" The same as {', '.join(same)}." if same else ""
        return f"This is {first.title}{'' if first.factor == 1 else ', up to a constant factor'}.{also}"
    shape = shape_of(choice.layout)
    near = cache.keep("one step away", choice, lambda: one_step_away(choice, shape))
    steps = "; ".join(f"{match.name} ({change})" for change, match in near[:3])
    return f"This norm has no name yet.{f' One change away: {steps}.' if steps else ''}"


def notes(choice: Choice) -> list[str]:
    """Remarks on the choice."""
    longer = [match.title for match in named(choice) if match.factor != 1 and not match.needs]
    given = [match.title for match in named(choice) if match.needs]
    remarks = [f"Divided by a length instead of the root of a mean: {', '.join(longer)}."] if longer else []
    remarks += [f"Same statistics, but scale and shift come from other data: {', '.join(given)}."] if given else []
    if choice.running and "n" not in choice.axes:
        remarks.append(
            "The stored value of each channel is the average over the samples, as in nn.InstanceNorm2d with "
            "track_running_stats=True."
            if set(choice.kept) == {"n", choice.channel}
            else "A running average makes little sense here: each statistic belongs to one sample, and the next batch "
            "has other samples. The average over the samples is stored. Average over N as well, or keep only C and N."
        )
    if choice.running and set(choice.kept) - {"n", "g", choice.channel}:
        remarks.append("One value is stored per position, so every later input must have this size.")
    return remarks


def panels(choice: Choice, distribution: Distribution, seed: int) -> list[Panel]:
    """The cube of shared axes, a slice before and after, and the histogram."""
    x = cache.activations(shape_of(choice.layout), distribution, seed)
    result = jobs.compute(lambda: view(as_method(choice), x, choice.layout, {"groups": choice.groups}))
    where = {"nc": "all values", "ntd": "sample 0", "nchw": "sample 0, channel 0", "ncdhw": "one slice of sample 0"}
    first, *others = view_panels(result, where[choice.layout])
    kind = f"{'stored ' if choice.running else ''}statistic{'' if result.total == 1 else 's'}"
    title = f"{result.total:,} {kind}, {describe_axes(choice.stored.pattern if choice.running else choice.pattern)}"
    return [replace(first, title=title, alt=f"A block of cells, colored by group: {title}"), *others]
