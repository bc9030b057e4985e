"""Bootstrap confidence interval of a mean over photos or scenes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

RESAMPLES = 10_000
BATCH = 500  # resamples drawn at a time; bounds the memory


class Estimate(NamedTuple):
    """A mean and the ends of its 95% confidence interval."""

    mean: float
    low: float
    high: float


def mean_and_interval(values: ArrayLike | Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Compute the mean of a sample and its 95% percentile bootstrap interval with `scipy.stats.bootstrap`.

    A single value has an interval of width 0.

    Args:
        values: (P,) finite numbers, one for each photo or scene.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples, at least 1.

    Raises:
        ValueError: if `values` is empty, not one-dimensional or not finite, or if `resamples` is below 1.

    Source:
        Efron 1979, Bootstrap Methods: Another Look at the Jackknife; Efron & Tibshirani 1993, chapter 13 (percentile
        interval).
    """
    from scipy.stats import bootstrap

    given = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    sample: NDArray[np.float64] = np.asarray(given, np.float64)  # (P,)
    if sample.ndim != 1 or len(sample) == 0 or not np.isfinite(sample).all():
        raise ValueError(f"values must be a non-empty row of finite numbers; received shape {sample.shape}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; received {resamples}")
    mean = float(sample.mean())
    if len(sample) == 1:  # scipy requires two or more observations
        return Estimate(mean, mean, mean)
    interval = bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        batch=min(BATCH, resamples),
        vectorized=True,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))
