"""Slow float64 references of perturbation and decomposition methods, written from the papers for one image.

Each takes a network in inference mode, one image (C, H, W), a class and the name of a layer. Principal directions
come from the singular value decomposition of the whole matrix, or from power iteration; no Gram matrix is formed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.reference.attribution import enlarge, read_layer

Score = Callable[[Tensor], float]


def _score(model: nn.Module, target: int, probability: bool = False) -> Score:
    """The class's logit, or its softmax probability, for one image (C, H, W)."""

    def ask(image: Tensor) -> float:
        with torch.no_grad():
            logits = [float(value) for value in model(image[None])[0]]
        if not probability:
            return logits[target]
        return math.exp(logits[target]) / sum(math.exp(value) for value in logits)

    return ask


def _softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score - max(scores)) for score in scores)
    return [math.exp(score - max(scores)) / total for score in scores]


def _weighted(weights: list[float], maps: Tensor) -> Tensor:
    """ReLU of the weighted sum of maps (K, h, w)."""
    total = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for weight, one in zip(weights, maps, strict=True):
        total += weight * one
    return total.clamp(min=0)


# Decomposition


def _agreeing(heatmap: Tensor, total: Tensor) -> Tensor:
    """The map with the sign that gives a nonnegative inner product with another map."""
    inner = sum(float(a) * float(b) for a, b in zip(heatmap.flatten(), total.flatten(), strict=True))
    return heatmap if inner >= 0 else -heatmap


def _projection(maps: Tensor) -> Tensor:
    """Maps (K, h, w) projected on the first column of V in O = U S V^T, O of shape (hw, K)."""
    matrix = maps.flatten(1).T  # (hw, K)
    _, _, vt = torch.linalg.svd(matrix, full_matrices=True)
    heatmap = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for k in range(len(maps)):
        heatmap += float(vt[0, k]) * maps[k]
    return _agreeing(heatmap, maps.sum(dim=0))


def eigen_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Muhammad & Yeasin 2020: O = U S V^T, the projection of O on the first eigenvector in V."""
    a, _, _ = read_layer(model, image, target, layer)
    return _projection(a)


def eigen_grad_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """The same for the activations times their gradients."""
    a, g, _ = read_layer(model, image, target, layer)
    return _projection(a * g)


def kpca_cam(
    model: nn.Module, image: Tensor, target: int, layer: str, kernel: str = "sigmoid", gamma: float = 1.0
) -> Tensor:
    """Karmani et al. 2024: kernel PCA over the cells, centered before; Schoelkopf et al. 1998 for the centering."""
    a, _, _ = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    cells = [a[:, i, j] - a.mean(dim=(1, 2)) for i in range(height) for j in range(width)]
    count = len(cells)

    def alike(x: Tensor, y: Tensor) -> float:
        if kernel == "linear":
            return float(x @ y)
        if kernel == "sigmoid":
            return math.tanh(gamma / channels * float(x @ y) + 1)
        return math.exp(-gamma / channels * float(((x - y) ** 2).sum()))

    matrix = torch.tensor([[alike(x, y) for y in cells] for x in cells], dtype=torch.float64)
    ones = torch.full((count, count), 1 / count, dtype=torch.float64)
    centered = matrix - ones @ matrix - matrix @ ones + ones @ matrix @ ones
    values, vectors = torch.linalg.eig(centered)
    first = int(values.real.argmax())
    largest, vector = float(values[first].real), vectors[:, first].real
    coordinate = math.sqrt(max(largest, 0.0)) * vector / vector.norm()
    total = torch.tensor([float(x.sum()) for x in cells], dtype=torch.float64)
    return _agreeing(coordinate, total).reshape(height, width)


def fem(model: nn.Module, image: Tensor, target: int, layer: str, k: float = 2.0) -> Tensor:
    """Fuad et al. 2020: binary maps of what exceeds mean + k std of its channel, weighted by the mean."""
    a, _, _ = read_layer(model, image, target, layer)
    heatmap = torch.zeros(a.shape[1:], dtype=torch.float64)
    for channel in a:
        values = channel.flatten().tolist()
        mean = sum(values) / len(values)
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for i, row in enumerate(channel.tolist()):
            for j, value in enumerate(row):
                if value > mean + k * std:
                    heatmap[i, j] += mean
    return heatmap


# Ablation


def _full_forward(model: nn.Module, image: Tensor, layer: str, activations: Tensor) -> Tensor:
    """The logits of a forward pass with replaced activations (K, h, w) at the layer."""
    hook = model.get_submodule(layer).register_forward_hook(lambda module, args, output: activations[None].clone())
    with torch.no_grad():
        logits: Tensor = model(image[None])[0]
    hook.remove()
    return logits


def ablation_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Desai & Ramaswamy 2020: w_k = (y - y_k) / y, one forward pass per channel; the map is multiplied by y again."""
    a, _, score = read_layer(model, image, target, layer)
    y, slopes = float(score), []
    for k in range(len(a)):
        without = a.clone()
        without[k] = 0
        slopes.append((y - float(_full_forward(model, image, layer, without)[target])) / y)
    return _weighted([slope * y for slope in slopes], a)


# Score-CAM's family


def _scaled(channel: Tensor) -> Tensor:
    """Scaled linearly to [0, 1]; 0 if it is constant."""
    low, high = float(channel.min()), float(channel.max())
    return (channel - low) / (high - low) if high > low else torch.zeros_like(channel)


