"""The evidence ledger: a signed map whose cells, with what has no place, add up to the score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.diagnosis.pooling import pooling
from normviz.attribution.engine.probe import Probe
from normviz.attribution.methods.full_gradient import full_gradients

ROUNDING = 1e-4  # of all magnitudes: what single precision may leave


@dataclass(frozen=True)
class EvidenceMap:
    """A score, entered cell by cell.

    Attributes:
        cells: (h, w), signed, float64, in the score's unit (logits): what each place adds.
        fixed: what belongs to no place: biases of the last layers, and what a transformer adds between its tokens.
        score: what all of it adds up to: a class's logit, or the difference of two.
        exact: whether the sum must be the score, so that the rest is rounding.
        way: how the cells were found, in words.
    """

    cells: Tensor
    unplaced: float
    score: float
    exact: bool
    description: str

    @property
    def positive(self) -> float:
        """The sum of the cells above 0."""
        return float(self.cells.clamp(min=0).sum())

    @property
    def negative(self) -> float:
        """The sum of the cells below 0, at most 0."""
        return float(self.cells.clamp(max=0).sum())

    @property
    def total(self) -> float:
        """What the entries add up to."""
        return self.positive + self.negative + self.unplaced

    @property
    def residual(self) -> float:
        """The score less the total: rounding where the ledger is exact, else what the map does not account for."""
        return self.score - self.total


def layer_evidence(probe: Probe, index: int = 0) -> EvidenceMap:
    """Enter each cell of a layer: activation times gradient, summed over the channels (HiResCAM).

    On the layer that is pooled before the one linear layer these are the class's evidence, and with the bias they add
    up to its logit exactly. At any other layer the biases and bends behind it are not accounted for: the rest.

    Args:
        probe: network, images, class or difference of two, and layer.
        index: which image of the batch.

    Source:
        Draelos & Carin 2020 (HiResCAM); Zhou et al. 2016, Eq. 2.
    """
    activations, gradients = probe.activations[index].double(), probe.gradients[index].double()  # (K, h, w) each
    cells = (activations * gradients).sum(dim=0).cpu()  # (h, w)
    pooled = pooling(probe, index)
    score = float(probe.score[index])
    if not pooled.pooled:
        description = f"HiResCAM at layer {probe.layer}: activation times gradient"
        return EvidenceMap(cells, 0.0, score, False, description)
    description = f"the evidence at layer {probe.layer}, which is pooled and read by one linear layer"
    return EvidenceMap(cells, pooled.bias, score, True, description)


def full_evidence(probe: Probe, index: int = 0, size: tuple[int, int] | None = None) -> EvidenceMap:
    """Enter each place of the picture: its pixels times their gradients, and each layer's biases times theirs.

    What a layer's cell adds is shared out evenly over the pixels that it covers; a place's sum is that of all layers.
    What no cell of the picture adds has no place: biases of the last layers, attention between tokens or in windows,
    and class tokens.
    Exact for any network whose functions have a rule (FullGrad): what a normalization subtracts, and what a curve that
    is no ReLU adds to its tangent, are entered as biases. Whether it is exact is measured.

    Args:
        probe: network, images, class or difference of two; the layer plays no part.
        index: which image of the batch.
        size: rows and columns of the ledger; by default those of the picture.

    Source:
        Srinivas & Fleuret 2019, proposition 1.
    """
    parts = full_gradients(probe)
    rows, columns = size or (int(probe.images.shape[2]), int(probe.images.shape[3]))
    cells = torch.zeros(rows, columns, dtype=torch.float64)
    for part in parts.placed:
        cells += spread(part[index].cpu().double().sum(dim=0), (rows, columns))
    unplaced = float(parts.unplaced[index])
    description = "FullGrad: pixels and biases, each times its gradient"
    score = float(parts.score[index])
    residual = abs(score - float(cells.sum()) - unplaced)
    return EvidenceMap(
        cells, unplaced, score, residual <= ROUNDING * max(abs(score), float(cells.abs().sum())), description
    )


def spread(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) on a grid of another size (H, W), each cell's amount spread evenly over its area: the sum stays."""
    down, along = (_overlap(old, new).to(cells) for old, new in zip(cells.shape, size, strict=True))  # (H, h), (W, w)
    return down @ cells @ along.T  # (H, W)


def _overlap(old: int, new: int) -> Tensor:
    """The share of each of `old` equal parts of a line that lies in each of `new` equal parts: (new, old), float64."""
    edges = torch.arange(new + 1, dtype=torch.float64) / new  # (new + 1,)
    starts = torch.arange(old, dtype=torch.float64) / old  # (old,)
    inside = ((edges[:, None] - starts) * old).clamp(0, 1)  # (new + 1, old): the share that lies before each edge
    return inside[1:] - inside[:-1]  # (new, old)
