"""Scaling of data: features by statistics of the training rows, or samples by their length."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from normviz.normalization.checks import at_least_float32, check_input
from normviz.registry import Range, normalization

__all__ = ["max_abs_scaling", "min_max_scaling", "robust_scaling", "unit_length", "z_score", "zca_whitening"]

_PER_FEATURE = {"nc": "n c -> c", "ntd": "n t d -> d", "nchw": "n c h w -> c", "ncdhw": "n c d h w -> c"}
_PER_SAMPLE = {"nc": "n c -> n", "ntd": "n t d -> n", "nchw": "n c h w -> n", "ncdhw": "n c d h w -> n"}


@normalization(
    title="Min-Max Scaling",
    cite="pedregosa2011scikit",
    aliases=("feature scaling", "min-max normalization", "rescaling", "MinMaxScaler"),
    axes=_PER_FEATURE,
    formula=r"y = a + (b - a)\,\frac{x - \min_c}{\max_c - \min_c}",
    center="min",
    scale="range",
    use="Data with known limits, such as pixels from 0 to 255, or models that expect inputs from 0 to 1.",
    torch="low + (high - low) * (x - x.amin((0, 2, 3), True)) / (x.amax((0, 2, 3), True) - x.amin((0, 2, 3), True))",
    common_mistake="One outlier compresses all other values, new rows can leave the range, and a constant feature "
    "becomes NaN unless handled.",
)
def min_max_scaling(
    x: Tensor,
    train: Tensor | None = None,
    low: Annotated[float, Range(-10.0, 10.0, symbol="a")] = 0.0,
    high: Annotated[float, Range(-10.0, 10.0, symbol="b")] = 1.0,
) -> Tensor:
    """Scale each feature linearly so that its training values range from `low` to `high`.

    Args:
        x: (N, C), (N, T, D) with the features last, or (N, C, ...).
        train: the training rows that determine the minimum and maximum, in the layout of `x`; None for `x` itself.
        low: the result for the minimum of the training values.
        high: the result for the maximum of the training values; above `low`.

    Returns:
        The scaled values, shape and dtype of `x`; `low` for a feature that is constant in the training rows.

    Raises:
        ValueError: an invalid shape, or `low` not below `high`.

    Source:
        Pedregosa et al. 2011 (scikit-learn, MinMaxScaler).
    """
    if not low < high:
        raise ValueError(f"min_max_scaling needs low below high; received {low:g} and {high:g}")
    values, known, shared = _by_feature("min_max_scaling", x, train)
    smallest = known.amin(shared, keepdim=True)  # size 1 except for the features
    width = _or_infinite(known.amax(shared, keepdim=True) - smallest)  # size 1 except for the features
    y = (values - smallest) / width  # shape of x
    return (y if (low, high) == (0, 1) else torch.lerp(y.new_tensor(low), y.new_tensor(high), y)).to(x.dtype)


@normalization(
    title="Z-Score",
    cite="lecun1998efficient",
    aliases=("standardization", "z-score normalization", "data normalization", "StandardScaler"),
    axes=_PER_FEATURE,
    formula=r"y = \frac{x - \mu_c}{\sigma_c}",
    center="mean",
    scale="std",
    use="The usual first step for a table: every feature gets mean 0 and standard deviation 1.",
    torch="(x - x.mean((0, 2, 3), True)) / x.std((0, 2, 3), correction=0, keepdim=True)",
    common_mistake="torch.std divides by n - 1 unless correction=0 is passed, and a constant feature becomes NaN.",
)
def z_score(x: Tensor, train: Tensor | None = None) -> Tensor:
    """Subtract each feature's training mean and divide by its training standard deviation.

    Args:
        x: (N, C), (N, T, D) with the features last, or (N, C, ...).
        train: the training rows that determine mean and biased standard deviation, in the layout of `x`; None for `x`.

    Returns:
        The scaled values, shape and dtype of `x`; 0 for a feature that is constant in the training rows.

    Raises:
        ValueError: an invalid shape.

    Source:
        LeCun et al. 1998, section 4.3.
    """
    values, known, shared = _by_feature("z_score", x, train)
    origin = known[
        tuple(slice(1) if axis in shared else slice(None) for axis in range(x.ndim))
    ]  # size 1 except for the features
    values = values - origin  # shape of x; a constant feature is now exactly 0, and so is its variance
    known = values if train is None else known - origin  # shape of train
    mean = known.mean(shared, keepdim=True)  # size 1 except for the features
    centered = values.sub_(mean)  # shape of x
    spread = centered if train is None else known - mean  # shape of train
    variance = spread.square().mean(shared, keepdim=True)  # size 1 except for the features
    divisor = _or_infinite(variance).sqrt()  # size 1 except for the features
    y = centered / divisor if centered.requires_grad else centered.div_(divisor)  # shape of x
    return y.to(x.dtype)  # shape of x


@normalization(
    title="Max-Abs Scaling",
    cite="pedregosa2011scikit",
    aliases=("maximum absolute scaling", "MaxAbsScaler"),
    axes=_PER_FEATURE,
    formula=r"y = \frac{x}{\max_c |x|}",
    scale="largest",
    use="Sparse data: zeros and signs are preserved, and all training values are between -1 and 1.",
    torch="x / x.abs().amax((0, 2, 3), True)",
    common_mistake="The scale depends on a single value: one outlier makes all other values small.",
)
def max_abs_scaling(x: Tensor, train: Tensor | None = None) -> Tensor:
    """Divide each feature by the maximum absolute value in the training rows.

    Args:
        x: (N, C), (N, T, D) with the features last, or (N, C, ...).
        train: the training rows that determine the maximum, in the layout of `x`; None for `x` itself.

    Returns:
        The scaled values, shape and dtype of `x`; 0 for a feature that is 0 in all training rows.

    Raises:
        ValueError: an invalid shape.

    Source:
        Pedregosa et al. 2011 (scikit-learn, MaxAbsScaler).
    """
    values, known, shared = _by_feature("max_abs_scaling", x, train)
    largest = torch.maximum(
        known.amax(shared, keepdim=True), -known.amin(shared, keepdim=True)
    )  # size 1 except for features
    return (values / _or_infinite(largest)).to(x.dtype)  # shape of x


@normalization(
    title="Robust Scaling",
    cite="pedregosa2011scikit",
    aliases=("median and IQR scaling", "RobustScaler"),
    axes=_PER_FEATURE,
    formula=r"y = \frac{x - \operatorname{median}_c}{Q_{3,c} - Q_{1,c}}",
    center="median",
    scale="iqr",
    use="Data with outliers: they hardly affect the median and the quartiles.",
    torch="((r := x.movedim(1, 0).flatten(1)) - r.quantile(0.5, 1, True)).div(r.quantile(0.75, 1, True) "
    "- r.quantile(0.25, 1, True)).view_as(x.movedim(1, 0)).movedim(0, 1)",
    common_mistake="torch.median returns the lower of the two middle values, not their mean, and torch.quantile is "
    "limited to 16 million values.",
)
def robust_scaling(x: Tensor, train: Tensor | None = None) -> Tensor:
    """Subtract the median of each feature and divide by its interquartile range, both from the training rows.

    Args:
        x: (N, C), (N, T, D) with the features last, or (N, C, ...).
        train: the training rows that determine the quartiles, in the layout of `x`; None for `x` itself.

    Returns:
        The scaled values, shape and dtype of `x`; 0 for a feature with equal quartiles in the training rows.

    Raises:
        ValueError: an invalid shape.

    Source:
        Pedregosa et al. 2011 (scikit-learn, RobustScaler), with linear interpolation between values.
    """
    values, known, shared = _by_feature("robust_scaling", x, train)
    feature = next(axis for axis in range(x.ndim) if axis not in shared)
    rows = known.movedim(feature, 0).flatten(1).sort(1).values  # (C, values of a feature)
    shape = [-1 if axis == feature else 1 for axis in range(x.ndim)]
    first, middle, third = (
        _quantile(rows, share).view(shape) for share in (0.25, 0.5, 0.75)
    )  # size 1 except for the features
    return ((values - middle) / _or_infinite(third - first)).to(x.dtype)  # shape of x


@normalization(
    title="Unit Length Scaling",
    cite="pedregosa2011scikit",
    aliases=("unit-length", "scaling to unit length", "Normalizer"),
    axes=_PER_SAMPLE,
    formula=r"y = \frac{x}{\max(\lVert x_n \rVert_2,\ \epsilon)}",
    scale="norm",
    use="Samples for which only the direction matters, such as word counts of texts of different lengths.",
    torch="F.normalize(x.flatten(1), eps=eps).view_as(x)",
    common_mistake="It scales rows, not columns: columns with large units dominate, so scale the columns first.",
)
def unit_length(x: Tensor, eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-12) -> Tensor:
    """Divide each sample by its L2 norm; other samples have no effect.

    Args:
        x: (N, C), (N, T, D) or (N, C, ...); the norm is taken over all values of a sample.
        eps: the smallest divisor.

    Returns:
        The scaled values, shape and dtype of `x`; a sample of zeros is unchanged.

    Raises:
        ValueError: an invalid shape.

    Source:
        Pedregosa et al. 2011 (scikit-learn, Normalizer).
    """
    check_input("unit_length", x)
    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)  # (N,)
    return x / lengths.clamp_min(eps).view(-1, *[1] * (x.ndim - 1))  # (N, ...)


@normalization(
    title="ZCA Whitening",
    cite="bell1997zca",
    aliases=("ZCA", "whitening", "zero-phase component analysis"),
    axes={"nc": None},
    formula=r"y = U\,(\Lambda + \epsilon I)^{-1/2}\,U^\top (x - \mu), \quad \Sigma = U \Lambda U^\top",
    use="Redundant features: after whitening, no two features are correlated.",
    torch="(c := x - x.mean(0)) @ (e := torch.linalg.eigh(c.T @ c / len(c)))[1] @ torch.diag((e[0] + eps).rsqrt()) "
    "@ e[1].T",
    common_mistake="Directions without variance are divided by the square root of eps, which amplifies rounding "
    "errors: use many more rows than columns.",
)
def zca_whitening(
    x: Tensor,
    train: Tensor | None = None,
    eps: Annotated[float, Range(1e-12, 1.0, symbol=r"\epsilon", log=True)] = 1e-5,
) -> Tensor:
    r"""Make the features uncorrelated with variance 1, with the smallest possible change of the data.

    Args:
        x: (N, C).
        train: the training rows (M, C) that determine the mean and biased covariance \Sigma; None for `x` itself.
        eps: added to each eigenvalue of the covariance under the square root.

    Returns:
        The whitened values, shape and dtype of `x`.

    Raises:
        ValueError: an invalid shape.

    Source:
        Bell & Sejnowski 1997, section 3: the symmetric inverse square root of the covariance.
    """
    if x.ndim != 2:
        raise ValueError(f"zca_whitening needs an input (N, C); received shape {tuple(x.shape)}")
    values, known, _ = _by_feature("zca_whitening", x, train)
    mean = known.mean(0)  # (C,)
    centered = known - mean  # (M, C)
    covariance = (centered.T @ centered / len(centered)).cpu().double()  # (C, C)
    eigenvalues, u = torch.linalg.eigh(covariance)  # (C,), (C, C)
    matrix: Tensor = u @ torch.diag((eigenvalues.clamp_min(0) + eps).rsqrt()) @ u.T  # (C, C)
    whitened: Tensor = (values - mean) @ matrix.to(values)  # (N, C)
    return whitened.to(x.dtype)


def _by_feature(name: str, x: Tensor, train: Tensor | None) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """The values and the training values, in float32 or float64, and the axes to reduce for each feature.

    Raises:
        ValueError: an invalid shape, or training rows with another rank or number of features.
    """
    check_input(name, x)
    feature = 2 if x.ndim == 3 else 1
    shared = tuple(axis for axis in range(x.ndim) if axis != feature)
    values = at_least_float32(x)  # shape of x
    if train is None:
        return values, values, shared
    check_input(name, train)
    if train.ndim != x.ndim or train.shape[feature] != x.shape[feature]:
        raise ValueError(
            f"{name} needs training rows in the layout of x, with {x.shape[feature]} features; "
            f"x has shape {tuple(x.shape)}, received {tuple(train.shape)}"
        )
    return values, train.to(values), shared


def _or_infinite(spread: Tensor) -> Tensor:
    """Replace a spread of 0 by infinity, so that a constant feature becomes 0 instead of NaN."""
    return spread.masked_fill(spread == 0, math.inf)  # shape of spread


def _quantile(rows: Tensor, share: float) -> Tensor:
    """The quantile of each sorted row, with linear interpolation."""
    position = share * (rows.shape[1] - 1)
    below = math.floor(position)
    return torch.lerp(rows[:, below], rows[:, math.ceil(position)], position - below)  # (rows,)
