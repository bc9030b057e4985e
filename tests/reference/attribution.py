"""Slow float64 references of attribution methods, written from the papers with explicit loops for one image.

Each takes a network in inference mode, one image (C, H, W), a class and the name of a layer; the methods at the
input ignore the layer. ReLU rules are written for networks given as a list of steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def read_layer(model: nn.Module, image: Tensor, target: int, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """A (K, h, w), dS_c/dA (K, h, w) and S_c; a zero is added to the output, so the graph is not cut."""
    delta: list[Tensor] = []
    seen: list[Tensor] = []

    def perturb(module: nn.Module, args: object, output: Tensor) -> Tensor:
        delta.append(torch.zeros_like(output).requires_grad_())
        seen.append(output.detach().clone())
        return output + delta[-1]

    hook = model.get_submodule(layer).register_forward_hook(perturb)
    score = model(image[None])[0, target]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, delta[-1])
    return seen[-1][0], gradient[0], score.detach()


def saliency(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Simonyan et al. 2013, section 3.1: the largest magnitude of w = dS_c/dI over the colors."""
    leaf = image.clone().requires_grad_()
    (w,) = torch.autograd.grad(model(leaf[None])[0, target], leaf)
    heatmap = torch.zeros(image.shape[1:], dtype=torch.float64)
    for channel in w:
        heatmap = torch.maximum(heatmap, channel.abs())
    return heatmap


def cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Zhou et al. 2016, Eq. 2: M_c(x, y) = sum_k w_k^c f_k(x, y); the linear layer is called fc."""
    a, _, _ = read_layer(model, image, target, layer)
    weight = model.get_parameter("fc.weight").detach()[target]
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            heatmap[i, j] = sum(float(weight[k]) * float(a[k, i, j]) for k in range(channels))
    return heatmap


def grad_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Selvaraju et al. 2017, Eq. 1: alpha_k = 1/Z sum_ij dy/dA_ij; Eq. 2: ReLU(sum_k alpha_k A_k)."""
    a, g, _ = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for k in range(channels):
        alpha = sum(float(g[k, i, j]) for i in range(height) for j in range(width)) / (height * width)
        heatmap += alpha * a[k]
    return heatmap.clamp(min=0)


def grad_cam_pp(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Chattopadhay et al. 2018, Eq. 19, 10 and 11, with Y = exp(S_c) and its derivatives as they stand there.

    On a network that is piecewise linear above the layer, the n-th derivative of exp(S) is exp(S) g^n. The map
    is divided by exp(S), which the closed form leaves out.
    """
    a, g, score = read_layer(model, image, target, layer)
    channels, height, width = a.shape
    y = math.exp(float(score))
    heatmap = torch.zeros(height, width, dtype=torch.float64)
    for k in range(channels):
        total, weight = float(a[k].sum()), 0.0
        for i in range(height):
            for j in range(width):
                first, second, third = (y * float(g[k, i, j]) ** n for n in (1, 2, 3))
                denominator = 2 * second + total * third
                alpha = second / denominator if denominator != 0 else 0.0
                weight += alpha * max(first, 0.0)
        heatmap += weight * a[k]
    return heatmap.clamp(min=0) / y


def layer_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Jiang et al. 2021, Eq. 5: A^_ij = ReLU(g_ij) A_ij; Eq. 6: ReLU(sum_k A^_k)."""
    a, g, _ = read_layer(model, image, target, layer)
    heatmap = torch.zeros(a.shape[1:], dtype=torch.float64)
    for k in range(len(a)):
        heatmap += torch.where(g[k] > 0, g[k], 0.0) * a[k]
    return heatmap.clamp(min=0)


def enlarge(cells: Tensor, height: int, width: int) -> Tensor:
    """Bilinear enlargement of (h, w) with `align_corners=False`, cell by cell."""
    h, w = cells.shape
    rows: list[list[float]] = cells.tolist()
    out = [[0.0] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0.0), h - 1.0)
            x = min(max((j + 0.5) * w / width - 0.5, 0.0), w - 1.0)
            top, left = int(y), int(x)
            low, right = min(top + 1, h - 1), min(left + 1, w - 1)
            fy, fx = y - top, x - left
            above = (1 - fx) * rows[top][left] + fx * rows[top][right]
            below = (1 - fx) * rows[low][left] + fx * rows[low][right]
            out[i][j] = (1 - fy) * above + fy * below
    return torch.tensor(out, dtype=torch.float64)


