"""Gradients averaged over noisy copies of the image, which suppresses noise in the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from normviz.attribution.engine.averaging import averaged_map, noisy_samples
from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, attribution

__all__ = ["smooth_grad", "smooth_grad_cam_pp"]


@attribution(
    title="SmoothGrad", cite="smilkov2017smoothgrad", level="input",
    unit="logits per unit of input",
    formula=r"M_{ij} = \max_{\mathrm{ch}} \Big| \frac{1}{n} \sum_{s=1}^{n} \frac{\partial S_c}{\partial x_{\mathrm{ch}"
    r"\,ij}} (x + \varepsilon_s) \Big|, \quad \varepsilon_s \sim \mathcal{N}\big(0, (\sigma\,(\max x - \min x))^2\big)"
    r"_{\text{seed } r}",
)  # fmt: skip
def smooth_grad(
    probe: Probe,
    sigma: Annotated[float, Range(0.0, 1.0, r"\sigma")] = 0.15,
    samples: Annotated[int, Range(1, 500, "n")] = 25,
    seed: Annotated[int, Range(0, 999, "r")] = 0,
    *,
    chunk: int = 8,
    progress: Callable[[float], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Saliency from the mean gradient over noisy copies of the image; signed gradients are averaged, so noise cancels.

    Args:
        probe: network, images (N, C, H, W) and class; the layer has no effect.
        sigma: standard deviation of the noise, as a fraction of the image's range; 0 is saliency.
        samples: number of noisy copies.
        seed: random seed of the noise.
        chunk: noisy copies per pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map so far.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, H, W), at least 0, in logits per unit of the input.

    Raises:
        ValueError: chunk or samples below 1.

    Source:
        Smilkov et al. 2017, section 3.1.
    """

    def part(index: int, copies: range) -> Tensor:
        return probe.gradient_at(noisy_samples(probe.images[index], sigma, seed, copies), index).sum(dim=0)  # (C, H, W)

    def draw(gradients: Tensor) -> Tensor:
        return gradients.abs().amax(dim=1)  # (N, H, W)

    heatmap = averaged_map(len(probe.images), samples, chunk, part, draw, progress, preview)
    if note:
        note(_describe(samples, sigma, seed))
    return heatmap


@attribution(
    title="Smooth Grad-CAM++", cite="omeiza2019smooth", level="layer", unit="logits",
    formula=r"M_{ij} = \mathrm{ReLU}\Big(\sum_k w_k A_{kij}\Big), \quad w_k = \sum_{ij} \frac{\overline{g^2_{kij}}}"
    r"{2\,\overline{g^2_{kij}} + \overline{g^3_{kij}} \sum_{ab} A_{kab}}\,\mathrm{ReLU}\big(\overline{g_{kij}}\big), "
    r"\quad \overline{g^p} = \frac{1}{n} \sum_{s=1}^{n} g(x + \varepsilon_s)^p, \quad \varepsilon_s \sim \mathcal{N}"
    r"\big(0, (\sigma\,(\max x - \min x))^2\big)_{\text{seed } r}",
)  # fmt: skip
def smooth_grad_cam_pp(
    probe: Probe,
    sigma: Annotated[float, Range(0.0, 1.0, r"\sigma")] = 0.15,
    samples: Annotated[int, Range(1, 500, "n")] = 25,
    seed: Annotated[int, Range(0, 999, "r")] = 0,
    *,
    chunk: int = 8,
    progress: Callable[[float], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tensor:
    """Grad-CAM++ with powers of the gradient that are averaged over noisy copies of the image.

    The activations are those of the image without noise. As in Grad-CAM++, the factor exp(S_c) is omitted, so all
    copies have equal weight, and a denominator that crosses 0 is clamped to at least 1e-6. The numerator is the second
    power: the paper prints the first, which would not reduce to Grad-CAM++ without noise.

    Args:
        probe: network, images, class and layer.
        sigma: standard deviation of the noise, as a fraction of the image's range; 0 is Grad-CAM++.
        samples: number of noisy copies.
        seed: random seed of the noise.
        chunk: noisy copies per pass; changes speed and memory, not the map.
        progress: called after each chunk with the finished fraction, 0 to 1; may raise to cancel.
        preview: called after each chunk with the map so far.
        note: called with a sentence on how the map was computed.

    Returns:
        (N, h, w), at least 0, in logits.

    Raises:
        ValueError: chunk or samples below 1.

    Source:
        Omeiza et al. 2019, section 3.
    """
    activations = probe.activations  # (N, K, h, w)
    total = activations.sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)

    def part(index: int, copies: range) -> Tensor:
        _, g = probe.layer_at(noisy_samples(probe.images[index], sigma, seed, copies), index)  # (b, K, h, w)
        return torch.stack([(g**power).sum(dim=0) for power in (1, 2, 3)])  # (3, K, h, w)

    def draw(powers: Tensor) -> Tensor:
        first, second, third = powers.unbind(dim=1)  # (N, K, h, w) each
        slope = third / torch.where(second > 0, second, 1)  # (N, K, h, w)
        alpha = torch.where(second > 0, 1 / (2 + total * slope).clamp(min=1e-6), 0)  # (N, K, h, w)
        weights = (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
        return (weights * activations).sum(dim=1).relu()  # (N, h, w)

    heatmap = averaged_map(len(probe.images), samples, chunk, part, draw, progress, preview)
    if note:
        note(_describe(samples, sigma, seed))
    return heatmap


def _describe(samples: int, sigma: float, seed: int) -> str:
    return (
        f"Mean over {samples} noisy copies, an estimate that improves with their number; "
        f"standard deviation of the noise: {sigma:.0%} of the image's range, seed {seed}."
    )
