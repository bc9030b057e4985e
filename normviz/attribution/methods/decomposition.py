"""Attribution by decomposition of a layer's activations, mostly independent of the class.

The map is the projection on the first principal direction of the activations (Eigen-CAM), of the activations times
their gradients (EigenGrad-CAM), or in a kernel space (KPCA-CAM); or it marks cells with unusually high activations
(FEM). No extra forward pass is needed, and only EigenGrad-CAM depends on the class.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import torch
from torch import Tensor

from normviz.attribution.engine.probe import Probe
from normviz.registry import Range, attribution

__all__ = ["eigen_cam", "eigen_grad_cam", "fem", "kpca_cam"]

Kernel = Literal["sigmoid", "rbf", "linear"]
MAX_CELLS = 4096  # limits the kernel matrix (cells x cells) to 128 MiB in float64


def _eigen_cam_weights(probe: Probe) -> Tensor:
    """The first right singular vector of the activations, as one weight per channel: (N, K, 1, 1)."""
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
    """The activations projected on their first principal direction; the same for every class.

    The paper decomposes the activations (cells x channels) without subtracting the mean. The sign of a singular vector
    is arbitrary: here it is chosen so that the map has a nonnegative inner product with the sum over the channels, so
    nonnegative activations give a nonnegative map. pytorch-grad-cam subtracts each channel's mean first, which is
    KPCA-CAM with the linear kernel, and leaves the sign arbitrary.

    Args:
        probe: network, images and layer; the class has no effect.

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
    """Eigen-CAM of the activations times their gradients, i.e. of the evidence for the class.

    The library subtracts each channel's mean first and leaves the sign arbitrary. Here nothing is subtracted, as in
    Eigen-CAM, and the sign is chosen so that the map has a nonnegative inner product with the sum of the evidence over
    the channels (HiResCAM): positive values are evidence for the class.

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
    """Each cell's coordinate on the first kernel principal component; the same for every class.

    A cell is the vector of its K activations, minus the mean over the cells. The kernel matrix of all pairs of cells is
    centered; its largest eigenvalue and the eigenvector give the map. The sign is chosen so that the map has a
    nonnegative inner product with the sum over the channels. With the linear kernel this is the principal component of
    the centered activations. The sigmoid kernel, the paper's first choice, is not positive definite: if no eigenvalue
    is positive, the map is 0.

    Args:
        probe: network, images and layer; the class has no effect.
        kernel: similarity of two cells: "sigmoid" tanh(gamma / K a b + 1), "rbf" exp(-gamma / K |a - b|^2), or
            "linear" a b.
        gamma: scale of the kernel, in units of 1 / K for K channels; ignored by the linear kernel.

    Returns:
        (N, h, w), signed, with sum 0 over the cells: a coordinate in kernel space.

    Raises:
        ValueError: an unknown kernel, or more than 4096 cells.

    Source:
        Karmani et al. 2024; the kernels' constants are those of the authors' code (KernelPCA of scikit-learn).
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"kpca_cam supports {', '.join(get_args(Kernel))}; received {kernel!r}")
    activations = probe.activations  # (N, K, h, w)
    channels, height, width = activations.shape[1:]
    if height * width > MAX_CELLS:
        raise ValueError(
            f"kpca_cam compares all pairs of cells and supports at most {MAX_CELLS} of them; "
            f"layer {probe.layer!r} has {height * width}: choose a deeper layer"
        )
    cells = _at_least_float32(activations).flatten(2).transpose(1, 2)  # (N, h w, K)
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
    """Cells with activations far above the mean of their channel, weighted by that mean; the same for every class.

    The standard deviation divides by the number of cells. pytorch-grad-cam differs: it sums the activations, with each
    channel weighted by its share of cells above the threshold.

    Args:
        probe: network, images and layer; the class has no effect.
        k: threshold in standard deviations above the channel's mean.

    Returns:
        (N, h, w), at least 0 after a ReLU, in units of the activations.

    Source:
        Fuad et al. 2020, section on the Feature Explanation Method (the k-sigma rule).
    """
    activations = probe.activations  # (N, K, h, w)
    std, mean = torch.std_mean(activations, dim=(2, 3), correction=0, keepdim=True)  # (N, K, 1, 1)
    return (mean * (activations > mean + k * std)).sum(dim=1)  # (N, h, w)


def _principal_direction(maps: Tensor) -> Tensor:
    """The first right singular vector of (cells x channels), from the smaller Gram matrix: (N, K, 1, 1)."""
    cells = _at_least_float32(maps).flatten(2).transpose(1, 2)  # (N, h w, K)
    if cells.shape[1] < cells.shape[2]:
        value, left = _largest(cells @ cells.transpose(1, 2))  # (N, 1), (N, h w)
        scale = value.sqrt()  # (N, 1), the singular value
        direction = (left[:, None] @ cells)[:, 0] / torch.where(scale > 0, scale, 1)  # (N, K)
    else:
        _, direction = _largest(cells.transpose(1, 2) @ cells)  # (N, K)
    agrees = ((cells @ direction[:, :, None])[:, :, 0] * cells.sum(dim=2)).sum(dim=1, keepdim=True)  # (N, 1)
    direction = torch.where(agrees < 0, -direction, direction)
    return direction[:, :, None, None].to(maps.dtype)  # (N, K, 1, 1)


def _component(kernel: Tensor, cells: Tensor, activations: Tensor) -> Tensor:
    """Each cell's coordinate (N, h, w) on the first component of a kernel matrix (N, h w, h w)."""
    rows = kernel.mean(dim=2, keepdim=True)  # (N, h w, 1); the matrix is symmetric
    value, vector = _largest(kernel - rows - rows.transpose(1, 2) + rows.mean(dim=1, keepdim=True))
    rounding = kernel.shape[1] * torch.finfo(kernel.dtype).eps * kernel.abs().amax(dim=(1, 2))[:, None]  # (N, 1)
    coordinate = torch.where(value > rounding, value.sqrt(), 0) * vector  # (N, h w); 0 if all cells are equal
    agrees = (coordinate * cells.sum(dim=2)).sum(dim=1, keepdim=True)  # (N, 1)
    coordinate = torch.where(agrees < 0, -coordinate, coordinate)
    return coordinate.reshape(len(activations), *activations.shape[2:]).to(activations.dtype)  # (N, h, w)


def _largest(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue (N, 1), at least 0, and its eigenvector (N, n) of symmetric matrices (N, n, n)."""
    values, vectors = torch.linalg.eigh(symmetric)  # (N, n) ascending, (N, n, n)
    return values[:, -1:].clamp(min=0), vectors[:, :, -1]


def _at_least_float32(maps: Tensor) -> Tensor:
    """The maps in float32 or higher precision, because eigh does not support half precision."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
