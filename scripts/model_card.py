"""The model cards of the embedded photo classifiers: data, recipe and measurements as Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from normviz.models.catalog import SIZE
from normviz.models.embedded import Measured

KINDS = {  # by the name of the files
    "photos": "the embedded photo classifier",
    "twins": "one of five photo classifiers trained alike, shortly, that differ in their normalization only",
}


@dataclass(frozen=True)
class Result:
    """What a network reached at one input size, and how sure it was (median confidence)."""

    measured: Measured
    sure_when_right: float
    sure_when_wrong: float
    confusion: Tensor  # (classes, classes): photos of the row's class that were called the column's


def card(args: argparse.Namespace, results: Sequence[Result], classes: list[str], photos: int, parameters: int) -> str:
    """The model card as Markdown; every number in it was measured on the weights as they are stored."""
    chosen = next((r for r in results if r.measured.size == SIZE), results[0])
    confusion, size = chosen.confusion, chosen.measured.size
    total = confusion.sum(dim=1)  # (C,)
    start, middle, end, finish = args.sides
    worst = confusion.clone().fill_diagonal_(0).flatten().topk(min(8, confusion.numel()))
    lines = [
        f"# {args.name}_{args.norm}: {KINDS.get(args.name, 'a photo classifier')}, normalization: {args.norm}",
        "",
        f"A residual network of {parameters:,} parameters ({', '.join(classes)}), weights in half precision.",
        "",
        "## Data and its terms",
        f"Trained on {photos:,} photos of {len(classes)} classes: ten classes of ImageNet as selected in Imagenette v2",
        '(its "English springer" is part of *dog* here), in that set\'s own split, and further cats and dogs of the',
        "Asirra (Dogs vs. Cats) photos; outliers are single photos of other ImageNet classes. ImageNet's terms are",
        "non-commercial research and education; the photos remain their owners' and are not part of this project.",
        "",
        "## Recipe",
        f"`python -m scripts.train_photos DATA --name {args.name} --norm {args.norm} --epochs {args.epochs} "
        f"--finish {args.finish} --sides {' '.join(map(str, args.sides))} --seed {args.seed}`: SGD,",
        f"Nesterov momentum .9, one cycle up to {args.rate}, weight decay {args.decay}, batch {args.batch} with",
        f"{args.outliers} outliers trained towards uniform probabilities (weight {args.exposure}), label smoothing .1,",
        f"photos at {start}, {middle} and {end} pixels, random crops of 25-100 % of the area or zoomed out to 40 % of",
        "the size, aspect ratio +-35 %, rotation +-8 degrees, flips, color jitter; an exponential average of the",
        f"weights ({args.keep}). Then {args.finish} epochs at {finish} pixels from a fifth of the rate, twice as many",
        "outliers: a third as they are, a third blended with another outlier, a third with a known photo, whose class",
        "then is wanted with that photo's share.",
        "",
        "## Measured on the validation photos (whole photo squashed to a square)",
        "Confidence is the maximum softmax probability; AUROC is of known against unknown photos by confidence. Below",
        "the threshold the application says that it does not know; it lies where the share of known photos kept plus",
        "that of unknown photos caught is largest, chosen on these very photos.",
        "",
        "| input, px | top-1 | AUROC | threshold | known kept | unknown caught | sure if right | if wrong |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {m.size} | {m.top1:.2%} | {m.auroc:.3f} | {m.threshold:.3f} | {m.kept:.0%} | {m.caught:.0%} "
            f"| {r.sure_when_right:.2f} | {r.sure_when_wrong:.2f} |"
            for r, m in ((r, r.measured) for r in results)
        ),
        "",
        f"### Per class, at {size} px",
        "| class | photos | recognized |",
        "|---|---|---|",
        *(f"| {name} | {int(total[i])} | {float(confusion[i, i] / total[i]):.1%} |" for i, name in enumerate(classes)),
        "",
        f"### Most frequent confusions, at {size} px",
        *(
            f"- {classes[int(index) // len(classes)]} called {classes[int(index) % len(classes)]}: {int(count)}"
            for count, index in zip(worst.values, worst.indices, strict=True)
            if count > 0
        ),
        "",
        "## What it cannot do",
        f"It knows these {len(classes)} classes and nothing else. A photo of anything else gets one of their names",
        "with a low probability; the application then says that it does not know. It sees the whole photo squashed to",
        "a small square, so small objects are often missed. Most tench photos show the hands of the angler, and the",
        "network uses them: a heatmap for *tench* often lights up fingers. It is for teaching, not for decisions.",
        "",
    ]
    return "\n".join(lines)
