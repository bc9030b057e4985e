"""Write docs/METHODS.md and the table of methods in README.md from the registry.

python -m scripts.make_docs           # update both files
python -m scripts.make_docs --check   # write nothing; exit with status 1 if a file is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import normviz.attribution
import normviz.normalization  # noqa: F401
from normviz.normalization.patterns import describe_axes
from normviz.paths import ROOT
from normviz.registry import Attribution, Knob, Method, Normalization, methods

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"
ACTS_ON = {"weights": "weights", "training": "gradients or losses", "blocks": "a block of a network"}


def shared_axes(method: Normalization) -> str:
    """The axes that share a statistic, for each layout of the input; layouts with the same description are merged."""
    layouts: dict[str, list[str]] = {}
    for key, pattern in method.axes.items():
        layout, _, condition = key.partition(" ")
        shape = f"({', '.join(layout.upper())}){f' with {condition}' if condition else ''}"
        layouts.setdefault(describe_axes(pattern) if pattern else "no groups", []).append(shape)
    return "<br>".join(f"{', '.join(shapes)}: {description}" for description, shapes in layouts.items())


def _knob(knob: Knob) -> str:
    if knob.range:
        return f"`{knob.name}` = {knob.default} ({knob.range.low:g} to {knob.range.high:g})"
    default = str(knob.default).lower() if knob.type is bool else knob.default
    choices = f" ({', '.join(knob.choices)})" if knob.choices else ""
    return f"`{knob.name}` = {default}{choices}"


def _input(method: Normalization | Attribution) -> str:
    """The shared axes or the input of a normalization; the level and unit of an attribution map."""
    if isinstance(method, Normalization):
        return shared_axes(method) if method.axes else f"acts on {ACTS_ON[method.acts_on]}"
    return f"{'a layer' if method.level == 'layer' else 'the input'}, in {method.unit}"


def _math(formula: str) -> str:
    """A formula for a Markdown table on GitHub, without vertical bars, which would end the cell."""
    return "$`" + formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ") + "`$"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)]


def methods_page() -> str:
    """The content of docs/METHODS.md."""
    lines = [
        "# Methods",
        "",
        "Generated from the registry by `python -m scripts.make_docs`: do not edit this page by hand.",
        *_section("Normalization", "shared axes", methods("normalization")),
        *_section("Attribution", "map at", methods("attribution")),
    ]
    return "\n".join(lines) + "\n"


def _section(heading: str, column: str, members: Sequence[Normalization | Attribution]) -> list[str]:
    """The table and the descriptions of the methods of one kind."""
    rows = [
        [
            f"`{method.name}`",
            method.title,
            _input(method),
            _math(method.formula),
            "<br>".join(map(_knob, method.knobs)) or "none",
            method.citation,
        ]
        for method in members
    ]
    lines = ["", f"## {heading}", *_table(("name", "title", column, "formula", "knobs", "source"), rows)]
    for method in members:
        lines += ["", f"### {method.title}", method.summary]
        lines += [""] if method.knobs else []
        lines += [f"- `{knob.name}`: {knob.help}" for knob in method.knobs]
        lines += _advice(method) if isinstance(method, Normalization) else []
    return lines


def _advice(method: Normalization) -> list[str]:
    """When to use a normalization, how PyTorch computes it, and the common mistake."""
    lines = ["", f"When: {method.use}"] if method.use else []
    lines += ["", f"In PyTorch: `{method.torch}`"] if method.torch else []
    lines += ["", f"Common mistake: {method.common_mistake}"] if method.common_mistake else []
    return lines


def readme_table() -> str:
    """The table between the markers of README.md: the methods of each family."""
    families: dict[str, list[Method]] = {}
    for method in [*methods("normalization"), *methods("attribution")]:
        families.setdefault(f"{method.kind.capitalize()}: {method.family}", []).append(method)
    rows = [
        [family, ", ".join(f"[{method.title}]({method.url}) `{method.name}`" for method in members)]
        for family, members in families.items()
    ]
    return "\n".join(_table(("family", "methods, with their sources"), rows))


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The generated files and their content.

    Raises:
        SystemExit: README.md has no markers.
    """
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{readme} must contain {BEGIN} and {END} exactly once")
    inside = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    table = f"{BEGIN}\n{readme_table()}\n{END}"
    return {readme: inside.sub(lambda _: table, text), root / "docs" / "METHODS.md": methods_page()}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the files; with --check, only compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a file is out of date"
    )
    args = parser.parse_args(arguments)
    stale = [
        path for path, text in pages(root).items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if args.check:
            print(f"{path.relative_to(root)} is out of date: run python -m scripts.make_docs", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages(root)[path], encoding="utf-8")
            print(f"wrote {path.relative_to(root)}")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
