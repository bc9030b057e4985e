"""The entries of the formula sheet as Markdown, and the search."""

from __future__ import annotations

import re

from normviz.normalization.patterns import describe_axes
from normviz.registry import Knob, Normalization
from normviz.ui.kit import knobs

ACTS_ON = {
    "activations": "activations (the values between two layers) or a table of data",
    "weights": "the weights of a layer",
    "training": "gradients and losses during training",
    "blocks": "a block of a network: it defines where a norm is placed",
}


def _words(text: str) -> list[str]:
    """The words of a text in lower case; underscores and hyphens separate words."""
    return re.findall(r"[^\W_]+", text.lower())


def fits(method: Normalization, query: str) -> bool:
    """Whether each query word starts a word of the names or summary, or all together start a name."""
    names = (method.title, method.name, *method.aliases)
    candidates = _words(" ".join([*names, method.summary]))
    parts = _words(query)
    together = any("".join(_words(name)).startswith("".join(parts)) for name in names)
    return together or all(any(word.startswith(part) for word in candidates) for part in parts)


def sharing(method: Normalization) -> str:
    """A description of the values that share a statistic, for each switch and layout."""
    if not method.axes:
        return f"It acts on {ACTS_ON[method.acts_on]}."
    groups: dict[str, list[str]] = {}
    for key, pattern in method.axes.items():
        layout, _, switch = key.partition(" ")
        start, over = "No fixed groups", ""
        if pattern is not None:
            start = f"With `{switch}`, one statistic" if switch else "One statistic"
            over = f"{describe_axes(pattern).removeprefix('shared ')} "
        groups.setdefault(start, []).append(f"{over}in ({', '.join(layout.upper())})")
    return " ".join(f"{start} {'; '.join(layouts)}." for start, layouts in groups.items())


def entry(method: Normalization) -> str:
    """All facts about a method, in Markdown."""
    lines = [
        f"### {method.title}",
        method.summary,
        f"$$\n{method.formula}\n$$",
        f"**Shared statistics:** {sharing(method)}",
    ]
    lines += [f"**When:** {method.use}"]
    lines += ["\n".join(f"- {_knob(knob)}" for knob in method.knobs)]
    lines += [f"```python\n{method.torch}\n```"] if method.torch else []
    lines += [f"> **Common mistake:** {method.common_mistake}"] if method.common_mistake else []
    also = f"Also called {', '.join(method.aliases)}. " if method.aliases else ""
    lines += [f"{also}Source: {method.citation}."]
    return "\n\n".join(lines)


def _knob(knob: Knob) -> str:
    """One parameter: its name and symbol, its default, and its description."""
    symbol = f" ${knob.symbol}$" if knob.range and knob.symbol != knob.name else ""
    return f"`{knob.name}`{symbol} = {knobs.short(knob.default)}: {knob.help}"
