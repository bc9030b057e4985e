"""Measure how faithful every attribution method is, on photos that the network has not seen; write a Markdown table.

    python -m scripts.measure_faithfulness --photos val.zip --count 100 --markdown docs/BENCHMARKS.md

The photos are drawn with a seed from a folder or a zip file; nothing of them is kept. With --markdown the section
"Faithfulness" of the file is replaced (or added at its end), otherwise the table is printed.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from normviz import attribution  # noqa: F401  (registers the methods)
from normviz.device import describe
from normviz.evaluation.faithfulness.assessment import Settings
from normviz.evaluation.faithfulness.study import markdown, study
from normviz.images import decode, read_photo
from normviz.models.catalog import load_classifier
from normviz.registry import get, methods

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
HEADING = "## Faithfulness"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER_OR_ZIP", help="photos, at any depth")
    parser.add_argument("--count", type=int, default=100, help="how many are drawn (default: 100)")
    parser.add_argument("--model", default="photos", help="a classifier by name (default: photos)")
    parser.add_argument("--size", type=int, help="pixels a side of its input (default: its own)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="attribution methods (default: all)")
    parser.add_argument("--fast", action="store_true", help="leave out the methods that take long")
    parser.add_argument("--steps", type=int, default=32, help="pictures along a curve (default: 32)")
    parser.add_argument("--chunk", type=int, default=32, help="pictures in one forward pass (default: 32)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing and of the random maps (default: 0)")
    parser.add_argument("--markdown", type=Path, metavar="FILE.MD", help="where the section goes (default: printed)")
    args = parser.parse_args(arguments)
    chosen = [get(name, "attribution") for name in args.methods] if args.methods else methods("attribution")
    if args.fast:
        chosen = [method for method in chosen if not method.slow]
    names = drawn(args.photos, args.count, args.seed)
    classifier = load_classifier(args.model, args.size)
    began = time.monotonic()

    def show(number: int, name: str) -> None:
        left = f", {(time.monotonic() - began) / number * (len(names) - number) / 60:.0f} min left" if number else ""
        print(f"\rphoto {number + 1} of {len(names)}: {name:<24}{left:<16}", end="", file=sys.stderr, flush=True)

    how = Settings(steps=args.steps, seed=args.seed, chunk=args.chunk)
    rows = study(classifier, opened(args.photos, names), chosen, how, progress=show)
    print(file=sys.stderr)
    section = (
        f"{HEADING}\n\n"
        f"Written by `{command(args)}`, on {describe()}:\n"
        f"{len(names)} held-out photos, network `{classifier.name}` at {classifier.size} px, predicted class, "
        "each method with its default knobs\n"
        f"at its default layer, {args.steps} images along a curve. Mean and 95% bootstrap interval over the photos. "
        "Baselines in italics; *random, cells\n"
        "of the layer* is the baseline for maps at a layer, *random, single pixels* for maps at the input.\n\n"
        f"{markdown(rows)}\n"
    )
    if args.markdown:
        args.markdown.write_text(placed(args.markdown.read_text() if args.markdown.exists() else "", section))
    else:
        print(section)


def command(args: argparse.Namespace) -> str:
    """Reconstruct the command, without the folder of the photos."""
    parts = [f"--photos {args.photos.name}", f"--count {args.count}", f"--model {args.model}"]
    parts += [f"--size {args.size}"] if args.size else []
    parts += [f"--methods {' '.join(args.methods)}"] if args.methods else []
    parts += ["--fast"] if args.fast else []
    parts += [f"--steps {args.steps}", f"--seed {args.seed}"]
    return f"python -m scripts.measure_faithfulness {' '.join(parts)}"


def drawn(source: Path, count: int, seed: int) -> list[str]:
    """Draw the names of `count` photos from a folder or zip file.

    Raises:
        ValueError: if there are no photos.
    """
    if source.is_dir():
        names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    else:
        with zipfile.ZipFile(source) as archive:
            names = sorted(archive.namelist())
    names = [name for name in names if name.lower().endswith(ENDINGS)]
    if not names or count < 1:
        raise ValueError(f"{source} holds {len(names)} photos ({', '.join(ENDINGS)}); {count} are asked for")
    return random.Random(seed).sample(names, min(count, len(names)))


def opened(source: Path, names: Sequence[str]) -> Iterator[Tensor]:
    """Yield the photos, uint8 (3, H, W)."""
    if source.is_dir():
        yield from (read_photo(source / name) for name in names)
        return
    with zipfile.ZipFile(source) as archive:
        yield from (decode(archive.read(name)) for name in names)


def placed(text: str, section: str) -> str:
    """Replace the section with the same heading in a document, or append it."""
    heading = section.split("\n", 1)[0]
    older = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", text, re.M | re.S)
    if older:
        return text[: older.start()] + section + ("\n" if text[older.end() :] else "") + text[older.end() :]
    return f"{text.rstrip()}\n\n{section}" if text.strip() else section


if __name__ == "__main__":
    main()
