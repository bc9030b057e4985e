"""Evidence maps: signed cells that, with an unplaced remainder, add up to the class score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from normviz.attribution.diagnosis.pooling import pooling
from normviz.attribution.engine.probe import Probe
from normviz.attribution.methods.full_gradient import full_gradients

ROUNDING = 1e-4  # relative rounding error in single precision


@dataclass(frozen=True)
class EvidenceMap:
    """A score divided into contributions of cells.

    Attributes:
        cells: (h, w), signed, float64, in logits: the contribution of each cell.
        unplaced: contributions without a position: biases of the last layers, attention between tokens.
        score: the explained score: a class logit or the difference of two.
        exact: whether the sum equals the score up to rounding.
        description: short description of the computation.
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
        """The sum of all cells and the unplaced part."""
        return self.positive + self.negative + self.unplaced

    @property
    def residual(self) -> float:
        """Score minus total: the rounding error if exact, else the part that the map does not explain."""
        return self.score - self.total


def layer_evidence(probe: Probe, index: int = 0) -> EvidenceMap:
    """Compute the evidence at a layer: activation times gradient, summed over the channels (HiResCAM).

    At a layer followed by pooling and a single linear layer, the cells and the bias add up exactly to the logit.
    At other layers, later biases and nonlinearities are not included; they are in the residual.

    Args:
        probe: network, images, target (a class or the difference of two) and layer.
        index: index of the image in the batch.

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
    description = f"the evidence at layer {probe.layer}, which is followed by pooling and one linear layer"
    return EvidenceMap(cells, pooled.bias, score, True, description)


def full_evidence(probe: Probe, index: int = 0, size: tuple[int, int] | None = None) -> EvidenceMap:
    """Compute the evidence of each pixel: inputs and biases, each times its gradient (FullGrad).

    The contribution of a cell of a layer is spread evenly over the pixels that it covers, and the contributions of all
    layers are added. Biases of the last layers, attention and class tokens have no position and are in `unplaced`.
    The sum is exact if every function of the network has a rule: the shift of a normalization, and the difference
    between a nonlinearity and its tangent, count as biases. `exact` is measured.

    Args:
        probe: network, images and target (a class or the difference of two); the layer is not used.
        index: index of the image in the batch.
        size: rows and columns of the result; by default those of the image.

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
    """Resample a map (h, w) to (H, W), spreading each cell evenly over its area; the sum does not change."""
    down, along = (_overlap(old, new).to(cells) for old, new in zip(cells.shape, size, strict=True))  # (H, h), (W, w)
    return down @ cells @ along.T  # (H, W)


def _overlap(old: int, new: int) -> Tensor:
    """Compute the overlap (new, old), float64, of `old` equal parts of a line with `new` equal parts."""
    edges = torch.arange(new + 1, dtype=torch.float64) / new  # (new + 1,)
    starts = torch.arange(old, dtype=torch.float64) / old  # (old,)
    inside = ((edges[:, None] - starts) * old).clamp(0, 1)  # (new + 1, old): the share before each edge
    return inside[1:] - inside[:-1]  # (new, old)
