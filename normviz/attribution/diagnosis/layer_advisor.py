"""Which layer to look at: a dry run over all layers with feature maps, and a recommendation in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normviz.attribution.diagnosis.preflight import SAME
from normviz.attribution.engine.probe import Probe, layers, probes
from normviz.attribution.methods.gradient import grad_cam
from normviz.attribution.targets import Score

ENOUGH = 6  # cells along the shorter side, from which a map shows where
AGREES = 0.7  # correlation with the deepest map, from which a finer map tells the same
HALF = 0.5


@dataclass(frozen=True)
class LayerReport:
    """What one layer would show.

    Attributes:
        name: the layer's dotted name.
        shape: (K, h, w) of its feature maps.
        cell: height and width of one of its cells, in pixels of the input.
        positive: the share of what speaks for the target in all that its activations and gradients say, 0 to 1:
            the sum of the positive products over the sum of all magnitudes; 0 where all products are 0.
        focus: the smallest share of the cells that holds half of the map, 0 to 0.5: small is concentrated; 0 if blank.
        agreement: correlation of the map with the deepest one that is not blank, -1 to 1; 0 if blank.
        trouble: why the map would be blank or cannot be made, or None.
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
    """Report on every layer with feature maps of more than one cell, by one pass forward and one back.

    Of layers that return the same maps (a stage and its last ReLU) the one with the shortest name is kept.

    Args:
        model: the network.
        images: (1, C, H, W), one image.
        target: what is explained, as for a Probe.
        names: the layers to look at; by default all.
        method: a method that reads a layer and is fast.

    Returns:
        The reports, from the input to the output.

    Raises:
        ValueError: not one image, no layer with feature maps, or what a Probe refuses.
    """
    if len(images) != 1:
        raise ValueError(f"the survey of layers takes one image, (1, C, H, W); received {tuple(images.shape)}")
    found = [name for name, shape in layers(model, images) if shape[1] * shape[2] > 1]
    names = found if names is None else [name for name in found if name in names]
    if not names:
        raise ValueError("no layer of this model has feature maps of more than one cell: choose saliency instead")
    seen = _distinct(probes(model, images, target, names))
    maps, troubles = [], []
    for probe in seen:
        heatmap, trouble = _map(probe, method)
        maps.append(heatmap)
        troubles.append(trouble)
    deepest = next((heatmap for heatmap in reversed(maps) if heatmap is not None), None)
    return tuple(
        _report(probe, heatmap, trouble, deepest) for probe, heatmap, trouble in zip(seen, maps, troubles, strict=True)
    )


def recommend(reports: Sequence[LayerReport]) -> tuple[str | None, str]:
    """The layer to take and why, in words; None where every map would be blank.

    The deepest layer with a map that is not blank and has enough cells to show where: deep features mean something,
    and what comes before is read by what follows. A finer layer that agrees with it is named for detail.

    Args:
        reports: those of `survey`, from the input to the output.
    """
    good = [report for report in reports if report.trouble is None]
    if not good:
        return None, (
            "At every layer the map would be blank, so nothing here speaks for it: choose another class, or a method "
            "that shows what speaks against it, too."
        )
    fine = [report for report in good if min(report.shape[1:]) >= ENOUGH]
    best = fine[-1] if fine else max(good, key=lambda report: (min(report.shape[1:]), reports.index(report)))
    rows, columns = best.shape[1:]
    coarse = "" if fine else f"; no layer has {ENOUGH} cells a side, so the map is coarse"
    text = (
        f"Take {best.name}: the deepest layer with a map that is not blank and enough cells ({rows} × {columns}, "
        f"each {best.cell[0]:.0f} pixels high){coarse}."
    )
    if not fine:
        text = (
            f"Take {best.name}: the finest map that is not blank, {rows} × {columns} cells of {best.cell[0]:.0f} "
            f"pixels{coarse}."
        )
    finer = [r for r in good if r.shape[1] >= 2 * rows and r.agreement >= AGREES]
    if finer:
        text += (
            f" For detail take {finer[-1].name}: twice as fine or finer, and its map agrees "
            f"(correlation {finer[-1].agreement:.2f})."
        )
    return best.name, text


def _distinct(seen: Sequence[Probe]) -> list[Probe]:
    """The probes without those whose layer returns the same as another, of which the shortest name stays."""
    kept: list[Probe] = []
    for probe in seen:
        same = next((p for p in kept if torch.equal(p.activations, probe.activations)), None)
        if same is None:
            kept.append(probe)
        elif (probe.layer.count("."), len(probe.layer)) < (same.layer.count("."), len(same.layer)):
            kept[kept.index(same)] = probe
    return kept


def _map(probe: Probe, method: Callable[[Probe], Tensor]) -> tuple[Tensor | None, str | None]:
    """The map (h, w), or why it says nothing."""
    try:
        heatmap = method(probe)[0]  # (h, w)
    except ValueError as error:
        return None, str(error)
    if not heatmap.isfinite().all():
        return None, "NaN or infinity"
    if not heatmap.any():
        return None, "blank: nothing speaks for it here"
    if heatmap.amax() - heatmap.amin() <= SAME * heatmap.abs().amax():
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
    """The smallest share of the cells that holds half of the magnitudes."""
    sizes = heatmap.abs().double().flatten().sort(descending=True).values  # (h w,)
    held = sizes.cumsum(dim=0) / sizes.sum()  # (h w,)
    return (int((held < HALF).sum()) + 1) / len(sizes)


def _correlation(heatmap: Tensor, other: Tensor) -> float:
    """Pearson's correlation of two maps, the finer one brought to the cells of the coarser by means."""
    sizes = (min(heatmap.shape[0], other.shape[0]), min(heatmap.shape[1], other.shape[1]))
    pair = [F.adaptive_avg_pool2d(m[None].double(), sizes).flatten() for m in (heatmap, other)]  # (cells,) each
    a, b = (values - values.mean() for values in pair)
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0
