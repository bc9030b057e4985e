"""Training of a tiny network on generated scenes as an iterator over steps, so that it can be observed and stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution.engine.network import recording
from normviz.models.embedded import MEAN, STD
from normviz.models.residual import Norm, ResidualNet
from normviz.scenes import CLASSES, Scenes

WIDTHS = (16, 32, 64, 64)  # channels of the tiny network's stages
BLOCKS = (1, 1, 1, 1)
STRIDES = (1, 2, 1, 1)  # 64 pixels give maps of 8 x 8
WARM = 0.15  # share of the training with a rising learning rate
SMOOTHING = 0.05  # label smoothing
DECAY = 0.02  # weight decay
EVERY = 20  # steps between two evaluations on test scenes


TRAINING, CLUTTER, TESTS, STRANGERS = 1_000_000, 2_000_000, 0, 3_000_000  # seed of the first scene of each set


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of the training.

    Attributes:
        norm: normalization of the network.
        seed: seed of the initial weights and of the order of the scenes.
        rate: highest learning rate; it is warmed up linearly and decays to 0 along a cosine.
        steps: number of batches; with `seconds`, the maximum.
        seconds: time limit of the computation; None: exactly `steps` batches, so that runs are reproducible.
        batch: scenes in a batch.
        nothing: additional scenes without a class in a batch, trained toward equal probabilities.
    """

    norm: Norm = "batch"
    seed: int = 0
    rate: float = 4e-3
    steps: int = 1500
    seconds: float | None = None
    batch: int = 64
    nothing: int = 8

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.nothing < 0:
            raise ValueError(
                "training needs at least 1 step, batches of at least 2 scenes, and at least 0 scenes without a class; "
                f"received {self.steps}, {self.batch} and {self.nothing}"
            )
        if not self.rate > 0 or (self.seconds is not None and not self.seconds > 0):
            raise ValueError(f"learning rate and seconds must be above 0; received {self.rate:g} and {self.seconds}")


@dataclass(frozen=True)
class Progress:
    """State of the training after a step.

    Attributes:
        step: number of finished steps.
        share: finished share of the training, 0 to 1.
        loss: loss of this batch.
        accuracy: accuracy on this batch.
        tested: accuracy on test scenes, measured every EVERY steps, else None.
        rate: learning rate of this step.
    """

    step: int
    share: float
    loss: float
    accuracy: float
    tested: float | None
    rate: float


def tiny_net(norm: Norm, seed: int = 0, classes: int = len(CLASSES)) -> ResidualNet:
    """Create the randomly initialized network, in evaluation mode; it learns the scenes in about a minute."""
    generator = torch.Generator().manual_seed(seed)
    return ResidualNet(classes, norm, WIDTHS, BLOCKS, STRIDES, generator).eval()


def to_input(images: Tensor) -> Tensor:
    """Standardize images, uint8 (N, 3, H, W), per color channel: (N, 3, H, W)."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    return (images.float() / 255 - mean) / std  # (N, 3, H, W)


def vary(images: Tensor, generator: torch.Generator, turn: bool = True) -> Tensor:
    """Augment scenes: permute or invert colors, flip, and rotate by multiples of 90 degrees.

    Args:
        images: uint8 (N, 3, H, W), square.
        generator: random generator.
        turn: whether to apply all augmentations; if False, only colors are permuted, so that a watermark keeps its
            corner and its gray levels.

    Returns:
        uint8 (N, 3, H, W).
    """
    n = len(images)
    order = torch.rand(n, 3, generator=generator).argsort(dim=1)  # (N, 3)
    images = images.gather(1, order[:, :, None, None].expand_as(images))
    if not turn:
        return images
    coins = torch.rand(4, n, 1, 1, 1, generator=generator) < 0.5  # (4, N, 1, 1, 1)
    images = torch.where(coins[0], images.transpose(2, 3), images)
    images = torch.where(coins[1], images.flip(2), images)
    images = torch.where(coins[2], images.flip(3), images)
    return torch.where(coins[3], 255 - images, images)


@torch.no_grad()
def probabilities(model: ResidualNet, images: Tensor) -> Tensor:
    """Compute class probabilities (N, classes) for images, uint8 (N, 3, H, W), in evaluation mode."""
    return torch.cat([model(to_input(part)).softmax(dim=1) for part in torch.split(images, 256)])  # (N, classes)


def accuracy(model: ResidualNet, scenes: Scenes) -> float:
    """Compute the accuracy of a network in evaluation mode."""
    return float((probabilities(model, scenes.images).argmax(dim=1) == scenes.labels).float().mean())


def train(
    model: ResidualNet, scenes: Scenes, nothing: Tensor | None, tests: Scenes, recipe: Recipe, turn: bool = True
) -> Iterator[Progress]:
    """Train a network in place, one step per iteration; to stop, stop iterating.

    Args:
        model: a network on the CPU; it is in evaluation mode after each step.
        scenes: training scenes.
        nothing: images without a class, uint8 (M, 3, H, W), trained toward equal probabilities; None: no images.
        tests: test scenes.
        recipe: hyperparameters.
        turn: see `vary`.

    Yields:
        The progress after each step.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(_groups(parameters), lr=recipe.rate, betas=(0.9, 0.99))
    spent = 0.0
    for step in range(1, recipe.steps + 1):
        started = time.perf_counter()
        rate = recipe.rate * height(_share(step - 1, spent, recipe))
        images, targets, labels = _batch(scenes, nothing, recipe, turn, model.fc.out_features, generator)
        model.train()
        with recording():
            logits = model(to_input(images))  # (B, classes)
            loss = F.cross_entropy(logits, targets, label_smoothing=SMOOTHING)  # ()
            gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        model.eval()
        recognized = float((logits[: len(labels)].argmax(dim=1) == labels).float().mean())
        share = _share(step, spent + time.perf_counter() - started, recipe)
        tested = accuracy(model, tests) if step % EVERY == 0 or share >= 1 else None
        spent += time.perf_counter() - started
        yield Progress(step, share, loss.item(), recognized, tested, rate)
        if share >= 1:
            return


def _share(step: int, spent: float, recipe: Recipe) -> float:
    """Compute the finished share of the training."""
    of_time = 0.0 if recipe.seconds is None else spent / recipe.seconds
    return min(max(step / recipe.steps, of_time), 1.0)


def height(share: float) -> float:
    """Compute the learning rate as a share of its maximum: linear warmup, then cosine decay."""
    if share < WARM:
        return max(share / WARM, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * (share - WARM) / (1 - WARM))


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    """Group the parameters for the optimizer: no weight decay for biases and per-channel scales."""
    free = [p for p in parameters if p.squeeze().ndim <= 1]
    decaying = [p for p in parameters if p.squeeze().ndim > 1]
    return [{"params": decaying, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}]


def _batch(
    scenes: Scenes, nothing: Tensor | None, recipe: Recipe, turn: bool, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch: images (B, 3, H, W), target probabilities (B, classes), and the labels (batch,)."""
    chosen = torch.randint(0, len(scenes), (recipe.batch,), generator=generator)  # (batch,)
    images, labels = scenes.images[chosen], scenes.labels[chosen]  # (batch, 3, H, W), (batch,)
    targets = F.one_hot(labels, classes).float()  # (batch, classes)
    if nothing is not None and recipe.nothing:
        others = torch.randint(0, len(nothing), (recipe.nothing,), generator=generator)  # (nothing,)
        images = torch.cat([images, nothing[others]])  # (B, 3, H, W)
        targets = torch.cat([targets, torch.full((recipe.nothing, classes), 1 / classes)])  # (B, classes)
    return vary(images, generator, turn), targets, labels
