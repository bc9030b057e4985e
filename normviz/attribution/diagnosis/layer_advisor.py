"""Layer recommendation: maps of all layers with feature maps, and the layer that suits best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution.diagnosis.preflight import FLAT
from normviz.attribution.engine.probe import Probe, layers, probes
from normviz.attribution.methods.gradient import grad_cam
from normviz.attribution.targets import Score

ENOUGH = 6  # cells along the shorter side that a map needs to localize
AGREES = 0.7  # correlation with the deepest map from which a finer map counts as equivalent
HALF = 0.5


@dataclass(frozen=True)
class LayerReport:
    """Properties of the map at one layer.

    Attributes:
        name: the layer's dotted name.
        shape: (K, h, w) of its feature maps.
        cell: height and width of one of its cells, in pixels of the input.
        positive: sum of the positive products of activation and gradient over the sum of all magnitudes, 0 to 1; 0 if
            all products are 0.
        focus: smallest share of the cells that holds half of the map's magnitude, 0 to 0.5; 0 if the map is blank.
        agreement: correlation with the deepest map that is not blank, -1 to 1; 0 if the map is blank.
        trouble: why the map is blank or cannot be computed, or None.
    """

    name: str
    shape: tuple[int, int, int]
    cell: tuple[float, float]
    positive: float
    focus: float
    agreement: float
    trouble: str | None


def survey(
    model: nn.Module,
    images: Tensor,
    target: int | Tensor | Score | None = None,
    names: Sequence[str] | None = None,
    method: Callable[[Probe], Tensor] = grad_cam,
) -> tuple[LayerReport, ...]:
    """Report on every layer with feature maps of more than one cell, with one forward and one backward pass.

    Of layers with identical output (a stage and its last ReLU), the one with the shortest name is reported.

    Args:
        model: the network.
        images: (1, C, H, W), one image.
        target: the class or score to explain, as for `Probe`.
        names: the layers to report; default: all.
        method: a fast method that reads a layer.

    Returns:
        The reports, ordered from input to output.

    Raises:
        ValueError: not exactly one image, no layer with feature maps, or arguments that `Probe` rejects.
    """
    if len(images) != 1:
        raise ValueError(f"the survey of layers requires one image, (1, C, H, W); received {tuple(images.shape)}")
    available = [name for name, shape in layers(model, images) if shape[1] * shape[2] > 1]
    names = available if names is None else [name for name in available if name in names]
    if not names:
        raise ValueError("no layer of this model has feature maps of more than one cell: choose saliency instead")
    distinct = _distinct(probes(model, images, target, names))
    maps, troubles = [], []
    for probe in distinct:
        heatmap, trouble = _map(probe, method)
        maps.append(heatmap)
        troubles.append(trouble)
    deepest = next((heatmap for heatmap in reversed(maps) if heatmap is not None), None)
    return tuple(
        _report(probe, heatmap, trouble, deepest)
        for probe, heatmap, trouble in zip(distinct, maps, troubles, strict=True)
    )


def recommend(reports: Sequence[LayerReport]) -> tuple[str | None, str]:
    """The recommended layer and the reason; None if every map would be blank.

    Recommended is the deepest layer whose map is not blank and has enough cells: deep layers have the most meaningful
    features, and later layers build on everything before. A finer layer with a similar map is named for detail.

    Args:
        reports: the result of `survey`.
    """
    good = [report for report in reports if report.trouble is None]
    if not good:
        return None, (
            "The map would be blank at every layer, as no layer contains positive evidence: choose another class, or a "
            "method that also shows negative evidence."
        )
    fine = [report for report in good if min(report.shape[1:]) >= ENOUGH]
    best = fine[-1] if fine else max(good, key=lambda report: (min(report.shape[1:]), reports.index(report)))
    rows, columns = best.shape[1:]
    coarse = "" if fine else f"; no layer has {ENOUGH} cells per side, so the map is coarse"
    text = (
        f"Choose {best.name}: the deepest layer with a map that is not blank and enough cells ({rows} × {columns}, "
        f"each {best.cell[0]:.0f} pixels high){coarse}."
    )
    if not fine:
        text = (
            f"Choose {best.name}: it has the finest map that is not blank, {rows} × {columns} cells of "
            f"{best.cell[0]:.0f} pixels{coarse}."
        )
    finer = [r for r in good if r.shape[1] >= 2 * rows and r.agreement >= AGREES]
    if finer:
        text += (
            f" For more detail choose {finer[-1].name}: at least twice as fine, with a similar map "
            f"(correlation {finer[-1].agreement:.2f})."
        )
    return best.name, text


def _distinct(candidates: Sequence[Probe]) -> list[Probe]:
    """The probes without duplicates: of layers with equal output, the one with the shortest name is kept."""
    kept: list[Probe] = []
    for probe in candidates:
        same = next((p for p in kept if torch.equal(p.activations, probe.activations)), None)
        if same is None:
            kept.append(probe)
        elif (probe.layer.count("."), len(probe.layer)) < (same.layer.count("."), len(same.layer)):
            kept[kept.index(same)] = probe
    return kept


def _map(probe: Probe, method: Callable[[Probe], Tensor]) -> tuple[Tensor | None, str | None]:
    """The map (h, w), or the reason why it shows nothing."""
    try:
        heatmap = method(probe)[0]  # (h, w)
    except ValueError as error:
        return None, str(error)
    if not heatmap.isfinite().all():
        return None, "NaN or infinity"
    if not heatmap.any():
        return None, "blank: no positive evidence here"
    if heatmap.amax() - heatmap.amin() <= FLAT * heatmap.abs().amax():
        return None, "flat: every cell has the same value"
    return heatmap, None


def _report(probe: Probe, heatmap: Tensor | None, trouble: str | None, deepest: Tensor | None) -> LayerReport:
    channels, rows, columns = probe.activations.shape[1:]
    products = (probe.activations * probe.gradients).double()  # (1, K, h, w)
    size = float(products.abs().sum())
    height, width = probe.images.shape[2:]
    return LayerReport(
        probe.layer,
        (channels, rows, columns),
        (height / rows, width / columns),
        float(products.relu().sum()) / size if size > 0 else 0.0,
        _focus(heatmap) if heatmap is not None else 0.0,
        _correlation(heatmap, deepest) if heatmap is not None and deepest is not None else 0.0,
        trouble,
    )


def _focus(heatmap: Tensor) -> float:
    """Smallest share of the cells that holds half of the total magnitude."""
    sizes = heatmap.abs().double().flatten().sort(descending=True).values  # (h w,)
    cumulative = sizes.cumsum(dim=0) / sizes.sum()  # (h w,)
    return (int((cumulative < HALF).sum()) + 1) / len(sizes)


def _correlation(heatmap: Tensor, other: Tensor) -> float:
    """Pearson correlation of two maps; the finer one is averaged over the cells of the coarser."""
    sizes = (min(heatmap.shape[0], other.shape[0]), min(heatmap.shape[1], other.shape[1]))
    pair = [F.adaptive_avg_pool2d(m[None].double(), sizes).flatten() for m in (heatmap, other)]  # (cells,) each
    a, b = (values - values.mean() for values in pair)
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0
