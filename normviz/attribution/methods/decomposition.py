"""Attribution without asking the class: what a layer's activations have in common.

The first principal direction of the activations, of the activations times their gradients, or of what a kernel
sees in them; and the cells in which channels answer far above their mean. No method here needs a forward pass of
its own, and only EigenGrad-CAM, through the gradients, depends on the class.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, attribution

__all__ = ["eigen_cam", "eigen_grad_cam", "fem", "kpca_cam"]

Kernel = Literal["sigmoid", "rbf", "linear"]
MOST_CELLS = 4096  # the matrix of a kernel has as many rows: 128 MiB in float64


def _eigen_cam_weights(probe: Probe) -> Tensor:
    """The first right singular vector of the activations, as a weight of each channel: (N, K, 1, 1)."""
    return _principal_direction(probe.activations)  # (N, K, 1, 1)


def _eigen_grad_cam_weights(probe: Probe) -> Tensor:
    """The first right singular vector of g A, times the gradients: (N, K, h, w)."""
    evidence = probe.gradients * probe.activations  # (N, K, h, w)
    return _principal_direction(evidence) * probe.gradients  # (N, K, h, w)


@attribution(
    title="Eigen-CAM", cite="muhammad2020eigen", level="layer", unit="activation",
    weights=_eigen_cam_weights, aliases=("EigenCAM", "principal component of the activations"),
    formula=r"M_{ij} = \sum_k v_k A_{kij}, \quad A = U \Sigma V^\top, \quad v = \text{first column of } V, \quad "
    r"\sum_{ij} M_{ij} \sum_k A_{kij} \ge 0",
)  # fmt: skip
def eigen_cam(probe: Probe) -> Tensor:
    """The activations projected on their first principal direction; it is the same for every class.

    The paper decomposes the activations (cells x channels) as they are, without subtracting the mean. An
    eigenvector has no sign of its own: here it is the one with which the map agrees with the sum over the channels
    (their inner product is at least 0), so activations that are nowhere negative give a map that is nowhere negative.
    pytorch-grad-cam subtracts each channel's mean first, which is KPCA-CAM with the linear kernel, and leaves the
    sign to the decomposition.

    Args:
        probe: network, images and layer; the class plays no part.

    Returns:
        (N, h, w), signed where the activations are, in units of the activations.

    Source:
        Muhammad & Yeasin 2020, section on Eigen-CAM.
    """
    return (_eigen_cam_weights(probe) * probe.activations).sum(dim=1)  # (N, h, w)


@attribution(
    title="EigenGrad-CAM", cite="gildenblat2021library", level="layer", unit="logits",
    weights=_eigen_grad_cam_weights, aliases=("EigenGradCAM",),
    formula=r"M_{ij} = \sum_k v_k\, g_{kij} A_{kij}, \quad g \odot A = U \Sigma V^\top, \quad "
    r"v = \text{first column of } V, \quad \sum_{ij} M_{ij} \sum_k g_{kij} A_{kij} \ge 0",
)  # fmt: skip
def eigen_grad_cam(probe: Probe) -> Tensor:
    """Eigen-CAM of the activations times their gradients, so of the evidence for the class.

    The library subtracts each channel's mean first and leaves the sign to the decomposition. Here nothing is
    subtracted, as in Eigen-CAM, and the sign is the one with which the map agrees with the sum of the evidence over
    the channels (HiResCAM): positive speaks for the class.

    Args:
        probe: network, images, class and layer.

    Returns:
        (N, h, w), signed, in logits.

    Source:
        The library that is cited, its method EigenGradCAM; there is no paper.
    """
    return (_eigen_grad_cam_weights(probe) * probe.activations).sum(dim=1)  # (N, h, w)


@attribution(
    title="KPCA-CAM", cite="karmani2024kpca", level="layer", unit="coordinate",
    aliases=("KernelPCA-CAM", "kernel PCA CAM"),
    formula=r"M = \sqrt{\lambda}\, u, \quad \tilde Q u = \lambda u, \quad Q_{pq} = "
    r"\tanh\!\Big(\frac{\gamma}{K}\, a_p^\top a_q + 1\Big) \text{ or } e^{-\frac{\gamma}{K} \lVert a_p - a_q\rVert^2}"
    r" \text{ or } a_p^\top a_q, \quad a_p = A_p - \bar A",
)  # fmt: skip
def kpca_cam(
    probe: Probe,
    kernel: Kernel = "sigmoid",
    gamma: Annotated[float, Range(0.001, 100.0, r"\gamma", log=True)] = 1.0,
) -> Tensor:
    """Each cell's coordinate on the first principal component that a kernel finds; the same for every class.

    A cell is the vector of its K activations, less the mean over the cells. The matrix of the kernel between all
    cells is centered, and its largest eigenvalue and eigenvector give the map. The sign is the one with which the map
    agrees with the sum over the channels. With the linear kernel this is the principal component of the centered
    activations. The sigmoid kernel, the paper's first choice, is not positive definite: if no eigenvalue is positive,
    the map is 0.

    Args:
        probe: network, images and layer; the class plays no part.
        kernel: how alike two cells are: "sigmoid" tanh(gamma / K a b + 1), "rbf" exp(-gamma / K |a - b|^2), or
            "linear" a b.
        gamma: how fast the kernel bends, in units of 1 / K for K channels; the linear kernel has none.

    Returns:
        (N, h, w), signed, its sum over the cells is 0; a coordinate in the space of the kernel.

    Raises:
        ValueError: an unknown kernel, or so many cells that the matrix would not fit in memory.

    Source:
        Karmani et al. 2024; the kernels' constants are those of the authors' code (KernelPCA of scikit-learn).
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"kpca_cam offers {', '.join(get_args(Kernel))}; received {kernel!r}")
    activations = probe.activations  # (N, K, h, w)
    channels, height, width = activations.shape[1:]
    if height * width > MOST_CELLS:
        raise ValueError(
            f"kpca_cam compares all pairs of cells and takes at most {MOST_CELLS} of them; "
            f"layer {probe.layer!r} has {height * width}: choose a deeper layer"
        )
    cells = _precise(activations).flatten(2).transpose(1, 2)  # (N, h w, K)
    cells = cells - cells.mean(dim=1, keepdim=True)
    if kernel == "linear":
        return _component(cells @ cells.transpose(1, 2), cells, activations)
    if kernel == "sigmoid":
        return _component((gamma / channels * cells @ cells.transpose(1, 2) + 1).tanh(), cells, activations)
    return _component((-gamma / channels * torch.cdist(cells, cells).square()).exp(), cells, activations)


