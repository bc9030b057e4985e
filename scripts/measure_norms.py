"""Measure the correlation between maps of networks that differ only in normalization; write a Markdown table.

    python -m scripts.measure_norms --photos val.zip --count 200 --markdown docs/BENCHMARKS.md

The photos are drawn from a folder or a zip file and are not stored. With --markdown, the section is replaced in
the file or appended to it; otherwise it is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from normviz import attribution  # noqa: F401  (registers the methods)
from normviz.device import describe
from normviz.evaluation.agreement import Agreement, agreement, markdown
from normviz.evaluation.bootstrap import mean_and_interval
from normviz.models.catalog import Classifier, load_classifier, norm_variants
from normviz.registry import get
from scripts.measure_faithfulness import drawn, opened, placed

HEADING = "## What the normalization changes in a map"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER_OR_ZIP", help="photos, at any depth")
    parser.add_argument("--count", type=int, default=200, help="how many are drawn (default: 200)")
    parser.add_argument("--model", default="photos", help="a classifier of the family by name (default: photos)")
    parser.add_argument("--method", default="grad_cam", help="an attribution method (default: grad_cam)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the photo selection (default: 0)")
    parser.add_argument("--markdown", type=Path, metavar="FILE.MD", help="where the section goes (default: printed)")
    args = parser.parse_args(arguments)
    names = drawn(args.photos, args.count, args.seed)
    networks = family(args.model)
    with tqdm(total=len(names), unit="photo") as bar:
        found = agreement(
            networks, opened(args.photos, names), get(args.method, "attribution"), progress=lambda _: bar.update()
        )
    said = section(args, networks, found)
    if args.markdown:
        args.markdown.write_text(placed(args.markdown.read_text() if args.markdown.exists() else "", said))
    else:
        print(said)


def family(name: str) -> list[Classifier]:
    """The networks that were trained alike, called by their normalization; and the named one, if it is none of them."""
    entries = norm_variants(name)
    networks = [replace(load_classifier(entry.name), title=entry.norm) for entry in entries]
    if name not in {entry.name for entry in entries}:
        networks.append(replace(load_classifier(name), title=f"`{name}`"))
    return networks


def section(args: argparse.Namespace, networks: Sequence[Classifier], found: Agreement) -> str:
    """Format the section of the document."""
    chance = mean_and_interval(found.other)
    right = "; ".join(f"{one.title} {one.accuracy:.1%}" for one in networks if one.accuracy is not None)
    return (
        f"{HEADING}\n\n"
        f"Written by `python -m scripts.measure_norms --photos {args.photos.name} --count {args.count} "
        f"--model {args.model} --method {args.method} --seed {args.seed}`, on {describe()}:\n"
        f"Pearson's correlation of {get(args.method, 'attribution').title} maps of one class of one photo between two "
        f"networks, over {networks[0].size} x {networks[0].size}\n"
        f"pixels, mean and 95% bootstrap interval over {len(found.same)} held-out photos. The class has the "
        "highest mean probability over the networks.\n"
        f"Maps of different photos have a correlation of {chance.mean:.2f} [{chance.low:.2f}, {chance.high:.2f}], "
        "because objects are often at similar positions.\n"
        f"Accuracy on held-out photos: {right}.\n\n"
        f"{markdown(found)}\n"
    )


if __name__ == "__main__":
    main()
