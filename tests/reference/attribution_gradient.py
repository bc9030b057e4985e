"""Slow float64 references of gradient methods, written from the papers, as in `attribution`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tests.reference.attribution import enlarge, layer_cam, read_layer


def xgrad_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Fu et al. 2020: alpha_k = sum_xy (F_k(x, y) / sum F_k) dS/dF_k(x, y)."""
    a, g, _ = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for k in range(channels):
        total = sum(float(a[k, i, j]) for i in range(height) for j in range(width))
        alpha = 0.0
        for i in range(height):
            for j in range(width):
                alpha += float(a[k, i, j]) / total * float(g[k, i, j]) if total != 0 else 0.0
        heatmap += alpha * a[k]
    return heatmap.clamp(min=0)


def hires_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Draelos & Carin 2020: the sum over the channels of the gradient times the activation, cell by cell."""
    a, g, _ = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            heatmap[i, j] = sum(float(g[k, i, j]) * float(a[k, i, j]) for k in range(channels))
    return heatmap


def element_wise_grad_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """The library's definition: max(g A, 0), summed over the channels."""
    a, g, _ = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            heatmap[i, j] = sum(max(float(g[k, i, j]) * float(a[k, i, j]), 0.0) for k in range(channels))
    return heatmap


def finer_cam(model: nn.Module, image: Tensor, target: int, layer: str, gamma: float = 1.0, similar: int = 1) -> Tensor:
    """Zhang et al. 2025: alpha_k = 1/Z sum_ij d(y^c - gamma mean y^d)/dA_ij; ReLU(sum_k alpha_k A_k)."""
    logits = model(image[None])[0].detach().tolist()
    others = sorted((c for c in range(len(logits)) if c != target), key=lambda c: -logits[c])[:similar]
    a, g, _ = read_layer(model, image, target, layer)
    for other in others:
        g = g - gamma / len(others) * read_layer(model, image, other, layer)[1]
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for k in range(channels):
        alpha = sum(float(g[k, i, j]) for i in range(height) for j in range(width)) / (height * width)
        heatmap += alpha * a[k]
    return heatmap.clamp(min=0)


def shapley_cam(model: nn.Module, image: Tensor, target: int, layer: str, utility: str = "rest") -> Tensor:
    """Cai 2025: the weight is the mean of grad U - 1/2 H A, here with the whole Hessian H, row by row."""
    moved: list[Tensor] = []
    seen: list[Tensor] = []

    def perturb(module: nn.Module, args: object, output: Tensor) -> Tensor:
        moved.append(torch.zeros_like(output).requires_grad_())
        seen.append(output.detach().clone())
        return output + moved[-1]

    hook = model.get_submodule(layer).register_forward_hook(perturb)
    logits = model(image[None])[0]
    hook.remove()
    value = logits[target]
    if utility == "rest":
        value = value + (logits[target].exp() / logits.exp().sum()).log()
    (gradient,) = torch.autograd.grad(value, moved[-1], create_graph=True)
    first, a = gradient.flatten(), seen[-1].flatten()
    weights = first.detach().clone()
    for row in range(len(first) if first.requires_grad else 0):
        (second,) = torch.autograd.grad(first[row], moved[-1], retain_graph=True, allow_unused=True)
        if second is not None:
            weights[row] -= 0.5 * sum(float(h) * float(v) for h, v in zip(second.flatten(), a, strict=True))
    maps, weights = seen[-1][0], weights.view_as(seen[-1])[0]
    heatmap = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for k in range(len(maps)):
        heatmap += weights[k].mean() * maps[k]
    return heatmap.clamp(min=0)


def layer_cam_fusion(model: nn.Module, image: Tensor, target: int, layer: str, gamma: float = 2.0) -> Tensor:
    """Jiang et al. 2021: tanh(gamma M / max M) on all but the two deepest layers, then the maximum of all."""
    finished: list[tuple[str, tuple[int, int]]] = []
    hooks = []
    for name, module in model.named_modules():
        if name:

            def note(module: nn.Module, args: object, output: Tensor, name: str = name) -> None:
                if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                    finished[:] = [entry for entry in finished if entry[0] != name]
                    finished.append((name, (output.shape[2], output.shape[3])))

            hooks.append(module.register_forward_hook(note))
    model(image[None])
    for hook in hooks:
        hook.remove()
    upto = [name for name, _ in finished].index(layer) + 1
    sizes: list[tuple[int, int]] = []
    names: list[str] = []
    for name, size in reversed(finished[:upto]):
        if size not in sizes:
            sizes.insert(0, size)
            names.insert(0, name)
    height, width = max(sizes)
    fused = torch.zeros(height, width, dtype=torch.float64)
    for depth, name in enumerate(names):
        heatmap = layer_cam(model, image, target, name)
        share = heatmap / heatmap.max() if heatmap.max() > 0 else heatmap
        if depth < len(names) - 2:
            share = (gamma * share).tanh()
        fused = torch.maximum(fused, enlarge(share, height, width))
    return fused


