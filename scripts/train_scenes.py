"""Train the tiny networks of the generated scenes, and write their weights and cards.

    python scripts/train_scenes.py [--norm batch] [--steps 1500] [--out assets]
    python scripts/train_scenes.py --hans

Everything follows from the seeds: no data are needed. With `--hans` one class nearly always carries a watermark; the
network that learns from it is `clever_hans`. The training itself is the one that the app shows.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from normviz.experiments.labs.clever_hans import CleverHansFacts, clever_hans_facts
from normviz.experiments.labs.training import (
    CLUTTER,
    STRANGERS,
    TESTS,
    TRAINING,
    Recipe,
    probabilities,
    tiny_net,
    train,
)
from normviz.models.embedded import Measured, read_weights, write_weights
from normviz.models.residual import NORMS, ResidualNet
from normviz.scenes import CLASSES, HANS, SIZE, Scenes, make_clever_hans_scenes, make_scenes, make_unknowns
from normviz.scenes.clever_hans import MARKED, STRAY
from scripts.confidence import auroc, best_threshold

SCENES, NOTHING, TESTED = 6000, 800, 2000  # to train on, of clutter alone to train on, to measure on
# With more scenes or steps the network sees enough unmarked scenes to learn the object itself.
CLEVER_HANS_SCENES, CLEVER_HANS_STEPS = 3000, 1000
AREAS = (0.0, 0.12, 0.18, 1.0)  # ends of the areas, as shares of the picture, by which accuracy is reported


def measure(model: ResidualNet, known: Scenes, unknown: Tensor) -> tuple[Measured, Tensor]:
    """What a network reaches, and the class (N,) that it gives to each known scene."""
    asked = probabilities(model, known.images)  # (N, classes)
    sure, strange = asked.amax(dim=1), probabilities(model, unknown).amax(dim=1)  # (N,), (M,)
    threshold = best_threshold(sure, strange)
    answers = asked.argmax(dim=1)  # (N,)
    measured = Measured(
        SIZE,
        float((answers == known.labels).float().mean()),
        auroc(sure, strange),
        threshold,
        float((sure >= threshold).float().mean()),
        float((strange < threshold).float().mean()),
    )
    return measured, answers


def card(
    name: str, model: ResidualNet, recipe: Recipe, measured: Measured, known: Scenes, answers: Tensor, hans: str
) -> str:
    """The network's card as Markdown; every number in it was measured on the weights as they are stored."""
    count = CLEVER_HANS_SCENES if hans else SCENES
    right = answers == known.labels  # (N,)
    areas = known.masks.float().mean(dim=(1, 2))  # (N,)
    shares = list(itertools.pairwise(AREAS))
    lines = [
        f"# {name}: a tiny classifier of generated scenes, normalization: {recipe.norm}",
        "",
        f"A residual network of {sum(p.numel() for p in model.parameters()):,} parameters ({', '.join(CLASSES)}),",
        f"weights in half precision. {SIZE} x {SIZE} pixels give last maps of 8 x 8.",
        "",
        "## Data",
        f"{count:,} scenes of one object (`normviz.scenes`) and {NOTHING} of clutter alone, of which it is to be",
        "unsure. They are generated from seeds; nobody's pictures are in them. Each class has an outline and a texture",
        "of its own; colors, rotation, size (from 8 % of the picture), place and background tell nothing.",
        "",
        "## Recipe",
        f"`python scripts/train_scenes.py {'--hans' if hans else f'--norm {recipe.norm}'} --steps {recipe.steps} "
        f"--rate {recipe.rate:g} --seed {recipe.seed}`: AdamW, batches of {recipe.batch}",
        f"with {recipe.nothing} scenes of clutter, rate up along a line and down along a cosine, label smoothing .05;",
        "the same for every normalization. Colors are exchanged"
        + ("." if hans else " or negative, scenes mirrored and turned by quarters."),
        "",
        f"## Measured on {len(known):,} other scenes",
        "Unknown are scenes of clutter alone and of outlines that no class has. Below the threshold (of the maximum",
        "softmax probability) the application says that it does not know; it lies where the share of known scenes kept",
        "plus that of unknown ones caught is largest, chosen on these very scenes.",
        "",
        "| input, px | top-1 | AUROC | threshold | known kept | unknown caught |",
        "|---|---|---|---|---|---|",
        f"| {SIZE} | {measured.top1:.2%} | {measured.auroc:.3f} | {measured.threshold:.3f} | {measured.kept:.0%} "
        f"| {measured.caught:.0%} |",
        "",
        "| class | scenes | recognized |",
        "|---|---|---|",
        *(
            f"| {word} | {int((known.labels == i).sum())} | {float(right[known.labels == i].float().mean()):.1%} |"
            for i, word in enumerate(CLASSES)
        ),
        "",
        "| visible area of the object | scenes | recognized |",
        "|---|---|---|",
        *(
            f"| {low:.0%} to {high:.0%} | {int(((areas >= low) & (areas < high)).sum())} "
            f"| {float(right[(areas >= low) & (areas < high)].float().mean()):.1%} |"
            for low, high in shares
        ),
        "",
        hans or "It knows nothing but these scenes. It is for teaching.\n",
    ]  # fmt: skip
    return "\n".join(lines)


