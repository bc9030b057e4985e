"""Methods that average gradients over noise or along a path: identities, progress, independent libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam_pp, integrated_gradients, saliency, smooth_grad, smooth_grad_cam_pp
from normviz.attribution.methods.path import baseline_of
from normviz.attribution.targets import Difference
from tests.attribution.test_attribution import TARGETS, close
from tests.attribution.test_attribution_libraries import separate_relus
from tests.reference import attribution_gradient as reference
from tests.support.comparison import identical
from tests.support.nets import pictures, pooled_net, relu_net

ANYTIME: list[tuple[Callable[..., Tensor], str]] = [
    (smooth_grad, "samples"), (smooth_grad_cam_pp, "samples"), (integrated_gradients, "steps"),
]  # fmt: skip
anytime = pytest.mark.parametrize(("method", "count"), ANYTIME)


@pytest.fixture
def probe() -> Probe:
    """Two images and a network with batch norms, a residual sum and a hidden layer."""
    return Probe(relu_net(), pictures(), TARGETS, "bn2")


# What all of them promise


@anytime
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_the_chunk_changes_nothing(method: Callable[..., Tensor], count: str, chunk: int, probe: Probe) -> None:
    close(method(probe, **{count: 7}, chunk=chunk), method(probe, **{count: 7}), 1e-12)


@anytime
def test_progress_runs_over_all_images_and_previews_end_in_the_map(
    method: Callable[..., Tensor], count: str, probe: Probe
) -> None:
    shares: list[float] = []
    maps: list[Tensor] = []
    heatmap = method(probe, **{count: 7}, chunk=3, progress=shares.append, preview=maps.append)
    assert shares == [pytest.approx(step / 6) for step in range(1, 7)]
    assert [one.shape for one in maps] == [heatmap.shape] * 6
    assert identical(maps[-1], heatmap)
    assert not maps[0][1].any() and maps[0][0].any()  # the second image has not started
    assert identical(maps[2][0], heatmap[0])  # the first is finished
    off = [(one[0] - heatmap[0]).norm() for one in maps[:3]]
    assert off[0] > off[1] > off[2] == 0


@anytime
def test_it_can_be_stopped(method: Callable[..., Tensor], count: str, probe: Probe) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(probe, **{count: 7}, progress=stop)
    assert method(probe, **{count: 2}).any()


@anytime
def test_no_pass_is_larger_than_a_chunk(
    method: Callable[..., Tensor], count: str, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watched(own: Callable[..., Any]) -> Callable[..., Any]:
        def ask(self: Probe, images: Tensor, index: int = 0) -> Any:
            sizes.append(len(images))
            return own(self, images, index)

        return ask

    monkeypatch.setattr(Probe, "gradient_at", watched(Probe.gradient_at))
    monkeypatch.setattr(Probe, "layer_at", watched(Probe.layer_at))
    method(probe, **{count: 7}, chunk=3)
    assert sizes == [3, 3, 1, 3, 3, 1]


@anytime
def test_it_refuses_nothing_at_a_time(method: Callable[..., Tensor], count: str, probe: Probe) -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1; received 0"):
        method(probe, chunk=0)
    with pytest.raises(ValueError, match="the number of evaluations must be at least 1; received 0"):
        method(probe, **{count: 0})


@anytime
def test_a_target_that_is_no_class(method: Callable[..., Tensor], count: str) -> None:
    """The difference of two logits is the logit of a class with the difference of their weights."""
    net, images = relu_net(), pictures()
    ours = method(Probe(net, images, Difference(1, 3), "bn2"), **{count: 3})
    with torch.no_grad():
        net.fc.weight[1] -= net.fc.weight[3]
    close(ours, method(Probe(net, images, 1, "bn2"), **{count: 3}))


# Noise


@pytest.mark.parametrize("samples", [1, 5])
def test_without_noise_smooth_grad_is_saliency(samples: int, probe: Probe) -> None:
    close(smooth_grad(probe, sigma=0.0, samples=samples), saliency(probe), 1e-12)


def test_the_signed_gradients_are_averaged_not_their_magnitudes() -> None:
    """On y = |x| the gradient's sign is that of the noise, far from 0 on both sides: the average is small."""

    class Magnitude(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs().sum(dim=(1, 2, 3))[:, None]

    images = torch.full((1, 1, 8, 8), 1e-9, dtype=torch.float64)
    images[0, 0, 0, 0] = 1.0  # makes the range 1
    heatmap = smooth_grad(Probe(Magnitude(), images, 0), sigma=1.0, samples=400)
    assert heatmap[0, 1:].max() < 0.2 and saliency(Probe(Magnitude(), images, 0)).min() == 1


@pytest.mark.parametrize("samples", [1, 5])
def test_without_noise_smooth_grad_cam_pp_is_grad_cam_pp(samples: int, probe: Probe) -> None:
    close(smooth_grad_cam_pp(probe, sigma=0.0, samples=samples), grad_cam_pp(probe))


@pytest.mark.parametrize("method", [smooth_grad, smooth_grad_cam_pp])
def test_the_seed_decides_the_noise(method: Callable[..., Tensor], probe: Probe) -> None:
    first = method(probe, samples=3, seed=7)
    torch.testing.assert_close(first, method(probe, samples=3, seed=7), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(first, method(probe, samples=3, seed=8))
    slow = getattr(reference, method.__name__)
    net = probe.model.eval()
    for index, target in enumerate(TARGETS.tolist()):
        close(method(probe, 0.3, 3, 7)[index], slow(net, probe.images[index], target, "bn2", 0.3, 3, 7))


def test_more_samples_settle() -> None:
    probe = Probe(relu_net(), pictures(1), 2, "bn2")
    rough, fine = ([smooth_grad(probe, samples=n, seed=seed) for seed in range(4)] for n in (2, 50))

    def spread(maps: list[Tensor]) -> float:
        return float(torch.stack(maps).std(dim=0).mean())

    assert spread(fine) < 0.5 * spread(rough)


def test_on_a_pooled_head_noise_changes_no_gradient() -> None:
    """torch-cam can only be compared here: it sums g^3 A over the cells, where the paper has g^3 sum A."""
    from torchcam.methods import SmoothGradCAMpp

    net, images = pooled_net().eval(), pictures(1)
    ours = smooth_grad_cam_pp(Probe(net, images, 2), sigma=0.3, samples=4)
    close(ours, grad_cam_pp(Probe(net, images, 2)))
    with SmoothGradCAMpp(net, "relu", num_samples=4) as extractor:
        net(images)
        (weights,) = extractor._get_weights([2], eps=0.0)
    activations = Probe(net, images, 2).activations
    close(ours, (weights.detach()[:, :, None, None] * activations).sum(dim=1).relu())


@pytest.mark.parametrize("method", [smooth_grad, smooth_grad_cam_pp])
def test_the_note_tells_of_the_noise(method: Callable[..., Tensor], probe: Probe) -> None:
    notes: list[str] = []
    method(probe, samples=2, note=notes.append)
    assert len(notes) == 1 and notes[0].startswith("Mean over 2 noisy copies")
    assert "15% of the image's range, seed 0." in notes[0]


# The path


def test_a_linear_network_takes_one_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4)).double()
    probe = Probe(net, pictures(2, 4), TARGETS)
    weight = net.get_parameter("1.weight").detach()[TARGETS].reshape(2, 3, 4, 4)
    close(integrated_gradients(probe, steps=1), weight * probe.images)
    start = baseline_of(probe.images, "blur")
    close(integrated_gradients(probe, "blur", 1), weight * (probe.images - start))


