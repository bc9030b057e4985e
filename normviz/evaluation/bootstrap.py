"""How sure is a mean over photos? Photos are drawn again with replacement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
BLOCK = 500  # resamples at a time, which bounds the memory


class Estimate(NamedTuple):
    """A mean and the ends of its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def mean_and_interval(values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The mean of some numbers, one a photo, with the 95 % percentile bootstrap interval.

    Args:
        values: (P,) finite numbers.
        seed: of the drawing.
        resamples: how often P of the numbers are drawn with replacement.

    Raises:
        ValueError: no numbers, or one that is not finite.

    Source:
        Efron 1979, Bootstrap Methods: Another Look at the Jackknife.
    """
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or len(row) == 0 or not np.isfinite(row).all():
        raise ValueError(f"a mean needs a row of finite numbers; received shape {row.shape}")
    generator = np.random.default_rng(seed)
    blocks = [min(BLOCK, resamples - start) for start in range(0, resamples, BLOCK)]
    means: NDArray[np.float64] = np.concatenate(
        [row[generator.integers(len(row), size=(block, len(row)))].mean(axis=1) for block in blocks]
    )  # (resamples,)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(row.mean()), float(low), float(high))
