"""What the composer says and draws: whose norm a choice is, what should be known of it, and its pictures."""

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
    """The sizes of the activations that are shown."""
    return tuple(DEFAULTS["depth" if letter == "D" and layout == "ncdhw" else letter] for letter in layout.upper())


def named(choice: Choice) -> list[Match]:
    """The registered methods that the choice is."""
    return cache.keep("matches", choice, lambda: matches(choice, shape_of(choice.layout)))


def verdict(choice: Choice) -> str:
    """Whose norm it is, in words."""
    found = [match for match in named(choice) if not match.needs]
    if not choice.axes:
        left = "every value is its own mean and becomes 0" if choice.centered else "only the sign of each value is left"
        return f"No normalization: nothing is shared, so {left}."
    if found:
        first, *others = found
        same = [match.title for match in others if match.factor == 1]
        also = f" So {'are' if len(same) > 1 else 'is'} {', '.join(same)}." if same else ""
        return f"This is {first.title}{'' if first.factor == 1 else ', but for one factor'}.{also}"
    shape = shape_of(choice.layout)
    near = cache.keep("one step away", choice, lambda: one_step_away(choice, shape))
    steps = "; ".join(f"{words}, and it is {match.name}" for words, match in near[:3])
    return f"Nobody has named this one yet.{f' One step away: {steps}.' if steps else ''}"


def notes(choice: Choice) -> list[str]:
    """What should be known of the choice."""
    longer = [match.title for match in named(choice) if match.factor != 1 and not match.needs]
    given = [match.title for match in named(choice) if match.needs]
    said = [f"They divide by a length, not by the root of a mean: {', '.join(longer)}."] if longer else []
    said += [f"The same statistics, but scale and shift come from other data: {', '.join(given)}."] if given else []
    if choice.running and "n" not in choice.axes:
        said.append(
            "What is stored for each channel is the average over the examples, as nn.InstanceNorm2d does it with "
            "track_running_stats=True."
            if set(choice.kept) == {"n", choice.channel}
            else "A running average makes little sense here: the statistic belongs to one example, and the next batch "
            "has others. What is stored is its average over the examples. Average over N too, or keep C and N alone."
        )
    if choice.running and set(choice.kept) - {"n", "g", choice.channel}:
        said.append("It is stored for each position, so every later input must have this size.")
    return said


def panels(choice: Choice, distribution: Distribution, seed: int) -> list[Panel]:
    """The cube of shared axes, a slice before and after, and all values."""
    x = cache.activations(shape_of(choice.layout), distribution, seed)
    seen = jobs.compute(lambda: view(as_method(choice), x, choice.layout, {"groups": choice.groups}))
    where = {"nc": "all values", "ntd": "example 0", "nchw": "example 0, channel 0", "ncdhw": "one slice of example 0"}
    first, *others = view_panels(seen, where[choice.layout])
    kind = f"{'stored ' if choice.running else ''}statistic{'' if seen.total == 1 else 's'}"
    told = f"{seen.total:,} {kind}, {describe_axes(choice.stored.pattern if choice.running else choice.pattern)}"
    return [replace(first, title=told, alt=f"A block of cells, colored by group: {told}"), *others]