def _unit(mask: Tensor) -> Tensor:
    spread = float(mask.max() - mask.min())
    return (mask - mask.min()) / spread if spread > 0 else torch.zeros_like(mask)


def score_cam(model: nn.Module, image: Tensor, target: int, layer: str, convention: str = "logit") -> Tensor:
    """Wang et al. 2020, algorithm 1, with the increase over the baseline (a black image) of definition 3."""
    a, _, _ = read_layer(model, image, target, layer)
    height, width = image.shape[1:]

    def f(seen: Tensor) -> float:
        logits = model(seen[None])[0].detach()
        return float(logits[target] if convention == "logit" else logits.softmax(0)[target])

    baseline = f(torch.zeros_like(image))
    scores = []
    for k in range(len(a)):
        mask = enlarge(_unit(a[k]), height, width) if convention == "logit" else _unit(enlarge(a[k], height, width))
        constant = bool((a[k] == a[k, 0, 0]).all())
        increase = f(image * mask) - baseline
        scores.append((0.0 if constant else increase + baseline) if convention == "official" else increase)
    weights = scores
    if convention != "official":
        total = sum(math.exp(score) for score in scores)
        weights = [math.exp(score) / total for score in scores]
    heatmap = torch.zeros(a.shape[1:], dtype=torch.float64)
    for k, weight in enumerate(weights):
        heatmap += weight * a[k]
    return heatmap.clamp(min=0)


def _rule_backward(relevance: Tensor, entered: Tensor, rule: str) -> Tensor:
    """The gradient below a ReLU: the table of Springenberg et al. 2015, figure 1."""
    if rule == "deconvnet":
        return torch.where(relevance > 0, relevance, 0.0)
    return torch.where((relevance > 0) & (entered > 0), relevance, 0.0)


def relu_rule(net: nn.Module, image: Tensor, target: int, rule: str) -> Tensor:
    """Both ReLU rules on a `ReluNet`, propagated layer by layer with explicit Jacobians."""

    def layer(name: str) -> nn.Module:
        return net.get_submodule(name)

    def back(step: object, entered: Tensor, relevance: Tensor) -> Tensor:
        assert callable(step)
        leaf = entered.clone().requires_grad_()
        (result,) = torch.autograd.grad(step(leaf), leaf, relevance)
        return result

    def first(x: Tensor) -> Tensor:
        out = layer("bn1")(layer("conv1")(x))
        assert isinstance(out, Tensor)
        return out

    def residual(x: Tensor) -> Tensor:
        out = layer("bn2")(layer("conv2")(x)) + x
        assert isinstance(out, Tensor)
        return out

    def gather(x: Tensor) -> Tensor:
        out = layer("hidden")(nn.functional.adaptive_avg_pool2d(x, 4).flatten(1))
        assert isinstance(out, Tensor)
        return out

    pool, fc = layer("pool"), layer("fc")
    x0 = image[None]
    z1 = first(x0).detach()
    a1 = z1.clamp(min=0)
    p1 = pool(a1)
    z2 = residual(p1).detach()
    a2 = z2.clamp(min=0)
    z3 = gather(a2).detach()
    a3 = z3.clamp(min=0)
    start = torch.zeros_like(fc(a3))
    start[0, target] = 1.0
    r = _rule_backward(back(fc, a3, start), z3, rule)
    r = _rule_backward(back(gather, a2, r), z2, rule)
    r = _rule_backward(back(pool, a1, back(residual, p1, r)), z1, rule)
    return back(first, x0, r)[0]


def deconvnet(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Zeiler & Fergus 2014, section 2.1, on a `ReluNet`."""
    return relu_rule(model, image, target, "deconvnet")


def guided_backprop(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Springenberg et al. 2015, section 3.4, on a `ReluNet`."""
    return relu_rule(model, image, target, "guided")


def guided_grad_cam(model: nn.Module, image: Tensor, target: int, layer: str) -> Tensor:
    """Selvaraju et al. 2017, section 3.2: the product of guided backpropagation and the enlarged Grad-CAM."""
    coarse = enlarge(grad_cam(model, image, target, layer), *image.shape[1:])
    return guided_backprop(model, image, target, layer) * coarse
