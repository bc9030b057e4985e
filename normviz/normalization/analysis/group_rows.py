"""A table with one row per group: mean and standard deviation before and after, and the terms of the formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from normviz.normalization.analysis.statistics import Statistics, group_terms
from normviz.normalization.patterns import kept_axes
from normviz.registry import Normalization, Value


@dataclass(frozen=True)
class Rows:
    """A selection of groups, one row each.

    Attributes:
        ids: the number of each group.
        labels: the index of each group, as in "N 0, C 3".
        mean_before: the mean of the input.
        std_before: the standard deviation of the input.
        mean_after: the mean of the output.
        std_after: the standard deviation of the output.
        center: the number that the formula subtracts.
        spread: the number that the formula has under the square root, or divides by.
    """

    ids: NDArray[np.int64]
    labels: list[str]
    mean_before: NDArray[np.float32]
    std_before: NDArray[np.float32]
    mean_after: NDArray[np.float32]
    std_after: NDArray[np.float32]
    center: NDArray[np.float32]
    spread: NDArray[np.float32]


def rows_of(
    method: Normalization,
    ids: NDArray[np.int64],
    pattern: str | None,
    batch: Tensor | None,
    old: Statistics,
    given: Mapping[str, int],
    x: Tensor,
    layout: str,
    settings: Mapping[str, Value],
    new: Statistics,
    stored: tuple[Tensor, Tensor] | None,
) -> Rows:
    """The rows of the groups `ids`."""
    mean_before, std_before, mean_after, std_after = (numpy(t)[ids] for t in (old.mean, old.std, new.mean, new.std))
    if stored is not None:
        center, spread = (numpy(t)[ids] for t in stored)
    elif method.center in ("", "mean") and method.scale in (
        "",
        "std",
        "rms",
    ):  # derived from mean and standard deviation
        center = mean_before if method.center else np.zeros_like(mean_before)
        spread = std_before**2 + (0 if method.scale == "std" else mean_before**2)
    else:
        eps, power = float(settings.get("eps", 0.0)), float(settings.get("p", 2.0))
        terms = group_terms(cut(x, batch), pattern or "", layout, method.center, method.scale, eps, power, **given)
        center, spread = (numpy(t)[ids] for t in terms)
    if pattern is None:
        labels = ["values that this cell depends on"] * len(ids)
    else:
        names = kept_axes(pattern, x.shape, layout, **given)
        indices = np.unravel_index(ids, list(names.values()) or [1])
        labels = [
            ", ".join(f"{name.upper()} {index}" for name, index in zip(names, row, strict=False)) or "all"
            for row in zip(*(index.tolist() for index in indices), strict=True)
        ]
    return Rows(ids, labels, mean_before, std_before, mean_after, std_after, center, spread)


def gain_of(
    method: Normalization,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    groups: NDArray[np.int64],
    rows: Rows,
    eps: float,
) -> tuple[float, float]:
    """Fit gain and offset of y = gain * (x - center) / scale + offset to the slice; NaN if the fit is poor."""
    known = np.isin(groups, rows.ids)
    if not method.scale or not known.any():
        return math.nan, math.nan
    row = np.where(known, np.searchsorted(rows.ids, groups), 0)  # the ids are sorted
    spread = rows.spread[row].astype(np.float64)
    divisor = np.sqrt(spread + eps) if method.scale in ("std", "rms") else spread
    valid = known & (divisor > 0)
    if not valid.any():
        return math.nan, math.nan
    z = ((before - rows.center[row]) / np.where(valid, divisor, 1))[valid]
    gain, offset = np.polyfit(z, after[valid], 1) if z.std() > 1e-6 else (1.0, float((after[valid] - z).mean()))
    error = np.abs(gain * z + offset - after[valid]).max()
    return (float(gain), float(offset)) if error <= 1e-3 * (1 + np.abs(after).max()) else (math.nan, math.nan)


def cut(x: Tensor, batch: Tensor | None) -> Tensor:
    """The samples in the order (N,) in which the batch is split into groups."""
    return x if batch is None else x[batch.to(x.device)]  # shape of x


def numpy(part: Tensor) -> NDArray[np.float32]:
    """Copy a tensor to a float32 array, so that the memory of the whole tensor can be freed."""
    return np.array(part.float().cpu().numpy())