@attribution(
    title="FEM", cite="fuad2020features", level="layer", unit="activation",
    aliases=("Feature Explanation Method",),
    formula=r"M_{ij} = \sum_k \mu_k\, \mathbf{1}\big[A_{kij} > \mu_k + \kappa\, \sigma_k\big]",
)  # fmt: skip
def fem(probe: Probe, k: Annotated[float, Range(0.0, 5.0, r"\kappa")] = 2.0) -> Tensor:
    """Where channels answer far above their own mean, each counted with that mean; the same for every class.

    The standard deviation is that of all cells (divided by their number). pytorch-grad-cam differs: it adds up the
    activations, each channel weighted by the share of its cells that pass.

    Args:
        probe: network, images and layer; the class plays no part.
        k: a cell counts from so many standard deviations above its channel's mean.

    Returns:
        (N, h, w), at least 0 behind a ReLU, in units of the activations.

    Source:
        Fuad et al. 2020, section on the Feature Explanation Method (the k-sigma rule).
    """
    activations = probe.activations  # (N, K, h, w)
    std, mean = torch.std_mean(activations, dim=(2, 3), correction=0, keepdim=True)  # (N, K, 1, 1)
    return (mean * (activations > mean + k * std)).sum(dim=1)  # (N, h, w)


def _principal_direction(maps: Tensor) -> Tensor:
    """The first right singular vector of (cells x channels), by the smaller of its two Gram matrices: (N, K, 1, 1)."""
    cells = _precise(maps).flatten(2).transpose(1, 2)  # (N, h w, K)
    if cells.shape[1] < cells.shape[2]:
        value, across = _largest(cells @ cells.transpose(1, 2))  # (N, 1), (N, h w)
        scale = value.sqrt()  # (N, 1), the singular value
        along = (across[:, None] @ cells)[:, 0] / torch.where(scale > 0, scale, 1)  # (N, K)
    else:
        _, along = _largest(cells.transpose(1, 2) @ cells)  # (N, K)
    agrees = ((cells @ along[:, :, None])[:, :, 0] * cells.sum(dim=2)).sum(dim=1, keepdim=True)  # (N, 1)
    along = torch.where(agrees < 0, -along, along)
    return along[:, :, None, None].to(maps.dtype)  # (N, K, 1, 1)


def _component(kernel: Tensor, cells: Tensor, activations: Tensor) -> Tensor:
    """Each cell's coordinate (N, h, w) on the first component of a kernel matrix (N, h w, h w)."""
    rows = kernel.mean(dim=2, keepdim=True)  # (N, h w, 1); the matrix is symmetric
    value, vector = _largest(kernel - rows - rows.transpose(1, 2) + rows.mean(dim=1, keepdim=True))
    rounding = kernel.shape[1] * torch.finfo(kernel.dtype).eps * kernel.abs().amax(dim=(1, 2))[:, None]  # (N, 1)
    coordinate = torch.where(value > rounding, value.sqrt(), 0) * vector  # (N, h w); 0 where all cells are alike
    agrees = (coordinate * cells.sum(dim=2)).sum(dim=1, keepdim=True)  # (N, 1)
    coordinate = torch.where(agrees < 0, -coordinate, coordinate)
    return coordinate.reshape(len(activations), *activations.shape[2:]).to(activations.dtype)  # (N, h, w)


def _largest(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue (N, 1), at least 0, and its eigenvector (N, n) of symmetric matrices (N, n, n)."""
    values, vectors = torch.linalg.eigh(symmetric)  # (N, n) ascending, (N, n, n)
    return values[:, -1:].clamp(min=0), vectors[:, :, -1]


def _precise(maps: Tensor) -> Tensor:
    """In float32 at least: there is no eigh in half precision."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
