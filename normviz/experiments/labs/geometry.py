"""Normalization of three features as points in space: output points, their surface, and the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import normviz.normalization  # noqa: F401  (registers the methods that are named here)
from normviz.registry import Normalization, Value

METHODS = ("layer_norm", "rms_norm", "l2_norm", "lp_norm", "scale_norm", "batch_norm", "z_score")
EXACT = 1e-12  # epsilon of the surfaces, small enough to have no effect
STEPS = 48  # points of each line of a surface


@dataclass(frozen=True)
class Gradient:
    """The gradient at one normalized point, and the gradient that reaches its input.

    Attributes:
        incoming: (3,) gradient of the loss with respect to the normalized point.
        left: (3,) gradient of the loss with respect to the input point.
        along_ones: components of `incoming` and `left` along (1, 1, 1).
        along_point: components of both along the input point.
        along_result: components of both along the normalized point, without gamma and beta.
        batch_sum: largest absolute component of the input gradient summed over all points. With batch statistics,
            the other points get a gradient as well.
    """

    incoming: Tensor
    left: Tensor
    along_ones: tuple[float, float]
    along_point: tuple[float, float]
    along_result: tuple[float, float]
    batch_sum: float


@dataclass(frozen=True)
class Space:
    """Points with three features before and after a normalization.

    Attributes:
        before: (N, 3) the points.
        after: (N, 3) the normalized points, with gamma and beta.
        plain: (N, 3) the normalized points without gamma and beta.
        surface: lines (K, 3) on the surface that contains all results for epsilon near 0; empty if the statistics
            are those of the batch, which is shifted and scaled as a whole.
        gap: largest distance of a plain result from that surface; 0 if there is no surface.
        gradient: the gradient at the chosen point.
    """

    before: Tensor
    after: Tensor
    plain: Tensor
    surface: tuple[Tensor, ...]
    gap: float
    gradient: Gradient


def direction(around: float, up: float) -> Tensor:
    """Compute a unit vector from two angles.

    Args:
        around: degrees around the third axis, from the first toward the second.
        up: degrees above the plane of the first two axes.

    Returns:
        (3,), float64.
    """
    a, b = math.radians(around), math.radians(up)
    return torch.tensor([math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)], dtype=torch.float64)


def space(
    method: Normalization,
    x: Tensor,
    settings: dict[str, Value],
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    point: int = 0,
    incoming: Tensor | None = None,
    length: float | None = None,
) -> Space:
    """Normalize points with three features and backpropagate one gradient.

    Args:
        method: a registered normalization of (N, C).
        x: (N, 3) points.
        settings: the method's knobs.
        gamma: (3,) scale per feature; None for 1.
        beta: (3,) shift per feature; None for 0.
        point: index of the point that receives the gradient.
        incoming: (3,) the gradient; None for a unit gradient along the first feature.
        length: g of ScaleNorm; None for its initial value.

    Returns:
        The points, the surface and the gradient, in float64.

    Raises:
        ValueError: if x is not (N, 3), if the index is out of range, or if the method rejects the input.
    """
    if x.ndim != 2 or x.shape[1] != 3:
        raise ValueError(f"points must have three features, (N, 3); received shape {tuple(x.shape)}")
    if not 0 <= point < len(x):
        raise ValueError(f"the index of the point must be from 0 to {len(x) - 1}; received {point}")
    before = x.detach().double().requires_grad_()  # (N, 3)
    fixed = {} if length is None else {"g": torch.tensor(length, dtype=torch.float64)}

    def normalize(points: Tensor, **changed: Value) -> Tensor:
        result: Tensor = method.function(points, **fixed, **(settings | changed))  # (N, 3)
        return result

    def normalize_exactly(points: Tensor) -> Tensor:
        return normalize(points, **({"eps": EXACT} if "eps" in settings else {}))  # (N, 3)

    def scaled_and_shifted(points: Tensor) -> Tensor:
        points = points if gamma is None else points * gamma  # (N, 3)
        return points if beta is None else points + beta  # (N, 3)

    with torch.enable_grad():
        plain = normalize(before)  # (N, 3)
        after = scaled_and_shifted(plain)  # (N, 3)
        arriving = torch.zeros_like(after)  # (N, 3)
        arriving[point] = direction(0, 0) if incoming is None else incoming
        (pushed,) = torch.autograd.grad(after, before, arriving)  # (N, 3)
    before, plain = before.detach(), plain.detach()  # (N, 3), (N, 3)
    surface, gap = [], 0.0
    if _per_point(method):
        if method.center == "mean":
            lines = _disc(normalize_exactly(_circle()))
        else:
            lines = [normalize_exactly(line) for line in _globe()]
        surface = [scaled_and_shifted(line) for line in lines]  # each (K, 3)
        gap = float((normalize_exactly(plain) - plain).norm(dim=1).max())

    def along(toward: Tensor) -> tuple[float, float]:
        unit = torch.nn.functional.normalize(toward, dim=0)  # (3,)
        return float(arriving[point] @ unit), float(pushed[point] @ unit)

    gradient = Gradient(
        arriving[point], pushed[point], along(torch.ones_like(plain[point])), along(before[point]),
        along(plain[point]), float(pushed.sum(dim=0).abs().max()),
    )  # fmt: skip
    return Space(before, after.detach(), plain, tuple(surface), gap, gradient)


def _per_point(method: Normalization) -> bool:
    """Whether every point has its own statistics, so that all results lie on one surface."""
    return "n" in (method.pattern("nc") or "").partition("->")[2].split()


def _circle() -> Tensor:
    """Compute the unit circle (K, 3) in the plane where the three features add up to 0."""
    turn = torch.linspace(0, 2 * math.pi, STEPS + 1, dtype=torch.float64)[:, None]  # (K, 1)
    first = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / math.sqrt(2)  # (3,)
    second = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64) / math.sqrt(6)  # (3,)
    return turn.cos() * first + turn.sin() * second  # (K, 3)


def _disc(circle: Tensor) -> list[Tensor]:
    """Return a circle (K, 3) and lines that show its plane: two smaller circles and six diameters."""
    spokes = [torch.stack([circle[k], -circle[k]]) for k in range(0, STEPS // 2, STEPS // 12)]  # each (2, 3)
    return [circle, circle * 2 / 3, circle / 3, *spokes]


def _globe() -> list[Tensor]:
    """Return lines (K, 3) on the unit sphere: six meridians and five parallels."""
    turn = torch.linspace(0, 2 * math.pi, STEPS + 1, dtype=torch.float64)[:, None]  # (K, 1)
    axes = torch.eye(3, dtype=torch.float64)  # (3, 3)
    meridians = [turn.sin() * direction(angle, 0) + turn.cos() * axes[2] for angle in range(0, 180, 30)]  # (K, 3)
    parallels = []
    for up in (-60, -30, 0, 30, 60):
        east, high = math.cos(math.radians(up)), math.sin(math.radians(up))
        parallels.append(east * (turn.cos() * axes[0] + turn.sin() * axes[1]) + high * axes[2])  # (K, 3)
    return meridians + parallels