@pytest.mark.parametrize("baseline", ["mean", "black", "blur"])
def test_the_map_adds_up_to_the_change_of_the_logit(baseline: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(600, 3)).double()
    probe = Probe(net, pictures(), TARGETS)
    start = baseline_of(probe.images, baseline)
    change = probe.score - Probe(net, start, TARGETS).score
    off = [
        (integrated_gradients(probe, baseline, steps).sum(dim=(1, 2, 3)) - change).abs().max() for steps in (10, 100)
    ]
    assert off[1] < 0.02 * off[0] and off[1] < 1e-3 * change.abs().max()  # the midpoint rule has order 2


@pytest.mark.parametrize("baseline", ["mean", "black", "blur"])
def test_it_equals_its_reference_from_any_baseline(baseline: Any, probe: Probe) -> None:
    ours = integrated_gradients(probe, baseline, 4)
    net = probe.model.eval()
    slow = [
        reference.integrated_gradients(net, x, int(c), "bn2", baseline, 4)
        for x, c in zip(probe.images, TARGETS, strict=True)
    ]
    close(ours, torch.stack(slow))


def test_captum_agrees() -> None:
    """Captum rounds the positions on the path to float32."""
    from captum.attr import IntegratedGradients

    net, images = separate_relus(), pictures()
    start = baseline_of(images, "black")
    theirs = IntegratedGradients(net).attribute(images, start, target=TARGETS, n_steps=20, method="riemann_middle")
    close(integrated_gradients(Probe(net, images, TARGETS), "black", 20), theirs.detach(), 1e-6)


def test_the_note_states_what_is_missing(probe: Probe) -> None:
    notes: list[str] = []
    heatmap = integrated_gradients(probe, steps=3, note=notes.append)
    change = probe.score - torch.cat([probe.score_at(torch.zeros_like(probe.images[:1]), index) for index in range(2)])
    missing = heatmap.sum(dim=(1, 2, 3)) - change
    worst = int(missing.abs().argmax())
    assert notes[0].startswith("Approximated with 3 points: the map sums to")
    assert f"changes by {float(change[worst]):.4g} from the baseline" in notes[0]
    assert f"the error is {float(missing[worst].abs()):.2g}" in notes[0]


def test_an_unknown_baseline_is_refused(probe: Probe) -> None:
    with pytest.raises(ValueError, match="supports the baselines mean, black, blur; received 'noise'"):
        integrated_gradients(probe, "noise")  # type: ignore[arg-type]
