"""Train the embedded photo classifier on labeled photos, and write its weights and its model card.

    python -m scripts.train_photos DATA [--norm batch] [--epochs 60] [--out assets]

DATA is a folder with `train`, `val` and `outliers`, each a folder of class folders or a zip of the
same. Outliers teach the network to be unsure: four of five are trained toward the uniform
distribution (Hendrycks et al. 2019, 1812.04606), every fifth by sorted name is held out for testing.
An interrupted run resumes after its last finished epoch if the same command is run again. With `--measure-only`, the
weights in `--out` are measured again, and the measurements and the model card are updated.
"""

from __future__ import annotations

import argparse
import io
import math
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from normviz.models.embedded import MEAN, STD, Measured, read_weights, write_weights
from normviz.models.residual import NORMS, ResidualNet
from scripts.confidence import auroc, best_threshold
from scripts.model_card import Result, card

STORED = 144  # pixels: side of the photos in memory
SIDES = (96, 112, 128, 144)  # side in pixels in the three thirds of the long cycle and in the short cycle
MEASURED_AT = (128, 144, 160, 192, 224)  # side in pixels of the test photos


# ---------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Photos:
    """Photos (N, 3, 144, 144) in uint8 with labels (N,) and the names of the classes."""

    images: Tensor
    labels: Tensor
    classes: list[str]


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (relative path, bytes) of every photo in a folder or zip file, sorted by path."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"}):
            yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(n for n in archive.namelist() if not n.endswith("/")):
            yield name, archive.read(name)


def load_photos(data: Path, split: str) -> Photos:
    """Read one split of `data` and resize each photo to a square; the class is the folder name."""
    source = next((p for p in (data / split, data / f"{split}.zip") if p.exists()), None)
    if source is None:
        raise SystemExit(f"{data} contains neither {split}/ nor {split}.zip")
    images, names = [], []
    for name, content in tqdm(_files(source), desc=f"reading {split}", unit="photo"):
        photo = Image.open(io.BytesIO(content)).convert("RGB")
        if photo.size != (STORED, STORED):
            photo = photo.resize((STORED, STORED), Image.Resampling.BICUBIC)
        images.append(torch.from_numpy(np.array(photo)).permute(2, 0, 1))  # (3, 144, 144)
        names.append(name.split("/")[0].replace("_", " ") if "/" in name else "")
    classes = sorted(set(names), key=str.lower)
    labels = torch.tensor([classes.index(name) for name in names])  # (N,)
    return Photos(torch.stack(images), labels, classes)


def to_input(images: Tensor) -> Tensor:
    """Standardize images, uint8 (N, 3, H, W), per color channel."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)  # (1, 3, 1, 1)
    return (images.float() / 255 - mean) / std  # (N, 3, H, W)


def augment(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Augment photos to random views with `size` pixels per side, in one `grid_sample`.

    80% of the views show 25% to 100% of the area; 20% are zoomed out to at least 40% of the size, with reflected
    borders. Aspect ratio ±35%, rotation ±8 degrees, flips, brightness, contrast and saturation.
    """
    n, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator).mul_(high - low).add_(low).to(device)  # (n,)

    zoomed_out = uniform(0, 1) < 0.2  # (n,)
    scale = torch.where(zoomed_out, uniform(1.0, 2.5), uniform(0.25, 1.0).sqrt())  # (n,)
    aspect = torch.exp(uniform(-0.3, 0.3) / 2)  # (n,)
    sx, sy = scale * aspect, scale / aspect  # (n,)
    tx = uniform(-1, 1) * (1 - sx).abs()  # (n,)
    ty = uniform(-1, 1) * (1 - sy).abs()  # (n,)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)  # (n,)
    angle = uniform(-8, 8) * math.pi / 180  # (n,)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [torch.stack([sx * cos * flip, -sy * sin, tx], 1), torch.stack([sx * sin * flip, sy * cos, ty], 1)], 1
    )  # (n, 2, 3)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)  # (n, size, size, 2)
    views = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)  # (n, 3, size, size)
    gray = views.mean(dim=1, keepdim=True)  # (n, 1, size, size)
    views = gray + (views - gray) * uniform(0.6, 1.4).view(n, 1, 1, 1)
    level = views.mean(dim=(1, 2, 3), keepdim=True)  # (n, 1, 1, 1)
    views = level * uniform(0.7, 1.3).view(n, 1, 1, 1) + (views - level) * uniform(0.6, 1.4).view(n, 1, 1, 1)
    return views.clamp_(0, 255)  # (n, 3, size, size)


