"""How well a classifier's confidence tells known photos from unknown ones."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(known: Tensor, unknown: Tensor) -> float:
    """Probability that a known photo's score exceeds an unknown one's, ties counting half."""
    scores = torch.cat([known, unknown]).double()  # (n + m,)
    order: Tensor = torch.unique(scores, return_inverse=True)[1]  # (n + m,)
    counts = torch.bincount(order)  # (values,)
    rank = (counts.cumsum(0) - (counts - 1) / 2)[order]  # (n + m,), mean rank of ties
    n, m = len(known), len(unknown)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))


def best_threshold(known: Tensor, unknown: Tensor) -> float:
    """The confidence at which the share of known photos kept plus that of unknown ones caught is largest (Youden)."""
    candidates = torch.cat([known, unknown]).sort().values  # (n + m,)
    kept = 1 - torch.searchsorted(known.sort().values, candidates) / len(known)  # (n + m,), at or above
    caught = torch.searchsorted(unknown.sort().values, candidates) / len(unknown)  # (n + m,), below
    return float(candidates[(kept + caught).argmax()])
