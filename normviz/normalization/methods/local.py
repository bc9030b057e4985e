"""Normalization by the neighbors of each value, as in early convolutional networks and models of neurons."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input, check_parameters, per_channel
from normviz.registry import Range, normalization

__all__ = ["divisive_norm", "local_contrast_norm", "local_response_norm"]

_CHUNK = 2**19  # number of values that local_response_norm processes at a time, to stay in the processor's cache


@normalization(
    title="Local Response Normalization",
    cite="krizhevsky2012imagenet",
    aliases=("LRN", "brightness normalization"),
    axes={"nchw": None, "ncdhw": None},
    formula=r"y_i = \frac{x_i}{\bigl(k + \alpha \sum_{|j - i| \le \lfloor n/2 \rfloor} x_j^2\bigr)^\beta}",
    use="To reproduce networks from the time of AlexNet; batch norm has replaced it.",
    torch="F.local_response_norm(x, size, alpha * size, beta, k)",
    common_mistake="F.local_response_norm divides alpha by n, so multiply the alpha of the paper by n.",
)
def local_response_norm(
    x: Tensor,
    size: Annotated[int, Range(1, 31, symbol="n", odd=True)] = 5,
    alpha: Annotated[float, Range(0.0, 1.0, symbol=r"\alpha")] = 1e-4,
    beta: Annotated[float, Range(0.0, 2.0, symbol=r"\beta")] = 0.75,
    k: Annotated[float, Range(0.01, 10.0, symbol="k")] = 2.0,
) -> Tensor:
    """Divide each value by a power of the sum of squares in a window of neighboring channels.

    Args:
        x: (N, C, ...).
        size: the number of channels in the window, odd; the window is truncated at the first and the last channel.
        alpha: the weight of each square; it is not divided by the size of the window.
        beta: the exponent of the divisor.
        k: added to the weighted squares; above 0.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, an even window size, or parameters for which the divisor can be 0.

    Source:
        Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """
    check_input("local_response_norm", x, lowest_rank=3)
    _check_response("local_response_norm", size, alpha, k)
    values = at_least_float32(x)  # (N, C, ...)
    pieces = torch.split(values, max(1, _CHUNK * len(x) // x.numel()))  # (n, C, ...) each
    if torch.is_grad_enabled() and x.requires_grad:
        return torch.cat([piece * _response(piece, size, alpha, beta, k) for piece in pieces]).to(x.dtype)
    y = torch.empty_like(values)  # (N, C, ...)
    for piece, out in zip(pieces, torch.split(y, len(pieces[0])), strict=True):
        torch.mul(piece, _response(piece, size, alpha, beta, k), out=out)
    return y.to(x.dtype)  # (N, C, ...)


@normalization(
    title="Local Contrast Normalization",
    cite="jarrett2009best",
    aliases=("LCN", "subtractive and divisive normalization"),
    axes={"nchw": None},
    formula=r"y = \frac{v}{\max(\operatorname{mean} \sigma,\, \sigma,\, \epsilon)}, \quad v = x - \textstyle\sum w\,x, "
    r"\; \sigma^2 = \sum w\,v^2 \text{ over } s \times s; \qquad \text{centered: } "
    r"y_i = x_i \big/ \bigl(k + \alpha \sum_{|j - i| \le \lfloor n/2 \rfloor} (x_j - \bar x_j)^2\bigr)^\beta",
    use="To enhance edges and texture in images with uneven lighting; in networks mainly of historical interest.",
    torch="",
    common_mistake="Two methods have this name: one subtracts the local mean and divides by the local standard "
    "deviation, the other only divides.",
)
def local_contrast_norm(
    x: Tensor,
    size: Annotated[int, Range(3, 31, symbol="s", odd=True)] = 9,
    form: Literal["jarrett", "centered"] = "jarrett",
    channels: Annotated[int, Range(1, 31, symbol="n", odd=True)] = 5,
    alpha: Annotated[float, Range(0.0, 1.0, symbol=r"\alpha")] = 1e-4,
    beta: Annotated[float, Range(0.0, 2.0, symbol=r"\beta")] = 0.75,
    k: Annotated[float, Range(0.01, 10.0, symbol="k")] = 2.0,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    """Normalize each value by the values in a spatial window around it.

    At the border, only the part of the window inside the map is used, with weights that sum to 1.

    Args:
        x: (N, C, H, W).
        size: the side length of the square window in pixels, odd.
        form: jarrett subtracts a Gaussian-weighted mean over the window and all channels, then divides by the
            standard deviation there; centered is local response normalization of the differences from the mean of
            each channel in the window.
        channels: for the form centered, the number of neighboring channels in the sum of squares, odd.
        alpha: for the form centered, the weight of each square.
        beta: for the form centered, the exponent of the divisor.
        k: for the form centered, added to the weighted squares; above 0.
        eps: for the form jarrett, the smallest divisor.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, an even window size, or parameters for which the divisor can be 0.

    Source:
        Jarrett et al. 2009, section 2.1; the paper does not state the standard deviation of the Gaussian, which is a
        quarter of the window here. Form centered: Krizhevsky et al. 2012, section 3.3, around the local mean.
    """
    check_input("local_contrast_norm", x, lowest_rank=4)
    if x.ndim != 4:
        raise ValueError(f"local_contrast_norm needs maps (N, C, H, W); received shape {tuple(x.shape)}")
    _check_odd("local_contrast_norm", "size", size)
    values = at_least_float32(x)  # (N, C, H, W)
    centered = values - values.mean((1, 2, 3), keepdim=True)  # (N, C, H, W); a constant offset cancels in every window
    if form == "centered":
        _check_response("local_contrast_norm", channels, alpha, k)
        local_mean = _local_mean(centered, centered.new_ones(size))  # (N, C, H, W)
        return (values * _response(centered - local_mean, channels, alpha, beta, k)).to(x.dtype)  # (N, C, H, W)
    steps = torch.arange(size, dtype=values.dtype, device=x.device) - size // 2  # (size,)
    gaussian = torch.exp(-0.5 * (steps / (size / 4)).square())  # (size,)
    v = centered - _local_mean(centered.mean(1, keepdim=True), gaussian)  # (N, C, H, W)
    variance = _local_mean(v.square().mean(1, keepdim=True), gaussian)  # (N, 1, H, W)
    sigma = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()  # (N, 1, H, W); sqrt has no gradient at 0
    divisor = torch.maximum(sigma, sigma.mean((2, 3), keepdim=True)).clamp_min(eps)  # (N, 1, H, W)
    return (v / divisor).to(x.dtype)  # (N, C, H, W)


@normalization(
    title="Divisive Normalization",
    cite="heeger1992normalization",
    aliases=("normalization model",),
    axes={"nc": "n c -> n", "ntd": "n d t -> n t", "nchw": "n c h w -> n h w", "ncdhw": "n c d h w -> n d h w"},
    formula=r"y_i = \gamma_i\,\frac{\operatorname{sign}(x_i)\,|x_i|^n}{s^n + \sum_j w_{ij}\,|x_j|^n}",
    use="To model neurons that inhibit each other, and to reduce statistical dependence in images.",
    torch="weight[:, None, None] * x * x.abs() ** (power - 1) / (s**power + (x.abs() ** power).sum(1, keepdim=True))",
    common_mistake="The sum grows with the number of channels, so s and gamma must be tuned for each width.",
)
def divisive_norm(
    x: Tensor,
    weight: Tensor | None = None,
    pool: Tensor | None = None,
    power: Annotated[float, Range(1.0, 4.0, symbol="n")] = 2.0,
    s: Annotated[float, Range(0.01, 10.0, symbol="s")] = 1.0,
) -> Tensor:
    """Divide a power of each response by the sum of powers of all responses at the same position, keeping the sign.

    Args:
        x: responses (N, C) or (N, C, ...); a sequence is (N, D, T).
        weight: (C,), the gain gamma, or None for 1.
        pool: (C, C), the weight of channel j (column) in the divisor of channel i (row), at least 0; None for ones.
        power: the exponent n, at least 1.
        s: the response at which a lone channel reaches half of its maximum output; above 0.

    Returns:
        The normalized responses, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape, a power below 1, or an `s` that is not above 0.

    Source:
        Heeger 1992, the normalization model, pooled over all channels of a position; pool weights and signed
        responses as in Lyu & Simoncelli 2008.
    """
    check_input("divisive_norm", x)
    check_parameters("divisive_norm", (x.shape[1],), weight=weight)
    check_parameters("divisive_norm", (x.shape[1],) * 2, pool=pool)
    if power < 1 or s <= 0:
        raise ValueError(f"divisive_norm needs a power of at least 1 and s above 0; received {power:g} and {s:g}")
    values = at_least_float32(x)
    energy = values.abs().pow(power)  # (N, C, ...)
    pooled = energy.sum(1, keepdim=True) if pool is None else _sum_channels(pool, energy)  # (N, 1 or C, ...)
    y: Tensor = torch.copysign(energy, values) / (pooled + s**power)  # (N, C, ...)
    return (y if weight is None else y * per_channel(weight, y)).to(x.dtype)  # (N, C, ...)


def _response(values: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """(k + alpha * sum of squares in a window of channels)^-beta, shape of `values`."""
    ones = values.new_ones(values.shape[1], values.shape[1])  # (C, C)
    band = ones.tril(size // 2).triu(-(size // 2))  # (C, C), 1 if two channels are in one window
    squares = values.square().flatten(2)  # (N, C, P)
    divisor = torch.baddbmm(values.new_full((1, 1, 1), k), band.expand(len(values), -1, -1), squares, alpha=alpha)
    if beta == 0.75:  # two square roots, 3 times as fast as pow
        return (divisor * divisor.sqrt()).rsqrt().view_as(values)  # (N, C, ...)
    return divisor.pow(-beta).view_as(values)  # (N, C, ...)


def _sum_channels(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted sums over the channels: weights (C, C), values (N, C, ...)."""
    sums = torch.matmul(values.movedim(1, -1), weights.to(values.dtype).T)  # (N, ..., C)
    return sums.movedim(-1, 1)  # (N, C, ...)