def mix_outliers(images: Tensor, generator: torch.Generator) -> Tensor:
    """Paste a rectangle of another outlier into half of the outliers, to get more unknown images."""
    n, _, h, w = images.shape
    mixed = images.clone()  # (n, 3, h, w)
    for i in range(n // 2):
        height, width = (int(side * (0.3 + 0.4 * torch.rand((), generator=generator).item())) for side in (h, w))
        top = int(torch.randint(0, h - height, (), generator=generator))
        left = int(torch.randint(0, w - width, (), generator=generator))
        mixed[i, :, top : top + height, left : left + width] = images[
            n - 1 - i, :, top : top + height, left : left + width
        ]
    return mixed


def blend_outliers(
    outliers: Tensor, known: Tensor, labels: Tensor, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Blend outliers with other images, to get more unknown images.

    One third does not change, one third is blended with another outlier, and one third with a known photo. The class of
    the known photo gets its share as target probability.

    Args:
        outliers: pixels (M, 3, h, w).
        known: pixels (B, 3, h, w), B at least M.
        labels: (B,) the classes of the known photos.
        classes: number of classes.
        generator: random generator.

    Returns:
        The pixels (M, 3, h, w) and the target probabilities (M, classes).
    """
    m = len(outliers)
    share = torch.rand(m, generator=generator) * 0.5  # (M,) of the other image
    share[: m // 3] = 0
    other = outliers.roll(1, dims=0).clone()  # (M, 3, h, w)
    other[2 * m // 3 :] = known[2 * m // 3 : m]
    targets = torch.full((m, classes), 1 / classes)  # (M, classes)
    for i in range(2 * m // 3, m):
        targets[i] *= 1 - share[i]
        targets[i, labels[i]] += share[i]
    weight = share.view(m, 1, 1, 1).to(outliers.device)  # (M, 1, 1, 1)
    return outliers * (1 - weight) + other * weight, targets.to(outliers.device)


# ----------------------------------------------------------------------------------------- measuring
@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, size: int, device: torch.device) -> Tensor:
    """Compute probabilities (N, classes) of whole photos with `size` pixels per side, on the CPU."""
    model.eval()
    outputs = []
    for chunk in torch.split(images, 128):
        x = to_input(F.interpolate(chunk.to(device).float(), size=(size, size), mode="bilinear", antialias=True))
        outputs.append(model(x.contiguous(memory_format=torch.channels_last)).float().softmax(dim=1).cpu())
    return torch.cat(outputs)  # (N, classes)


def measure(model: nn.Module, val: Photos, unknown: Tensor, size: int, device: torch.device) -> Result:
    """Measure accuracy, confusion matrix, and the separation of known and unknown photos, at one size."""
    probabilities = predict(model, val.images, size, device)  # (N, classes)
    confidence, guess = probabilities.max(dim=1)  # (N,), (N,)
    stranger = predict(model, unknown, size, device).max(dim=1).values  # (M,)
    right = guess == val.labels  # (N,)
    threshold = best_threshold(confidence, stranger)
    classes = len(val.classes)
    return Result(
        Measured(
            size=size,
            top1=right.double().mean().item(),
            auroc=auroc(confidence, stranger),
            threshold=threshold,
            kept=(confidence >= threshold).double().mean().item(),
            caught=(stranger < threshold).double().mean().item(),
        ),
        sure_when_right=confidence[right].median().item(),
        sure_when_wrong=confidence[~right].median().item(),
        confusion=torch.bincount(val.labels * classes + guess, minlength=classes**2).view(classes, classes),
    )


# ------------------------------------------------------------------------------------------ training
@dataclass(frozen=True)
class Plan:
    """Schedule of the epochs: a long cycle, then a short one with more outliers.

    Attributes:
        epochs: epochs of the long cycle.
        finish: epochs of the short cycle.
        rate: peak learning rate of the long cycle; the short cycle starts at a fifth of it.
        steps: steps per epoch.
        sides: side of the photos in pixels, in the three thirds of the long cycle and in the short cycle.
    """

    epochs: int
    finish: int
    rate: float
    steps: int
    sides: Sequence[int] = SIDES

    def finishing(self, epoch: int) -> bool:
        """Whether the epoch belongs to the short cycle."""
        return epoch >= self.epochs

    def side(self, epoch: int) -> int:
        """Side of the photos of the epoch, in pixels."""
        if self.finishing(epoch):
            return self.sides[3]
        return self.sides[0 if epoch < 0.35 * self.epochs else 1 if epoch < 0.68 * self.epochs else 2]

    def rate_at(self, epoch: int, step: int) -> float:
        """Compute the learning rate: linear warmup over 15% of the long cycle, then cosine decay to 0."""
        done = epoch + step / self.steps
        if self.finishing(epoch):
            return self.rate / 5 * 0.5 * (1 + math.cos(math.pi * (done - self.epochs) / self.finish))
        rise = 0.15 * self.epochs
        if done < rise:
            return self.rate * done / rise
        return self.rate * 0.5 * (1 + math.cos(math.pi * (done - rise) / (self.epochs - rise)))


def optimizer_for(model: nn.Module, rate: float, decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay for matrices and kernels only."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)


def save_checkpoint(path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.SGD, epoch: int) -> None:
    """Save the state needed to resume after `epoch` in one safetensors file, atomically."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        tensors[f"momentum.{i}"] = optimizer.state[parameter]["momentum_buffer"]
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, path.with_suffix(".new"), metadata={"epoch": str(epoch)})
    path.with_suffix(".new").replace(path)


def load_checkpoint(path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Restore a checkpoint and return the number of finished epochs."""
    tensors = load_file(path)
    for prefix, net in (("model.", model), ("average.", average)):
        net.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{i}"].to(parameter.device)
    with safe_open(path, "pt") as file:
        return int(file.metadata()["epoch"])


def follow(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Update the exponential moving average of parameters and buffers."""
    with torch.no_grad():
        for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if a.is_floating_point():
                a.lerp_(b, 1 - keep)
            else:
                a.copy_(b)


def train(
    args: argparse.Namespace, photos: Photos, outliers: Tensor, val: Photos, unknown: Tensor, device: torch.device
) -> ResidualNet:
    """Train a network and return its exponential moving average."""
    torch.manual_seed(args.seed)
    classes = len(photos.classes)
    model = ResidualNet(classes, norm=args.norm).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = ResidualNet(classes, norm=args.norm).to(device)
    average.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(model.state_dict())
    optimizer = optimizer_for(model, args.rate, args.decay)
    plan = Plan(args.epochs, args.finish, args.rate, len(photos.images) // args.batch, args.sides)
    checkpoint = args.checkpoints / f"{args.name}_{args.norm}.safetensors"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    first = load_checkpoint(checkpoint, model, average, optimizer) if checkpoint.exists() else 0
    for epoch in range(first, args.epochs + args.finish):
        generator = torch.Generator().manual_seed(args.seed * 100_003 + epoch)
        order = torch.randperm(len(photos.images), generator=generator)  # (N,)
        side, begun, losses = plan.side(epoch), time.perf_counter(), 0.0
        unknowns = args.outliers * (2 if plan.finishing(epoch) else 1)
        what = f"epoch {epoch + 1}/{args.epochs + args.finish} at {side} px"
        model.train()
        for step in tqdm(range(plan.steps), desc=what, leave=False, mininterval=5):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate_at(epoch, step)
            rows = order[step * args.batch : (step + 1) * args.batch]  # (B,)
            others = torch.randint(0, len(outliers), (unknowns,), generator=generator)  # (M,)
            views = augment(torch.cat([photos.images[rows], outliers[others]]).to(device), side, generator)
            known, strange = views[: len(rows)], views[len(rows) :]  # (B, 3, side, side), (M, 3, side, side)
            if plan.finishing(epoch):
                strange, targets = blend_outliers(strange, known, photos.labels[rows], classes, generator)
            else:
                strange = mix_outliers(strange, generator)
                targets = strange.new_full((unknowns, classes), 1 / classes)  # (M, classes)
            x = to_input(torch.cat([known, strange])).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                logits = model(x)  # (B + M, classes)
            logits = logits.float()
            loss = F.cross_entropy(logits[: len(rows)], photos.labels[rows].to(device), label_smoothing=0.1)
            loss = loss + args.exposure * F.cross_entropy(logits[len(rows) :], targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            follow(average, model, min(args.keep, (1 + epoch * plan.steps + step) / (10 + epoch * plan.steps + step)))
            losses += loss.item()
        if not math.isfinite(losses):
            raise SystemExit("the loss is no longer finite; lower --rate")
        save_checkpoint(checkpoint, model, average, optimizer, epoch + 1)
        line = f"epoch {epoch + 1}: loss {losses / plan.steps:.3f}, {time.perf_counter() - begun:.0f} s"
        if (epoch + 1) % 10 == 0 or epoch + 1 == args.epochs + args.finish:
            measured = measure(average, val, unknown, 128, device).measured
            line += f", validation top-1 {measured.top1:.4f}, AUROC {measured.auroc:.4f}"
        print(line, flush=True)
    return average


# --------------------------------------------------------------------------------------- publishing
def publish(
    path: Path, args: argparse.Namespace, photos: int, val: Photos, unknown: Tensor, device: torch.device
) -> None:
    """Measure the weights stored at `path`, and write the measurements and the model card."""
    model, classes = read_weights(path)
    results = []
    for size in MEASURED_AT:
        results.append(measure(model.to(device), val, unknown, size, device))
        print(results[-1].measured, flush=True)
    parameters = sum(p.numel() for p in model.parameters())
    path.with_suffix(".md").write_text(card(args, results, classes, photos, parameters), encoding="utf-8")
    write_weights(path, model, classes, [result.measured for result in results])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the data, train, save the weights, and measure them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--norm", choices=NORMS, default="batch")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--finish", type=int, default=12, help="additional epochs with more outliers")
    parser.add_argument("--sides", type=int, nargs=4, default=SIDES, help="pixels: long cycle in thirds, short cycle")
    parser.add_argument("--name", default="photos", help="file name: NAME_NORM.safetensors")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--outliers", type=int, default=12, help="outliers in each batch")
    parser.add_argument("--exposure", type=float, default=0.5, help="weight of the outliers' loss")
    parser.add_argument("--rate", type=float, default=0.2, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--keep", type=float, default=0.998, help="decay of the moving average per step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("assets"))
    parser.add_argument("--checkpoints", type=Path, default=Path("runs"))
    parser.add_argument("--measure-only", action="store_true", help="measure the weights in --out again")
    args = parser.parse_args(arguments)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    photos, val = load_photos(args.data, "train"), load_photos(args.data, "val")
    every = load_photos(args.data, "outliers").images  # (M, 3, 144, 144), sorted by name
    held_out = torch.arange(len(every)) % 5 == 0  # (M,)
    path = args.out / f"{args.name}_{args.norm}.safetensors"
    if not args.measure_only:
        write_weights(path, train(args, photos, every[~held_out], val, every[held_out], device), photos.classes)
    publish(path, args, len(photos.images), val, every[held_out], device)


if __name__ == "__main__":
    main()
