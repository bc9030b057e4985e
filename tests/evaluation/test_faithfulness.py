"""Faithfulness: curves, drop and ROAD against slow references and closed forms; what is said of a map; means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normviz.attribution import Probe, grad_cam, saliency
from normviz.evaluation.baselines import center_map, random_map
from normviz.evaluation.faithfulness.assessment import (
    Assessment,
    Settings,
    assess,
    assess_all,
    baseline_maps,
    black_level,
    verdict,
)
from normviz.evaluation.faithfulness.measures import (
    ConfidenceChange,
    Curve,
    confidence_change,
    counts,
    deletion,
    insertion,
    masked_by_map,
    ranks,
)
from normviz.evaluation.faithfulness.replacements import blurred, replacement_pixels
from normviz.evaluation.faithfulness.road import NEIGHBORS, Road, impute, road
from normviz.evaluation.pixels import at_pixels
from tests.reference import evaluation as slow
from tests.support.comparison import identical
from tests.support.nets import pictures, relu_net

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 12
BLACK = (-2.0, -2.1, -1.9)


class Linear(nn.Module):
    """Logits w_c x + b_c: what each pixel adds is known."""

    def __init__(self, constant: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.fc = nn.Linear(3 * SIZE * SIZE, 4).double()
        if constant:
            nn.init.zeros_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


def _probe(target: int = 2) -> Probe:
    return Probe(relu_net(), pictures(), target)


def _heatmap(seed: int = 0) -> Tensor:
    """A signed map with ties: half of it is 0."""
    values = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values * (values.abs() > 0.6)


def _score(probe: Probe, probability: bool, index: int = 0, target: int = 2) -> slow.Score:
    net = probe.model.eval()

    def score(picture: slow.Array) -> float:
        with torch.no_grad():
            logits = net(torch.from_numpy(picture)[None])[0]
        return float((logits.softmax(dim=0) if probability else logits)[target])

    return score


def _shuffled(seed: int) -> list[int]:
    return torch.randperm(SIZE * SIZE, generator=torch.Generator().manual_seed(seed)).tolist()


# --- the order of the pixels --------------------------------------------------------------------------------------


def test_equal_pixels_follow_each_other_in_a_seeded_order() -> None:
    heatmap = torch.zeros(30, 30)
    heatmap[3, 4], heatmap[5, 5] = 2.0, -1.0
    places = ranks(heatmap, seed=1)
    assert int(places[3, 4]) == 0 and int(places[5, 5]) == 899
    assert sorted(places.flatten().tolist()) == list(range(900))
    assert identical(places, ranks(heatmap, seed=1)) and not identical(places, ranks(heatmap, seed=2))
    assert abs(float((places[:15] < 450).float().mean()) - 0.5) < 0.1  # not from the top down


def test_counts_run_from_none_to_all() -> None:
    assert counts(10, 4).tolist() == [0, 2, 5, 8, 10]
    assert counts(3, 50).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="at least 1 step"):
        counts(10, 0)


# --- deletion and insertion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("seed", [0, 7])
def test_curves_are_those_of_the_slow_version(probability: bool, seed: int) -> None:
    probe, heatmap = _probe(), _heatmap()
    image = probe.images[1]
    fill, blur = replacement_pixels(image, "mean"), blurred(image)
    common: dict[str, Any] = {"index": 1, "steps": 9, "seed": seed, "chunk": 4}
    gone = deletion(probe, heatmap, fill, probability=probability, **common)
    back = insertion(probe, heatmap, blur, probability=probability, **common)
    at = counts(SIZE * SIZE, 9).tolist()
    score = _score(probe, probability)
    arrays = image.numpy(), heatmap.numpy()
    down = slow.deletion(score, *arrays, fill.numpy(), _shuffled(seed), at)
    up = slow.insertion(score, *arrays, blur.numpy(), _shuffled(seed), at)
    np.testing.assert_allclose(gone.scores, down, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.scores, up, rtol=0, atol=1e-12)
    shares = [count / SIZE**2 for count in at]
    np.testing.assert_allclose(gone.shares, shares, rtol=0, atol=0)
    assert gone.area == pytest.approx(slow.trapezoid(shares, down), abs=1e-12)


def test_a_coarse_map_is_the_same_as_that_map_at_the_pixels() -> None:
    probe, coarse = _probe(), torch.randn(3, 3, dtype=torch.float64)
    fill = replacement_pixels(probe.images[0], "mean")
    one, other = (deletion(probe, m, fill, steps=5) for m in (coarse, at_pixels(coarse, (SIZE, SIZE))))
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("probability", [True, False])
def test_a_constant_model_gives_flat_curves(probability: bool) -> None:
    net = Linear(constant=True)
    probe = Probe(net, pictures(1), 1)
    image = probe.images[0]
    bias = net.fc.bias.detach()
    level = float((bias.softmax(dim=0) if probability else bias)[1])
    for curve in (
        deletion(probe, _heatmap(), replacement_pixels(image, "mean"), probability=probability),
        insertion(probe, _heatmap(), blurred(image), probability=probability),
    ):
        np.testing.assert_allclose(curve.scores, level, rtol=0, atol=1e-12)
        assert curve.area == pytest.approx(level, abs=1e-12)
    kept = confidence_change(probe, _heatmap(), replacement_pixels(image, "black", BLACK))
    assert kept.drop == pytest.approx(0, abs=1e-12)
    assert road(probe, _heatmap()).gap == pytest.approx(0, abs=1e-12)


def test_a_linear_models_curves_have_a_closed_form_and_no_map_beats_the_true_one() -> None:
    net = Linear()
    probe = Probe(net, pictures(1), 2)
    image = probe.images[0]
    fill, pixels = replacement_pixels(image, "mean"), SIZE * SIZE
    parts = ((net.fc.weight[2].detach().view(3, SIZE, SIZE)) * (image - fill)).sum(dim=0)  # what each pixel adds
    gone = deletion(probe, parts, fill, steps=pixels, probability=False)
    back = insertion(probe, parts, fill, steps=pixels, probability=False)
    descending = parts.flatten().sort(descending=True).values.numpy()
    logit = float(probe.logits[0, 2])
    removed = np.concatenate([[0.0], np.cumsum(descending)])
    np.testing.assert_allclose(gone.scores, logit - removed, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.scores, logit - removed[-1] + removed, rtol=0, atol=1e-12)
    weights = (pixels - np.arange(pixels) - 0.5) / pixels  # the trapezoid under a step at each place
    assert gone.area == pytest.approx(logit - (descending * weights).sum(), abs=1e-12)
    for seed in range(5):
        other = deletion(probe, random_map((SIZE, SIZE), seed), fill, steps=pixels, probability=False)
        assert (gone.scores <= other.scores + 1e-12).all() and gone.area < other.area - 0.05
    for rival in baseline_maps(image, (4, 4)).values():
        assert gone.area < deletion(probe, rival, fill, steps=pixels, probability=False).area
        assert back.area > insertion(probe, rival, fill, steps=pixels, probability=False).area
    worst = deletion(probe, -parts, fill, steps=pixels, probability=False)
    assert gone.area + worst.area == pytest.approx(2 * logit - removed[-1], abs=1e-12)  # one is the other, turned


def test_the_chunk_changes_nothing_and_progress_runs_to_the_end() -> None:
    probe, shares = _probe(), list[float]()
    fill = replacement_pixels(probe.images[0], "mean")
    curves = [
        deletion(probe, _heatmap(), fill, steps=10, chunk=chunk, progress=shares.append if chunk == 3 else None)
        for chunk in (1, 3, 64)
    ]
    for curve in curves[1:]:
        np.testing.assert_allclose(curve.scores, curves[0].scores, rtol=0, atol=1e-12)
    assert shares == pytest.approx([3 / 11, 6 / 11, 9 / 11, 1])


class _Stop(Exception):
    pass


def test_it_can_be_given_up() -> None:
    def stop(share: float) -> None:
        raise _Stop

    probe = _probe()
    fill = replacement_pixels(probe.images[0], "mean")
    for run in (
        lambda: deletion(probe, _heatmap(), fill, progress=stop),
        lambda: road(probe, _heatmap(), progress=stop),
        lambda: assess(probe, _heatmap(), BLACK, progress=stop),
    ):
        with pytest.raises(_Stop):
            run()


def test_what_does_not_fit_is_refused() -> None:
    probe = _probe()
    with pytest.raises(ValueError, match=r"must have the shape of the image, \(3, 12, 12\); received \(3, 5, 5\)"):
        deletion(probe, _heatmap(), torch.zeros(3, 5, 5))
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        deletion(probe, _heatmap(), torch.zeros(3, SIZE, SIZE), chunk=0)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        road(probe, _heatmap(), shares=(0.5, 1.0))
    with pytest.raises(ValueError, match="too small"):
        road(probe, _heatmap(), shares=(0.001,))


def test_the_score_between_two_pictures_lies_on_the_line() -> None:
    curve = Curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0]))
    assert curve.at(0.25) == pytest.approx(0.75) and curve.area == pytest.approx(0.5)


# --- drop and increase --------------------------------------------------------------------------------------------


def test_the_photo_seen_through_its_map() -> None:
    image, dark = pictures(1)[0], replacement_pixels(pictures(1)[0], "black", BLACK)
    for heatmap in (_heatmap(), -_heatmap().abs(), torch.zeros(SIZE, SIZE, dtype=torch.float64)):
        expected = slow.masked_by_map(image.numpy(), heatmap.numpy(), dark.numpy())
        np.testing.assert_allclose(masked_by_map(image, heatmap, dark).numpy(), expected, rtol=0, atol=1e-12)


def test_black_makes_it_the_product_of_photo_and_map() -> None:
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.3, 0.25])[:, None, None]
    photo, light = torch.rand(3, 5, 5), torch.rand(5, 5)
    dark = replacement_pixels(
        (photo - mean) / std, "black", black_level(mean.flatten().tolist(), std.flatten().tolist())
    )
    seen = masked_by_map((photo - mean) / std, light, dark) * std + mean
    torch.testing.assert_close(seen, photo * light / light.max())


def test_a_bright_map_keeps_everything_and_an_empty_one_nothing() -> None:
    probe = _probe()
    dark = replacement_pixels(probe.images[0], "black", BLACK)
    full = confidence_change(probe, torch.ones(3, 3), dark)
    assert full.before == pytest.approx(full.after) == pytest.approx(float(probe.logits[0].softmax(dim=0)[2]))
    empty = confidence_change(probe, torch.zeros(3, 3), dark)
    assert empty.after == pytest.approx(float(probe.score_at(dark[None], 0, True)))


def test_drop_and_increase_by_hand() -> None:
    assert ConfidenceChange(0.8, 0.2).drop == pytest.approx(0.75) and not ConfidenceChange(0.8, 0.2).increased
    assert ConfidenceChange(0.2, 0.8).drop == 0 and ConfidenceChange(0.2, 0.8).increased
    assert ConfidenceChange(0.0, 0.0).drop == 0 and not ConfidenceChange(0.5, 0.5).increased


# --- ROAD ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_imputed_pixels_are_those_of_the_dense_system(share: float) -> None:
    image = torch.randn(3, 9, 11, dtype=torch.float64)
    hole = random_map((9, 11), 4) < share
    found = impute(image, hole, noise=0)
    np.testing.assert_allclose(found.numpy(), slow.impute(image.numpy(), hole.numpy()), rtol=0, atol=1e-10)
    assert identical(found[:, ~hole], image[:, ~hole])


def test_one_pixel_becomes_the_weighted_mean_of_its_neighbors() -> None:
    image, hole = torch.randn(1, 3, 3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.bool)
    hole[1, 1] = True
    expected = sum(weight * image[0, 1 + i, 1 + j] for (i, j), weight in NEIGHBORS.items())
    torch.testing.assert_close(impute(image, hole, noise=0)[0, 1, 1], expected, rtol=0, atol=1e-12)
    assert sum(NEIGHBORS.values()) == pytest.approx(1)


def test_a_plain_or_evenly_rising_picture_is_found_again() -> None:
    plain = torch.full((3, 8, 8), 0.7, dtype=torch.float64)
    hole = random_map((8, 8), 0) < 0.6
    torch.testing.assert_close(impute(plain, hole, noise=0), plain, rtol=0, atol=1e-12)
    rising = torch.arange(64, dtype=torch.float64).view(1, 8, 8)
    inner = hole.clone()
    inner[0], inner[-1], inner[:, 0], inner[:, -1] = False, False, False, False
    torch.testing.assert_close(impute(rising, inner, noise=0), rising, rtol=0, atol=1e-10)


def test_noise_follows_from_its_seed_and_touches_removed_pixels_only() -> None:
    image, hole = torch.zeros(3, 40, 40, dtype=torch.float64), center_map((40, 40)) > 0.3
    one, same, other = (impute(image, hole, 0.1, seed) for seed in (1, 1, 2))
    assert identical(one, same) and not identical(one, other)
    assert not one[:, ~hole].any()
    assert float(one[:, hole].std()) == pytest.approx(0.1, rel=0.1)
    assert not image.any() and identical(impute(image, torch.zeros_like(hole)), image)
    with pytest.raises(ValueError, match="at least one pixel must remain"):
        impute(image, torch.ones_like(hole))


def test_road_removes_the_most_and_the_least_relevant_pixels() -> None:
    probe, heatmap = _probe(), _heatmap()
    image, score = probe.images[0], _score(probe, True)
    found = road(probe, heatmap, shares=(0.25, 0.5), noise=0, seed=3, chunk=3)
    pixels = slow.order(heatmap.numpy(), _shuffled(3))
    for place, count in enumerate((36, 72)):
        for scores, chosen in ((found.most, pixels[:count]), (found.least, pixels[-count:])):
            hole = np.zeros(SIZE * SIZE, dtype=bool)
            hole[chosen] = True
            expected = score(slow.impute(image.numpy(), hole.reshape(SIZE, SIZE)))
            assert scores[place] == pytest.approx(expected, abs=1e-10)
    assert found.shares.tolist() == [0.25, 0.5]
    assert found.gap == pytest.approx(float(np.mean(found.least) - np.mean(found.most)))


# --- all of it, and what is said ----------------------------------------------------------------------------------


def test_maps_are_judged_one_by_one_and_together_alike() -> None:
    probe, shares = Probe(relu_net(), pictures(), 1, "conv2"), list[float]()
    how = Settings(replacement="black", steps=4, seed=2, chunk=5)
    maps = {"Grad-CAM": grad_cam(probe)[1], "Saliency": saliency(probe)[1]} | baseline_maps(probe.images[1], (6, 6), 2)
    found = assess_all(probe, maps, BLACK, how, index=1, progress=shares.append)
    assert list(found) == ["Grad-CAM", "Saliency", "random", "center", "edges"]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    alone = assess(probe, maps["Saliency"], BLACK, how, index=1)
    np.testing.assert_array_equal(alone.insertion.scores, found["Saliency"].insertion.scores)
    np.testing.assert_array_equal(alone.road.most, found["Saliency"].road.most)
    dark = replacement_pixels(probe.images[1], "black", BLACK)
    expected = deletion(probe, maps["center"], dark, index=1, steps=4, seed=2)
    np.testing.assert_allclose(found["center"].deletion.scores, expected.scores, rtol=0, atol=1e-12)


def _judged(removed: float, put_back: float) -> Assessment:
    x = np.array([0.0, 1.0])
    flat = np.zeros(1)
    return Assessment(
        Curve(x, np.full(2, removed)),
        Curve(x, np.full(2, put_back)),
        ConfidenceChange(1.0, 1.0),
        Road(flat, flat, flat),
    )


def test_the_verdict_names_who_is_beaten_and_who_is_not() -> None:
    beside = {"random": _judged(0.5, 0.5), "center": _judged(0.4, 0.6), "edges": _judged(0.45, 0.4)}
    best = verdict(_judged(0.2, 0.9), beside)
    assert best.good
    assert best.text == (
        "Removing what the map marks lowers the probability faster than with a random map, the image's center and "
        "the edges (Sobel). Putting it back raises the probability faster than with a random map, the image's center "
        "and the edges (Sobel). On this photo the map is better than all three."
    )
    center = verdict(_judged(0.4, 0.55), beside, "logit")
    assert not center.good
    assert "about as fast as with the image's center" in center.text and "lowers the logit" in center.text
    assert "slower than with the image's center" in center.text and "object near an edge" in center.text
    assert "no evidence" in verdict(_judged(0.6, 0.3), beside).text
    assert "not better than the edges" in verdict(_judged(0.2, 0.9), beside | {"edges": _judged(0.1, 0.9)}).text
    mixed = verdict(_judged(0.2, 0.9), beside | {"center": _judged(0.4, 0.95), "edges": _judged(0.1, 0.5)})
    assert not mixed.good
    assert mixed.text.endswith(
        "The two curves disagree about the image's center and the edges (Sobel), so this photo does not show that the "
        "map is better."
    )