def noise(shape: tuple[int, ...], count: int, seed: int) -> list[Tensor]:
    """Standard normal noise, drawn sequentially."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def ss_cam(
    model: nn.Module,
    image: Tensor,
    target: int,
    layer: str,
    samples: int = 10,
    sigma: float = 0.2,
    where: str = "mask",
    seed: int = 0,
) -> Tensor:
    """Wang et al. 2020 (SS-CAM): the mean score over noisy masks, or over noisy masked images, softmax, ReLU."""
    a, _, _ = read_layer(model, image, target, layer)
    ask, (colors, height, width) = _score(model, target), image.shape
    masks = [enlarge(_scaled(channel), height, width) for channel in a]
    fields = iter(noise((1 if where == "mask" else colors, height, width), samples * len(a), seed))
    scores = [0.0] * len(a)
    for _ in range(samples):
        for k, mask in enumerate(masks):
            if where == "mask":
                seen = image * (mask + sigma * next(fields)[0])
            else:
                seen = image * mask
                seen = seen + sigma * float(seen.max() - seen.min()) * next(fields)
            scores[k] += ask(seen) / samples
    return _weighted(_softmax(scores), a)


def is_cam(
    model: nn.Module, image: Tensor, target: int, layer: str, steps: int = 10, path: str = "cumulative"
) -> Tensor:
    """Naidu et al. 2020: the mean score over the steps of the integration, softmax over the channels, ReLU."""
    a, _, _ = read_layer(model, image, target, layer)
    ask = _score(model, target)
    scores = []
    for channel in a:
        masked = image * enlarge(_scaled(channel), *image.shape[1:])
        seen, total = torch.zeros_like(image), 0.0
        for step in range(1, steps + 1):
            seen = seen + masked * step / steps if path == "cumulative" else masked * step / steps
            total += ask(seen)
        scores.append(total / steps)
    return _weighted(_softmax(scores), a)


# Covering


def blurred(image: Tensor, std: float) -> Tensor:
    """A Gaussian blur with repeated edges, cut off at three standard deviations, as matrices for rows and columns."""
    reach = math.ceil(3 * std)
    weights = [math.exp(-0.5 * (d / std) ** 2) for d in range(-reach, reach + 1)]

    def mix(length: int) -> Tensor:
        matrix = torch.zeros(length, length, dtype=torch.float64)
        for i in range(length):
            for d, weight in enumerate(weights):
                matrix[i, min(max(i + d - reach, 0), length - 1)] += weight / sum(weights)
        return matrix

    return mix(image.shape[1]) @ image @ mix(image.shape[2]).T


def occlusion(
    model: nn.Module,
    image: Tensor,
    target: int,
    layer: str,
    window: float = 0.2,
    stride: float = 0.05,
    fill: str = "zero",
    score: str = "logit",
) -> Tensor:
    """Zeiler & Fergus 2014, section 4.2: the drop of the score for each square, averaged over those on a pixel."""
    ask, (_, height, width) = _score(model, target, score == "probability"), image.shape
    side = max(1, round(window * min(height, width)))
    step = min(side, max(1, round(stride * min(height, width))))
    cover = torch.zeros_like(image)
    if fill == "mean":
        cover = cover + image.mean(dim=(1, 2))[:, None, None]
    if fill == "blur":
        cover = blurred(image, side / 2)
    whole = ask(image)
    drops: list[list[list[float]]] = [[[] for _ in range(width)] for _ in range(height)]
    tops = sorted({*range(0, height - side + 1, step), height - side})
    lefts = sorted({*range(0, width - side + 1, step), width - side})
    for top, left in itertools.product(tops, lefts):
        changed = image.clone()
        changed[:, top : top + side, left : left + side] = cover[:, top : top + side, left : left + side]
        drop = whole - ask(changed)
        for i in range(top, top + side):
            for j in range(left, left + side):
                drops[i][j].append(drop)
    return torch.tensor([[sum(cell) / len(cell) for cell in row] for row in drops], dtype=torch.float64)


def rise(
    model: nn.Module,
    image: Tensor,
    target: int,
    layer: str,
    masks: int = 1000,
    cells: int = 7,
    p: float = 0.5,
    seed: int = 0,
    score: str = "probability",
) -> Tensor:
    """Petsiuk et al. 2018: S = 1 / (E[M] n) sum f(I * M) M over random grids, enlarged by one cell more and shifted."""
    ask, (_, height, width) = _score(model, target, score == "probability"), image.shape
    rows, columns = math.ceil(height / cells), math.ceil(width / cells)
    footprint = []  # of each cell in the enlarged grid, which is the sum of those that are seen
    for k in range(cells * cells):
        alone = torch.zeros(cells, cells, dtype=torch.float64)
        alone[k // cells, k % cells] = 1
        footprint.append(enlarge(alone, (cells + 1) * rows, (cells + 1) * columns))
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(height, width, dtype=torch.float64)
    for _ in range(masks):
        drawn = torch.rand(cells * cells + 2, generator=generator).tolist()
        top, left = int(drawn[0] * rows), int(drawn[1] * columns)
        large = torch.zeros_like(footprint[0])
        for value, one in zip(drawn[2:], footprint, strict=True):
            large += one if value < p else 0
        mask = large[top : top + height, left : left + width]
        total += ask(image * mask) * mask
    return total / (p * masks)


def rise_exact(
    model: nn.Module, image: Tensor, target: int, cells: int, p: float, score: str = "probability"
) -> Tensor:
    """The exact expectation over all grids, without shift: 1 / E[M] sum P[M] f(I * M) M."""
    ask, (_, height, width) = _score(model, target, score == "probability"), image.shape
    total, expected = torch.zeros(height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.float64)
    for bits in itertools.product((0.0, 1.0), repeat=cells * cells):
        mask = enlarge(torch.tensor(bits, dtype=torch.float64).reshape(cells, cells), height, width)
        chance = p ** sum(bits) * (1 - p) ** (cells * cells - sum(bits))
        total += chance * ask(image * mask) * mask
        expected += chance * mask
    return total / expected