def _local_mean(maps: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of maps (N, C, H, W) in a square window, truncated at the border.

    The weights (size,) apply along each axis. Two matrix products, one per axis, are faster than a convolution.
    """
    down, across = (_windows(length, weights) for length in maps.shape[2:])  # (H, H), (W, W)
    return torch.matmul(torch.matmul(down, maps), across.T)  # (N, C, H, W)


def _windows(length: int, weights: Tensor) -> Tensor:
    """A matrix (length, length) with the weights (size,) centered at i in row i; each row sums to 1."""
    positions = torch.arange(length, device=weights.device)
    step = positions - positions[:, None] + len(weights) // 2  # (length, length)
    inside = (step >= 0) & (step < len(weights))  # (length, length)
    rows = torch.where(inside, weights[step.clamp(0, len(weights) - 1)], 0)  # (length, length)
    return rows / rows.sum(1, keepdim=True)  # (length, length)


def _check_response(name: str, size: int, alpha: float, k: float) -> None:
    _check_odd(name, "number of channels", size)
    if alpha < 0 or k <= 0:
        raise ValueError(f"{name} needs alpha of at least 0 and k above 0; received {alpha:g} and {k:g}")


def _check_odd(name: str, what: str, size: int) -> None:
    """Raise ValueError for an even window size, which has no center."""
    if size < 1 or size % 2 == 0:
        raise ValueError(
            f"{name} needs an odd {what}, so that its window has a center; received {size}: "
            f"choose {max(size - 1, 1)} or {max(size + 1, 3)}"
        )
