"""Write the tables of methods from the registry: docs/METHODS.md, and the one between the markers in README.md.

python -m scripts.make_docs           # write what has changed
python -m scripts.make_docs --check   # exit status 1 where a file is out of date, and write nothing
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
from normviz.registry import Kind, Knob, Method, methods

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"
ACTS_ON = {"weights": "weights", "training": "gradients or losses", "blocks": "a block of a network"}
HEADINGS: dict[Kind, str] = {"normalization": "Normalization", "attribution": "Attribution"}


def axes_in_words(method: Method) -> str:
    """What shares a statistic, for each layout of the input; layouts that say the same stand together."""
    said: dict[str, list[str]] = {}
    for key, pattern in method.axes.items():
        layout, _, condition = key.partition(" ")
        place = f"({', '.join(layout.upper())}){f' with {condition}' if condition else ''}"
        said.setdefault(describe_axes(pattern) if pattern else "no groups that share", []).append(place)
    return "<br>".join(f"{', '.join(places)}: {words}" for words, places in said.items()) or "nothing is shared"


def _knob(knob: Knob) -> str:
    if knob.range:
        return f"`{knob.name}` = {knob.default} ({knob.range.low:g} to {knob.range.high:g})"
    default = str(knob.default).lower() if knob.type is bool else knob.default
    choices = f" ({', '.join(knob.choices)})" if knob.choices else ""
    return f"`{knob.name}` = {default}{choices}"


def _read(method: Method) -> str:
    """What the method reads, in words: its shared axes, or where its map lies and in which unit."""
    if method.kind == "normalization":
        return axes_in_words(method) if method.axes else f"acts on {ACTS_ON[method.acts_on]}"
    return f"{'a layer' if method.level == 'layer' else 'the input'}, in {method.unit}"


def _math(formula: str) -> str:
    """A formula that survives in a Markdown table: without bars and in GitHub's delimiters."""
    return "$`" + formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ") + "`$"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    return [line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)]


def methods_page() -> str:
    """The whole of docs/METHODS.md."""
    lines = [
        "# Methods",
        "",
        "Written by `python -m scripts.make_docs` from the registry: change the functions, not this page.",
    ]
    for kind, heading in HEADINGS.items():
        reads = "shared axes" if kind == "normalization" else "map at"
        rows = [
            [
                f"`{method.name}`",
                method.title,
                _read(method),
                _math(method.formula),
                "<br>".join(map(_knob, method.knobs)) or "none",
                f"[{method.source.text()}]({method.source.url})",
            ]
            for method in methods(kind)
        ]
        lines += ["", f"## {heading}", *_table(("name", "title", reads, "formula", "knobs", "source"), rows)]
        for method in methods(kind):
            lines += ["", f"### {method.title}", method.summary]
            lines += [""] if method.knobs else []
            lines += [f"- `{knob.name}`: {knob.help}" for knob in method.knobs]
            lines += ["", f"When: {method.use}"] if method.use else []
            lines += ["", f"In PyTorch: `{method.torch}`"] if method.torch else []
            lines += ["", f"Trap: {method.trap}"] if method.trap else []
    return "\n".join(lines) + "\n"


def readme_table() -> str:
    """The short table between the markers of README.md: the methods of each family."""
    families: dict[str, list[Method]] = {}
    for kind in HEADINGS:
        for method in methods(kind):
            families.setdefault(f"{HEADINGS[kind]}: {method.family}", []).append(method)
    rows = [
        [family, ", ".join(f"[{method.title}]({method.source.url}) `{method.name}`" for method in members)]
        for family, members in families.items()
    ]
    return "\n".join(_table(("family", "methods, with their sources"), rows))


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The files that are written, with what they should hold.

    Raises:
        SystemExit: README.md has no markers.
    """
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{readme} must hold {BEGIN} and {END} once")
    inside = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    table = f"{BEGIN}\n{readme_table()}\n{END}"
    return {readme: inside.sub(lambda _: table, text), root / "docs" / "METHODS.md": methods_page()}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the pages, or with --check only compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a file is out of date; write nothing")
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
