"""The bootstrap interval: its width and coverage, and the intervals that are shipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normviz.evaluation import bootstrap
from normviz.evaluation.bootstrap import mean_and_interval
from normviz.evaluation.localization.benchmark import ANY, BASELINES, RESAMPLES, baseline_maps, scores
from normviz.evaluation.localization.questions import make_questions
from normviz.evaluation.localization.report import SHIPPED, read


def test_it_is_seeded_and_right() -> None:
    coin = (torch.arange(400) % 4 == 0).float()  # p = .25
    mean, low, high = mean_and_interval(coin, resamples=2000)
    error = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert mean == pytest.approx(0.25)
    assert [low, high] == pytest.approx([0.25 - error, 0.25 + error], abs=0.006)
    assert mean_and_interval(coin, resamples=2000) == (mean, low, high)
    assert mean_and_interval(coin, seed=1, resamples=2000) != (mean, low, high)
    assert mean_and_interval(torch.full((9,), 0.5)) == pytest.approx((0.5, 0.5, 0.5))
    assert mean_and_interval([0.0, 1.0], resamples=4000)[1:] == pytest.approx((0, 1))
    wide = mean_and_interval(coin[:40], resamples=2000)
    assert wide.high - wide.low > 2.5 * (high - low)


def test_ninety_five_percent_of_the_intervals_hold_the_true_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    held = 0
    for seed in range(300):
        mean, low, high = mean_and_interval(torch.rand(60, generator=generator), seed, resamples=400)
        held += low <= 0.5 <= high
        assert low <= mean <= high
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize("batch", [1, 7, 500, 10_000])
def test_the_interval_does_not_depend_on_the_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The percentiles of all resamples drawn at once with numpy, within the noise of 4,000 resamples."""
    values = np.random.default_rng(0).random(37)
    drawn = np.random.default_rng(3).integers(37, size=(4000, 37))
    ends = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    monkeypatch.setattr(bootstrap, "BATCH", batch)
    found = mean_and_interval(values, 3, 4000)
    assert found.mean == pytest.approx(values.mean())
    assert found[1:] == pytest.approx(ends, abs=TOLERANCE * (ends[1] - ends[0]))


# The intervals that the project's earlier resampling gave: values, seed, resamples, interval.
# Two draws of the same percentile interval differ by resampling noise; TOLERANCE is about five of its standard
# deviations for 400 resamples, and a step between neighboring means is added for samples of few distinct values.
TOLERANCE = 0.15  # as a share of the interval's width
COIN = (torch.arange(400) % 4 == 0).float()
SEVENTHS = torch.arange(7.0) / 7
THIRDS = (torch.arange(200) % 3).float() / 3
DRAWN = [
    (COIN, 0, 2000, (0.25, 0.21, 0.29)),
    (COIN, 3, 2000, (0.25, 0.21, 0.2925)),
    (COIN, 1, 400, (0.25, 0.2075, 0.29006249999999995)),
    (SEVENTHS, 0, 2000, (0.42857143921511515, 0.22448980169636862, 0.63265307678708)),
    (SEVENTHS, 1, 400, (0.42857143921511515, 0.2040816375187465, 0.6127551206520621)),
    (THIRDS, 0, 2000, (0.3316666765511036, 0.2950000087916851, 0.36833334431052206)),
    (THIRDS, 3, 2000, (0.3316666765511036, 0.2966666755080223, 0.3700000110268593)),
]


@pytest.mark.parametrize(("values", "seed", "resamples", "interval"), DRAWN)
def test_the_interval_agrees_with_the_earlier_resampling(
    values: torch.Tensor, seed: int, resamples: int, interval: tuple[float, float, float]
) -> None:
    found = mean_and_interval(values, seed, resamples)
    assert found.mean == pytest.approx(interval[0], rel=1e-7)
    assert found[1:] == pytest.approx(interval[1:], abs=TOLERANCE * (interval[2] - interval[1]))
    for other in (values.numpy(), values.tolist()):
        assert mean_and_interval(other, seed, resamples) == pytest.approx(found, rel=1e-12)


def test_one_value_and_constant_values_have_an_interval_of_width_0() -> None:
    assert mean_and_interval([0.3]) == pytest.approx((0.3, 0.3, 0.3))
    assert mean_and_interval(np.full(50, 0.3)) == pytest.approx((0.3, 0.3, 0.3))


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_shipped_intervals_follow_from_their_scenes(baseline: str) -> None:
    if not SHIPPED.exists():
        pytest.skip("no report is shipped yet: normviz localization --out assets/localization.json")
    shipped = read(SHIPPED)
    (result,) = (r for r in shipped.results if (r.network, r.method, r.kind) == (ANY, baseline, "one"))
    asked = make_questions("one", shipped.scenes, shipped.seed)
    found = scores(baseline_maps(baseline, asked), asked)
    assert {row.measure for row in result.rows} == set(found)
    for row in result.rows:
        interval = mean_and_interval(found[row.measure], resamples=RESAMPLES)
        assert interval.mean == pytest.approx(row.mean, abs=6e-5)  # the report holds four decimals
        assert interval[1:] == pytest.approx((row.low, row.high), abs=TOLERANCE * (row.high - row.low))


def test_invalid_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"row of finite numbers; received shape \(0,\)"):
        mean_and_interval(torch.zeros(0))
    with pytest.raises(ValueError, match=r"received shape \(2, 2\)"):
        mean_and_interval([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="row of finite numbers"):
        mean_and_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="at least 1; received 0"):
        mean_and_interval([1.0], resamples=0)
