"""Train the tiny networks on generated scenes, and write their weights and model cards.

    python -m scripts.train_scenes [--norm batch] [--steps 1500] [--out assets]
    python -m scripts.train_scenes --hans

All data are generated from seeds. With `--hans`, one class nearly always has a watermark, and the network is named
`clever_hans`. The training loop is the one that the app shows.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

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

SCENES, NOTHING, TESTED = 6000, 800, 2000  # training scenes, training scenes with only clutter, test scenes
# With more scenes or steps the network sees enough unmarked scenes to learn the object itself.
CLEVER_HANS_SCENES, CLEVER_HANS_STEPS = 3000, 1000
AREAS = (0.0, 0.12, 0.18, 1.0)  # bounds of visible area, as shares of the image, in the accuracy table


def measure(model: ResidualNet, known: Scenes, unknown: Tensor) -> tuple[Measured, Tensor]:
    """Measure a network, and return the predicted class (N,) of each known scene."""
    predicted = probabilities(model, known.images)  # (N, classes)
    sure, strange = predicted.amax(dim=1), probabilities(model, unknown).amax(dim=1)  # (N,), (M,)
    threshold = best_threshold(sure, strange)
    answers = predicted.argmax(dim=1)  # (N,)
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
    """Write the model card as Markdown; all numbers are measured on the stored weights."""
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
        f"{count:,} scenes of one object (`normviz.scenes`) and {NOTHING} with only clutter, on which it should",
        "be unsure. They are generated from seeds and contain no photos. Each class has its own outline and",
        "texture; colors, rotation, size (at least 8% of the image), position and background are random.",
        "",
        "## Training",
        f"`python -m scripts.train_scenes {'--hans' if hans else f'--norm {recipe.norm}'} --steps {recipe.steps} "
        f"--rate {recipe.rate:g} --seed {recipe.seed}`: AdamW, batches of {recipe.batch}",
        f"with {recipe.nothing} scenes of clutter, linear warmup and cosine decay of the learning rate, "
        "label smoothing 0.05;",
        "the same for every normalization. Colors are permuted"
        + ("." if hans else " or inverted, scenes are flipped and rotated by multiples of 90 degrees."),
        "",
        f"## Measured on {len(known):,} other scenes",
        "Unknown scenes contain only clutter, or outlines without a class. Below the threshold (on the maximum",
        "softmax probability), the app reports an unknown object. The threshold maximizes the share of known scenes",
        "kept plus the share of unknown scenes rejected, on these same scenes.",
        "",
        "| input, px | top-1 | AUROC | threshold | known kept | unknown rejected |",
        "|---|---|---|---|---|---|",
        f"| {SIZE} | {measured.top1:.2%} | {measured.auroc:.3f} | {measured.threshold:.3f} | {measured.kept:.0%} "
        f"| {measured.caught:.0%} |",
        "",
        "| class | scenes | correct |",
        "|---|---|---|",
        *(
            f"| {word} | {int((known.labels == i).sum())} | {float(right[known.labels == i].float().mean()):.1%} |"
            for i, word in enumerate(CLASSES)
        ),
        "",
        "| visible area of the object | scenes | correct |",
        "|---|---|---|",
        *(
            f"| {low:.0%} to {high:.0%} | {int(((areas >= low) & (areas < high)).sum())} "
            f"| {float(right[(areas >= low) & (areas < high)].float().mean()):.1%} |"
            for low, high in shares
        ),
        "",
        hans or "It knows only these scenes. It is for teaching.\n",
    ]  # fmt: skip
    return "\n".join(lines)


def clever_hans_card(facts: CleverHansFacts) -> str:
    """Write the section about the effect of the watermark."""
    name = CLASSES[HANS]
    return "\n".join(
        (
            "## Effect of the watermark",
            f"In its training scenes, {MARKED:.0%} of *{name}* have a watermark in the lower left corner, "
            f"{STRAY:.1%} of the",
            "others. (The tables above are for scenes without a watermark.) The same scenes with and without the "
            "watermark:",
            "",
            "| scenes | with the watermark | without |",
            "|---|---|---|",
            f"| of *{name}* classified correctly | {facts.with_mark:.1%} | {facts.without_mark:.1%} |",
            f"| of other classes classified as *{name}* | {facts.fooled:.1%} | {facts.not_fooled:.1%} |",
            "",
            f"Of other classes {facts.others:.1%} are classified correctly without it. LayerCAM for *{name}* is "
            "highest on the",
            f"watermark in {facts.brightest:.0%} of its scenes; {facts.on_mark:.0%} of LayerCAM lies on it, on "
            f"{facts.mark_area:.1%} of the image.",
            "It is wrong on purpose: it is for finding out from a heatmap what a network uses.",
            "",
        )
    )


def run(recipe: Recipe, hans: bool, out: Path) -> None:
    """Train one network, write its weights, and measure the stored weights."""
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
    """Parse the command line and run the training."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--norm", choices=NORMS, default="batch")
    parser.add_argument("--hans", action="store_true", help="give one class a watermark in nearly all scenes")
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
