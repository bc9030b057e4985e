"""Training a tiny network on generated scenes, step by step: so that it can be watched, and stopped at any step."""

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
WARM = 0.15  # share of the training in which the learning rate rises
SMOOTHING = 0.05  # of the labels
DECAY = 0.02  # of the weights
EVERY = 20  # steps between two measurements on scenes that are not trained on


TRAINING, CLUTTER, TESTS, STRANGERS = 1_000_000, 2_000_000, 0, 3_000_000  # seeds of the first scenes of each set


@dataclass(frozen=True)
class Recipe:
    """How a tiny network is trained.

    Attributes:
        norm: its normalization.
        seed: of its first weights and of the order of the scenes.
        rate: the highest learning rate; it rises to it and falls to 0 along a cosine.
        steps: how many batches; with `seconds` the most there may be.
        seconds: of computing, after which it is finished; None: after `steps`, and so the same on each run.
        batch: scenes in a batch.
        nothing: scenes of no class beside them, trained towards equal probabilities, if there are any.
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
                "training needs at least one step, batches of at least 2 scenes, and not less than none of no class; "
                f"received {self.steps}, {self.batch} and {self.nothing}"
            )
        if not self.rate > 0 or (self.seconds is not None and not self.seconds > 0):
            raise ValueError(f"learning rate and seconds must be above 0; received {self.rate:g} and {self.seconds}")


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        step: how many steps were made.
        share: how much of the training is done, 0 to 1.
        loss: of this step's batch.
        accuracy: share of the scenes of this batch that were recognized.
        tested: share of scenes that are not trained on that were recognized; measured every EVERY steps, else None.
        rate: the learning rate of this step.
    """

    step: int
    share: float
    loss: float
    accuracy: float
    tested: float | None
    rate: float


def tiny_net(norm: Norm, seed: int = 0, classes: int = len(CLASSES)) -> ResidualNet:
    """A network that learns the scenes in about a minute, with its first random weights, in inference mode."""
    generator = torch.Generator().manual_seed(seed)
    return ResidualNet(classes, norm, WIDTHS, BLOCKS, STRIDES, generator).eval()


def to_input(images: Tensor) -> Tensor:
    """The network's input (N, 3, H, W) for pictures, uint8 (N, 3, H, W): standardized per color."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    return (images.float() / 255 - mean) / std  # (N, 3, H, W)


def vary(images: Tensor, generator: torch.Generator, turn: bool = True) -> Tensor:
    """The same scenes with their colors exchanged or negative, and mirrored or turned by quarters.

    Args:
        images: uint8 (N, 3, H, W), squares.
        generator: the source of chance.
        turn: whether all this is done; else only colors are exchanged, as a watermark has its corner and its gray.

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
    """The probability (N, classes) of each class for pictures, uint8 (N, 3, H, W), by a network in inference mode."""
    return torch.cat([model(to_input(part)).softmax(dim=1) for part in torch.split(images, 256)])  # (N, classes)


def accuracy(model: ResidualNet, scenes: Scenes) -> float:
    """The share of scenes whose object a network in inference mode recognizes."""
    return float((probabilities(model, scenes.images).argmax(dim=1) == scenes.labels).float().mean())


def train(
    model: ResidualNet, scenes: Scenes, nothing: Tensor | None, tests: Scenes, recipe: Recipe, turn: bool = True
) -> Iterator[Progress]:
    """Train a network in place; nothing is computed between two steps, so it is stopped by asking for no more.

    Args:
        model: a network on the CPU; after each step it is in inference mode.
        scenes: with objects, to be trained on.
        nothing: pictures of no class, uint8 (M, 3, H, W), of which it is to be unsure; None: there are none.
        tests: with objects, not trained on, to measure what it recognizes.
        recipe: how.
        turn: see `vary`.

    Yields:
        Its progress after each step.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    parameters = list(model.parameters())
    descent = torch.optim.AdamW(_groups(parameters), lr=recipe.rate, betas=(0.9, 0.99))
    spent = 0.0
    for step in range(1, recipe.steps + 1):
        started = time.perf_counter()
        rate = recipe.rate * height(_share(step - 1, spent, recipe))
        images, wanted, labels = _batch(scenes, nothing, recipe, turn, model.fc.out_features, generator)
        model.train()
        with recording():
            logits = model(to_input(images))  # (B, classes)
            loss = F.cross_entropy(logits, wanted, label_smoothing=SMOOTHING)  # ()
            gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in descent.param_groups:
            group["lr"] = rate
        descent.step()
        model.eval()
        recognized = float((logits[: len(labels)].argmax(dim=1) == labels).float().mean())
        share = _share(step, spent + time.perf_counter() - started, recipe)
        tested = accuracy(model, tests) if step % EVERY == 0 or share >= 1 else None
        spent += time.perf_counter() - started
        yield Progress(step, share, loss.item(), recognized, tested, rate)
        if share >= 1:
            return


def _share(step: int, spent: float, recipe: Recipe) -> float:
    """How much of the training is done."""
    of_time = 0.0 if recipe.seconds is None else spent / recipe.seconds
    return min(max(step / recipe.steps, of_time), 1.0)


def height(share: float) -> float:
    """The learning rate as a share of its highest: up along a line, then down along a cosine."""
    if share < WARM:
        return max(share / WARM, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * (share - WARM) / (1 - WARM))


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    """The parameters for the optimizer: biases and what scales a channel do not decay."""
    free = [p for p in parameters if p.squeeze().ndim <= 1]
    decaying = [p for p in parameters if p.squeeze().ndim > 1]
    return [{"params": decaying, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}]


def _batch(
    scenes: Scenes, nothing: Tensor | None, recipe: Recipe, turn: bool, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: pictures (B, 3, H, W), wanted probabilities (B, classes), and the labels of those that have one."""
    chosen = torch.randint(0, len(scenes), (recipe.batch,), generator=generator)  # (batch,)
    images, labels = scenes.images[chosen], scenes.labels[chosen]  # (batch, 3, H, W), (batch,)
    wanted = F.one_hot(labels, classes).float()  # (batch, classes)
    if nothing is not None and recipe.nothing:
        others = torch.randint(0, len(nothing), (recipe.nothing,), generator=generator)  # (nothing,)
        images = torch.cat([images, nothing[others]])  # (B, 3, H, W)
        wanted = torch.cat([wanted, torch.full((recipe.nothing, classes), 1 / classes)])  # (B, classes)
    return vary(images, generator, turn), wanted, labels