def noisy(image: Tensor, sigma: float, seed: int, sample: int) -> Tensor:
    """The image with Gaussian noise, with sigma as a fraction of the image's range; seeds as in the method."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed + 1000 * sample))
    return image + sigma * float(image.max() - image.min()) * noise.to(torch.float64)


def smooth_grad(
    model: nn.Module, image: Tensor, target: int, layer: str, sigma: float = 0.15, samples: int = 25, seed: int = 0
) -> Tensor:
    """Smilkov et al. 2017, section 3.1: M_c averaged over x + N(0, sigma^2); then the largest magnitude of colors."""
    total = torch.zeros_like(image)
    for sample in range(samples):
        leaf = noisy(image, sigma, seed, sample).requires_grad_()
        (w,) = torch.autograd.grad(model(leaf[None])[0, target], leaf)
        total += w / samples
    heatmap = torch.zeros(image.shape[1:], dtype=torch.float64)
    for channel in total:
        heatmap = torch.maximum(heatmap, channel.abs())
    return heatmap


def smooth_grad_cam_pp(
    model: nn.Module, image: Tensor, target: int, layer: str, sigma: float = 0.15, samples: int = 25, seed: int = 0
) -> Tensor:
    """Omeiza et al. 2019, section 3, with the second power in the numerator and derivatives without exp(S)."""
    a, _, _ = read_layer(model, image, target, layer)
    gradients = [read_layer(model, noisy(image, sigma, seed, s), target, layer)[1] for s in range(samples)]
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for k in range(channels):
        total, weight = float(a[k].sum()), 0.0
        for i in range(height):
            for j in range(width):
                first, second, third = (
                    sum(float(g[k, i, j]) ** power for g in gradients) / samples for power in (1, 2, 3)
                )
                if second > 0:  # the denominator, divided by the second power, is at least 1e-6
                    alpha = 1 / max((2 * second + total * third) / second, 1e-6)
                    weight += alpha * max(first, 0.0)
        heatmap += weight * a[k]
    return heatmap.clamp(min=0)


def blurred(channel: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of (H, W), pixel by pixel, up to three standard deviations; edges are repeated."""
    height, width = channel.shape
    reach = math.ceil(3 * sigma)
    weights = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)]
    out = torch.zeros_like(channel)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for di, down in enumerate(weights, -reach):
                for dj, across in enumerate(weights, -reach):
                    row, column = min(max(i + di, 0), height - 1), min(max(j + dj, 0), width - 1)
                    total += down * across * float(channel[row, column])
            out[i, j] = total / sum(weights) ** 2
    return out


def integrated_gradients(
    model: nn.Module, image: Tensor, target: int, layer: str, baseline: str = "mean", steps: int = 50
) -> Tensor:
    """Sundararajan et al. 2017, Eq. 3, at the midpoints of the steps."""
    start = torch.zeros_like(image)
    for index, channel in enumerate(image):
        if baseline == "black":
            start[index] = min(channel.flatten().tolist())
        if baseline == "blur":
            start[index] = blurred(channel, max(channel.shape) / 16)
    total = torch.zeros_like(image)
    for step in range(steps):
        leaf = (start + (step + 0.5) / steps * (image - start)).requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf[None])[0, target], leaf)
        total += gradient / steps
    return (image - start) * total


def full_gradients(model: nn.Module, image: Tensor, target: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Srinivas & Fleuret 2019: x dS/dx, and b dS/db for each layer, b = beta - gamma mu / sigma for a batch norm."""
    shifts: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):

            def add(module: nn.Module, args: object, output: Tensor, name: str = name) -> Tensor:
                shifts[name] = torch.zeros_like(output).requires_grad_()
                return output + shifts[name]

            hooks.append(module.register_forward_hook(add))
    leaf = image.clone().requires_grad_()
    score = model(leaf[None])[0, target]
    for hook in hooks:
        hook.remove()
    found = torch.autograd.grad(score, [leaf, *shifts.values()])
    parts = {}
    for name, gradient in zip(shifts, found[1:], strict=True):
        module = model.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
        bias = module.bias
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            bias = module.bias - module.weight * module.running_mean / (module.running_var + module.eps).sqrt()
        assert bias is not None
        shape = (-1, 1, 1) if gradient.ndim == 4 else (-1,)
        parts[name] = bias.detach().view(shape) * gradient[0]
    return image * found[0], parts


def full_grad(model: nn.Module, image: Tensor, target: int, layer: str, rescale: bool = True) -> Tensor:
    """Srinivas & Fleuret 2019, Eq. 4, with psi = magnitude, rescaled to 0 to 1 within the layer, enlarged."""
    first, parts = full_gradients(model, image, target)
    heatmap = torch.zeros(image.shape[1:], dtype=torch.float64)
    for part in (first, *parts.values()):
        if part.ndim == 3:
            cells = part.abs()
            low, high = float(cells.min()), float(cells.max())
            for channel in cells:
                scaled = (channel - low) / (high - low) if rescale else channel
                heatmap += enlarge(scaled, *image.shape[1:])
    return heatmap
