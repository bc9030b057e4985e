"""Decompositions of activations against slow references, closed forms and each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, eigen_cam, eigen_grad_cam, fem, hires_cam, kpca_cam
from normviz.attribution.methods import decomposition
from normviz.registry import get
from tests.reference import attribution_perturbation as reference
from tests.support.nets import PooledNet, pictures, pooled_net, relu_net

TARGETS = torch.tensor([2, 0])
LAYERS = ("conv1", "bn2", "pool")  # 8 channels; 144, 36 and 36 cells


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """Equal within a fraction of the largest value."""
    assert ours.shape == theirs.shape
    off, scale = (ours - theirs).abs().max(), theirs.abs().max()
    assert scale > 0, "an empty map proves nothing"
    assert off <= tolerance * scale, f"off by {off:.3g} of {scale:.3g}"


class Given(nn.Module):
    """A network with a layer that returns the image, for arbitrary activations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.fc = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.maps(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def given(activations: Tensor) -> Probe:
    """A probe with the given activations (N, K, h, w)."""
    torch.manual_seed(0)
    return Probe(Given(activations.shape[1]).to(activations.dtype), activations, 1, "maps")


def many_channels() -> Probe:
    """More channels than cells: the other Gram matrix is the smaller one."""
    torch.manual_seed(0)
    return Probe(PooledNet(channels=40).double(), pictures(2, 5), TARGETS, "conv")


# Against the references


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam", "kpca_cam", "fem"])
@pytest.mark.parametrize("layer", LAYERS)
def test_equals_its_reference(name: str, layer: str) -> None:
    net, images = relu_net(seed=4), pictures()
    ours = get(name).function(Probe(net, images, TARGETS, layer))
    slow = getattr(reference, name)
    close(ours, torch.stack([slow(net.eval(), x, int(c), layer) for x, c in zip(images, TARGETS, strict=True)]))


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam", "kpca_cam", "fem"])
def test_equals_its_reference_with_more_channels_than_cells(name: str) -> None:
    probe = many_channels()
    assert probe.activations.shape[1:] == (40, 5, 5)
    slow = getattr(reference, name)
    theirs = [slow(probe.model.eval(), x, int(c), "conv") for x, c in zip(probe.images, TARGETS, strict=True)]
    close(get(name).function(probe), torch.stack(theirs))


@pytest.mark.parametrize("kernel", ["sigmoid", "rbf", "linear"])
@pytest.mark.parametrize("gamma", [0.01, 5.0])
def test_kernels_equal_their_references(kernel: decomposition.Kernel, gamma: float) -> None:
    net, images = relu_net(seed=2), pictures(1)
    ours = kpca_cam(Probe(net, images, 1, "pool"), kernel, gamma)
    close(ours[0], reference.kpca_cam(net.eval(), images[0], 1, "pool", kernel, gamma))


@pytest.mark.parametrize("k", [0.0, 1.0, 1.8])
def test_fem_thresholds_equal_their_reference(k: float) -> None:
    net, images = relu_net(seed=2), pictures(1)
    close(fem(Probe(net, images, 1, "bn2"), k)[0], reference.fem(net.eval(), images[0], 1, "bn2", k))


# Closed forms


@pytest.mark.parametrize("count", [3, 40])
def test_one_pattern_in_all_channels_is_found_with_its_singular_value(count: int) -> None:
    """Activations s u v: the map is s u, whatever the signs of u and v."""
    generator = torch.Generator().manual_seed(3)
    u = torch.randn(1, 1, 4, 5, generator=generator, dtype=torch.float64)
    v = torch.randn(1, count, 1, 1, generator=generator, dtype=torch.float64)
    heatmap = eigen_cam(given(7 * u / u.norm() * v / v.norm()))[0]
    sign = float(v.sum().sign())
    close(heatmap, sign * 7 * (u / u.norm())[0, 0])


def test_activations_that_are_nowhere_negative_give_a_map_that_is_nowhere_negative() -> None:
    heatmap = eigen_cam(Probe(pooled_net(), pictures(), TARGETS, "relu"))
    assert heatmap.min() >= 0 and heatmap.max() > 0


@pytest.mark.parametrize("method", [eigen_cam, eigen_grad_cam])
def test_no_direction_holds_more_of_the_activations(method: object) -> None:
    """The map's norm is the largest singular value."""
    probe = many_channels()
    maps = probe.activations if method is eigen_cam else probe.gradients * probe.activations
    heatmap = eigen_cam(probe) if method is eigen_cam else eigen_grad_cam(probe)
    for one, drawn in zip(maps, heatmap, strict=True):
        largest = torch.linalg.matrix_norm(one.flatten(1), ord=2)
        torch.testing.assert_close(drawn.norm(), largest)


def test_the_map_is_the_weighted_sum_of_the_activations() -> None:
    probe = many_channels()
    for name in ("eigen_cam", "eigen_grad_cam"):
        weights = get(name, "attribution").weights
        assert weights is not None
        close(get(name).function(probe), (weights(probe) * probe.activations).sum(dim=1))


def test_the_linear_kernel_is_eigen_cam_of_the_centered_activations() -> None:
    activations = relu_activations()
    centered = activations - activations.mean(dim=(2, 3), keepdim=True)
    close(kpca_cam(given(activations), "linear"), eigen_cam(given(centered)))


def test_a_wide_rbf_kernel_is_the_linear_one() -> None:
    """For small gamma exp(-gamma d^2) is linear in the inner products once it is centered."""
    probe = given(relu_activations())
    wide, linear = kpca_cam(probe, "rbf", 0.001), kpca_cam(probe, "linear")
    close(wide / wide.norm(), linear / linear.norm(), 2e-2)


def test_kernel_maps_sum_to_zero_and_ignore_the_order_of_the_cells() -> None:
    activations = relu_activations()
    turned = activations.flip(3).transpose(2, 3)
    for kernel in ("sigmoid", "rbf", "linear"):
        heatmap = kpca_cam(given(activations), kernel)
        assert heatmap.sum().abs() <= 1e-9 * heatmap.abs().sum()
        close(kpca_cam(given(turned), kernel), heatmap.flip(2).transpose(1, 2))


def test_the_sign_agrees_with_the_sum_over_the_channels() -> None:
    for seed in range(8):
        maps = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        probe = given(maps)
        assert (eigen_cam(probe) * maps.sum(dim=1)).sum() >= 0
        assert (eigen_grad_cam(probe) * hires_cam(probe)).sum() >= 0
        centered = maps.sum(dim=1) - maps.sum(dim=1).mean()
        assert all((kpca_cam(probe, kernel) * centered).sum() >= 0 for kernel in ("sigmoid", "rbf", "linear"))


def test_fem_counts_only_cells_far_above_the_mean() -> None:
    maps = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    maps[0, 0, 1, 1], maps[0, 1, 0, 2] = 9.0, 18.0  # means 1 and 2, standard deviations sqrt(8) and 2 sqrt(8)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[1, 1], expected[0, 2] = 1.0, 2.0
    torch.testing.assert_close(fem(given(maps))[0], expected, rtol=1e-12, atol=0)
    assert not fem(given(maps), k=3.0).any()  # 1 + 3 sqrt(8) > 9


# Which class


def test_only_the_gradients_know_the_class() -> None:
    probe = Probe(relu_net(), pictures(), 0, "bn2")
    other = probe.for_target(3)
    for method in (eigen_cam, kpca_cam, fem):
        torch.testing.assert_close(method(probe), method(other), rtol=1e-12, atol=1e-12)
    assert (eigen_grad_cam(probe) - eigen_grad_cam(other)).abs().max() > 0.1 * eigen_grad_cam(probe).abs().max()


# Limits


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam", "kpca_cam", "fem"])
@pytest.mark.parametrize("channels", [3, 40])
def test_dead_layers_give_an_empty_map(name: str, channels: int) -> None:
    heatmap = get(name).function(given(torch.zeros(2, channels, 4, 4)))
    assert heatmap.shape == (2, 4, 4) and torch.isfinite(heatmap).all() and not heatmap.any()


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam", "kpca_cam", "fem"])
def test_half_precision_is_computed_in_single(name: str) -> None:
    maps = relu_activations()
    half, full = get(name).function(given(maps.bfloat16())), get(name).function(given(maps.bfloat16().float()))
    assert half.dtype == torch.bfloat16
    if name != "fem":  # a cell near the threshold may fall on its other side
        assert (half.float() - full).abs().max() <= 0.02 * full.abs().max()


def test_kpca_refuses_what_it_does_not_offer() -> None:
    with pytest.raises(ValueError, match="kpca_cam supports sigmoid, rbf, linear; received 'cosine'"):
        kpca_cam(given(relu_activations()), "cosine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"at most 4096 of them; layer 'maps' has 4225"):
        kpca_cam(given(torch.rand(1, 2, 65, 65)))


def relu_activations() -> Tensor:
    """Activations (2, 8, 6, 6) of a network, none of them negative."""
    return Probe(relu_net(seed=1), pictures(), 0, "pool").activations.clone()
