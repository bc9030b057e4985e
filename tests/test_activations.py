"""Generated activations: the same numbers every time, with the moments that their names promise."""

from __future__ import annotations

import math

import pytest
import torch

from normviz.activations import (
    DESCRIPTIONS,
    DISTRIBUTIONS,
    LARGEST,
    LAYOUTS,
    Distribution,
    Layout,
    channel_axis,
    generate,
    layout_of,
    padding_mask,
)
from tests.support.comparison import identical

SHAPES: dict[Layout, tuple[int, ...]] = {
    "nc": (400, 100), "ntd": (40, 10, 100), "nchw": (20, 100, 4, 5), "ncdhw": (10, 100, 2, 4, 5),
}  # fmt: skip
# mean and variance
MOMENTS: dict[Distribution, tuple[float, float]] = {
    "normal": (0.0, 1.0),
    "skewed": (1.0, 1.0),
    "outliers": (0.0, 0.995 + 0.005 * 400),
    "sparse": (1 / math.sqrt(2 * math.pi), 0.5 - 0.5 / math.pi),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_seed_decides(layout: Layout, distribution: Distribution) -> None:
    x = generate(SHAPES[layout], distribution, seed=3)
    assert x.shape == SHAPES[layout] and x.dtype == torch.float32 and torch.isfinite(x).all()
    state = torch.get_rng_state()
    assert identical(x, generate(SHAPES[layout], distribution, seed=3))
    assert not identical(x, generate(SHAPES[layout], distribution, seed=4))
    assert identical(state, torch.get_rng_state())


def test_the_numbers_are_those_of_pytorchs_generator() -> None:
    expected = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert identical(generate((2, 3)), expected)
    assert identical(generate((2, 3), "sparse"), expected.clamp(min=0))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("distribution", MOMENTS)
def test_mean_and_variance(layout: Layout, distribution: Distribution) -> None:
    x = generate(SHAPES[layout], distribution).double()
    mean, variance = MOMENTS[distribution]
    assert float(x.mean()) == pytest.approx(mean, abs=0.03)
    assert float(x.var()) == pytest.approx(variance, rel=0.15)


def test_the_shapes_of_the_distributions() -> None:
    def quantile(x: torch.Tensor, share: float) -> float:
        return float(x.double().quantile(share))

    shape = SHAPES["nchw"]
    normal, skewed, heavy = (generate(shape, name) for name in ("normal", "skewed", "heavy-tailed"))
    outliers, sparse = generate(shape, "outliers"), generate(shape, "sparse")
    assert quantile(normal, 0.975) == pytest.approx(1.96, abs=0.05)
    assert skewed.min() >= 0 and quantile(skewed, 0.5) == pytest.approx(math.log(2), abs=0.03)
    for share, t in [(0.75, 0.765), (0.975, 3.182), (0.995, 5.841)]:  # Student's t, 3 degrees of freedom
        assert quantile(heavy, share) == pytest.approx(t, rel=0.1)
        assert quantile(heavy, 1 - share) == pytest.approx(-t, rel=0.1)
    assert float((outliers.abs() > 6).double().mean()) == pytest.approx(0.005 * 0.764, rel=0.2)
    assert sparse.min() == 0 and float((sparse == 0).double().mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shifted_and_constant_differ_by_channel(layout: Layout) -> None:
    def by_channel(name: Distribution) -> torch.Tensor:
        return generate(SHAPES[layout], name).movedim(channel_axis(layout), 0).flatten(1).double()  # (C, values)

    shifted, constant = by_channel("shifted"), by_channel("constant")
    assert float(shifted.mean(1).std()) == pytest.approx(3, rel=0.25)
    assert float(shifted.std(1).log().std()) == pytest.approx(0.7, rel=0.25)
    assert float(shifted.std(1).log().mean()) == pytest.approx(0, abs=0.25)
    assert (constant == constant[:, :1]).all() and len(set(constant[:, 0].tolist())) == 100
    assert float(constant[:, 0].std()) == pytest.approx(3, rel=0.25)


def test_every_distribution_is_described() -> None:
    assert tuple(DESCRIPTIONS) == DISTRIBUTIONS


def test_layouts_follow_the_rank() -> None:
    assert [layout_of(shape) for shape in SHAPES.values()] == list(SHAPES)
    assert [SHAPES[layout][channel_axis(layout)] for layout in LAYOUTS] == [100] * 4
    for shape in [(3,), (1, 2, 3, 4, 5, 6)]:
        with pytest.raises(ValueError, match=r"must be \(N, C\), \(N, T, D\), .* or \(N, C, D, H, W\); received shape"):
            layout_of(shape)


def test_what_cannot_be_generated_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"every size must be at least 1; received shape \(2, 0\)"):
        generate((2, 0))
    with pytest.raises(ValueError, match=f"at most {LARGEST:,} values can be generated"):
        generate((LARGEST, 2))
    with pytest.raises(ValueError, match=r"the distribution must be one of normal, .* received 'uniform'"):
        generate((2, 3), "uniform")  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.7])
def test_about_the_asked_share_is_padding_at_the_end(share: float) -> None:
    mask = padding_mask(400, 50, share, seed=1)
    assert mask.shape == (400, 50) and mask[:, 0].all() and mask[0].all()
    assert (mask[:, :-1] | ~mask[:, 1:]).all()  # a real frame never follows padding
    assert float(1 - mask.float().mean()) == pytest.approx(share, abs=0.04)
    assert identical(mask, padding_mask(400, 50, share, seed=1))
