"""Separation of known and unknown photos by the confidence of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(known: Tensor, unknown: Tensor) -> float:
    """Compute the probability that a known photo has a higher score than an unknown one; ties count one half."""
    from scipy.stats import mannwhitneyu

    wins = mannwhitneyu(known.double().cpu().numpy(), unknown.double().cpu().numpy(), method="asymptotic").statistic
    return float(wins) / (len(known) * len(unknown))


def best_threshold(known: Tensor, unknown: Tensor) -> float:
    """Compute the confidence that maximizes the shares of known photos kept plus unknown ones rejected (Youden)."""
    candidates = torch.cat([known, unknown]).sort().values  # (n + m,)
    kept = 1 - torch.searchsorted(known.sort().values, candidates) / len(known)  # (n + m,), at or above
    rejected = torch.searchsorted(unknown.sort().values, candidates) / len(unknown)  # (n + m,), below
    return float(candidates[(kept + rejected).argmax()])
