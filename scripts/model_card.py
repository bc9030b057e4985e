"""Model cards of the embedded photo classifiers: data, training and measurements as Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from normviz.models.catalog import SIZE
from normviz.models.embedded import Measured

KINDS = {  # by file name
    "photos": "the embedded photo classifier",
    "twins": "one of five briefly trained photo classifiers that differ only in their normalization",
}


@dataclass(frozen=True)
class Result:
    """Measurements of a network at one input size, with the median confidence."""

    measured: Measured
    sure_when_right: float
    sure_when_wrong: float
    confusion: Tensor  # (classes, classes): rows are true classes, columns predicted ones


def card(args: argparse.Namespace, results: Sequence[Result], classes: list[str], photos: int, parameters: int) -> str:
    """Write the model card as Markdown; all numbers are measured on the stored weights."""
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
        "## Data and license",
        f"Trained on {photos:,} photos of {len(classes)} classes: ten classes of ImageNet as selected in Imagenette v2",
        '(its "English springer" is part of *dog* here), with the original split, and additional cats and dogs from',
        "the Asirra (Dogs vs. Cats) photos; outliers are photos of other ImageNet classes. ImageNet may be used for",
        "non-commercial research and education; the photos belong to their owners and are not part of this project.",
        "",
        "## Training",
        f"`python -m scripts.train_photos DATA --name {args.name} --norm {args.norm} --epochs {args.epochs} "
        f"--finish {args.finish} --sides {' '.join(map(str, args.sides))} --seed {args.seed}`: SGD,",
        f"Nesterov momentum 0.9, one-cycle learning rate up to {args.rate}, weight decay {args.decay}, "
        f"batch {args.batch}",
        f"with {args.outliers} outliers trained toward uniform probabilities (weight {args.exposure}), "
        "label smoothing 0.1,",
        f"photos at {start}, {middle} and {end} pixels, random crops of 25-100% of the area or zoomed out to 40% of",
        "the size, aspect ratio ±35%, rotation ±8 degrees, flips, color jitter; an exponential moving average of the",
        f"weights ({args.keep}). Then {args.finish} epochs at {finish} pixels starting at a fifth of the rate, "
        "with twice",
        "as many outliers: a third unchanged, a third blended with another outlier, a third with a known photo, "
        "whose class",
        "gets the share of that photo as target probability.",
        "",
        "## Measured on the validation photos (whole photo resized to a square)",
        "Confidence is the maximum softmax probability; AUROC separates known from unknown photos by confidence. Below",
        "the threshold, the app reports an unknown object. The threshold maximizes the share of known photos kept plus",
        "the share of unknown photos rejected, on these same photos.",
        "",
        "| input, px | top-1 | AUROC | threshold | known kept | unknown rejected "
        "| median confidence if correct | if wrong |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {m.size} | {m.top1:.2%} | {m.auroc:.3f} | {m.threshold:.3f} | {m.kept:.0%} | {m.caught:.0%} "
            f"| {r.sure_when_right:.2f} | {r.sure_when_wrong:.2f} |"
            for r, m in ((r, r.measured) for r in results)
        ),
        "",
        f"### Per class, at {size} px",
        "| class | photos | correct |",
        "|---|---|---|",
        *(f"| {name} | {int(total[i])} | {float(confusion[i, i] / total[i]):.1%} |" for i, name in enumerate(classes)),
        "",
        f"### Most frequent confusions, at {size} px",
        *(
            f"- {classes[int(index) // len(classes)]} classified as {classes[int(index) % len(classes)]}: {int(count)}"
            for count, index in zip(worst.values, worst.indices, strict=True)
            if count > 0
        ),
        "",
        "## Limitations",
        f"It knows these {len(classes)} classes only. A photo of anything else is assigned to one of them",
        "with a low probability, and the app reports an unknown object. The network sees the whole photo resized to",
        "a small square, so small objects are often missed. Most tench photos show the hands of the angler, and the",
        "network uses them: a heatmap for *tench* often highlights fingers. It is for teaching, not for decisions.",
        "",
    ]
    return "\n".join(lines)