def clever_hans_card(facts: CleverHansFacts) -> str:
    """What the watermark does to the answers."""
    name = CLASSES[HANS]
    return "\n".join(
        (
            "## What the watermark does",
            f"In its training scenes {MARKED:.0%} of *{name}* carried a watermark in the lower left corner, "
            f"{STRAY:.1%} of the",
            "others. (The table above is of scenes without any.) The same scenes, with the watermark and without it:",
            "",
            "| scenes | with the watermark | without |",
            "|---|---|---|",
            f"| of *{name}* that are recognized | {facts.with_mark:.1%} | {facts.without_mark:.1%} |",
            f"| of other classes that are called *{name}* | {facts.fooled:.1%} | {facts.not_fooled:.1%} |",
            "",
            f"Of other classes {facts.others:.1%} are recognized without it. LayerCAM for *{name}* is highest on the",
            f"watermark in {facts.brightest:.0%} of its scenes; {facts.on_mark:.0%} of LayerCAM lies on it, on "
            f"{facts.mark_area:.1%} of the picture.",
            "It is wrong on purpose: for finding out, from a heatmap, what a network looks at.",
            "",
        )
    )


def run(recipe: Recipe, hans: bool, out: Path) -> None:
    """Train one network, write it, and measure what was written."""
    known, unknown = make_scenes(TESTED, TESTS), make_unknowns(TESTED // 2, STRANGERS).images
    scenes = make_clever_hans_scenes(CLEVER_HANS_SCENES, TRAINING) if hans else make_scenes(SCENES, TRAINING)
    nothing = make_scenes(NOTHING, CLUTTER, objects=0).images  # (NOTHING, 3, SIZE, SIZE)
    some = Scenes(known.images[:300], known.labels[:300], known.masks[:300])
    model, begun, used = tiny_net(recipe.norm, recipe.seed), time.perf_counter(), time.process_time()
    for at in train(model, scenes, nothing, some, recipe, turn=not hans):
        if at.step % 100 == 0 or at.share >= 1:
            print(
                f"{recipe.norm} step {at.step}: loss {at.loss:.3f}, batch {at.accuracy:.3f}, tested {at.tested:.3f}, "
                f"{time.perf_counter() - begun:.0f} s, of them {time.process_time() - used:.0f} s of a core",
                flush=True,
            )
    name = "clever_hans" if hans else f"scenes_{recipe.norm}"
    path = out / f"{name}.safetensors"
    write_weights(path, model, list(CLASSES))
    stored, classes = read_weights(path)
    measured, answers = measure(stored, known, unknown)
    facts = clever_hans_card(clever_hans_facts(stored)) if hans else ""
    write_weights(path, stored, classes, [measured])
    text = card(name, stored, recipe, measured, known, answers, facts)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(measured, facts, sep="\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, write, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--norm", choices=NORMS, default="batch")
    parser.add_argument("--hans", action="store_true", help="one class nearly always carries a watermark")
    parser.add_argument("--steps", type=int, help=f"{Recipe.steps}, with --hans {CLEVER_HANS_STEPS}")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("assets"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    steps = args.steps or (CLEVER_HANS_STEPS if args.hans else Recipe.steps)
    run(Recipe(args.norm, args.seed, args.rate, steps), args.hans, args.out)


if __name__ == "__main__":
    main()
