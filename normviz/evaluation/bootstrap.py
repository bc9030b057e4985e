"""How sure is a mean over photos or scenes? They are drawn again with replacement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

RESAMPLES = 10_000
BLOCK = 500  # resamples at a time, which bounds the memory


class Estimate(NamedTuple):
    """A mean and the ends of its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def mean_and_interval(values: ArrayLike | Tensor, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The mean of some numbers, one a photo or scene, with the 95% percentile bootstrap interval.

    Args:
        values: (P,) finite numbers.
        seed: of the drawing, which is the same on every machine.
        resamples: how often P of the numbers are drawn with replacement, at least once.

    Raises:
        ValueError: no numbers, one that is not finite, or fewer than one resample.

    Source:
        Efron 1979, Bootstrap Methods: Another Look at the Jackknife; Efron & Tibshirani 1993, chapter 13 (percentile
        interval).
    """
    given = values.detach().cpu() if isinstance(values, Tensor) else torch.tensor(np.asarray(values, np.float64))
    row = given.double()  # (P,)
    if row.ndim != 1 or len(row) == 0 or not row.isfinite().all():
        raise ValueError(f"a mean needs a row of finite numbers; received shape {tuple(row.shape)}")
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least one resample; received {resamples}")
    generator = torch.Generator().manual_seed(seed)
    means = torch.cat(
        [
            row[torch.randint(len(row), (min(BLOCK, resamples - start), len(row)), generator=generator)].mean(dim=1)
            for start in range(0, resamples, BLOCK)
        ]
    )  # (resamples,)
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return Estimate(float(row.mean()), low, high)
