"""Groups, their statistics and their histograms, from the pattern alone."""

from __future__ import annotations

from itertools import product

import einops
import numpy as np
import pytest
import torch
from torch import Tensor

from normviz.normalization.analysis import statistics
from normviz.normalization.analysis.statistics import (
    check_finite,
    group_histograms,
    group_statistics,
    histogram,
    value_range,
)
from normviz.normalization.patterns import count, describe_axes, group_index, kept_axes, order, shared_axes, sizes
from normviz.registry import Value, get
from tests.support.cases import random
from tests.support.comparison import identical

SHAPES = {"nc": (5, 12), "ntd": (2, 5, 12), "nchw": (3, 12, 2, 4)}
SIZES = {"g": 4, "b": 3}
# pattern, layout, number of groups at SHAPES, the shared axes, and these in words
PATTERNS = [
    ("n c -> c", "nc", 12, ("n",), "shared over N"),
    ("n c -> n", "nc", 5, ("c",), "shared over C"),
    ("n (g c) -> n g", "nc", 20, ("c",), "shared over C/G"),
    ("n d t -> d", "ntd", 12, ("n", "t"), "shared over N, T"),
    ("n t d -> n t", "ntd", 10, ("d",), "shared over D"),
    ("n d t -> n d", "ntd", 24, ("t",), "shared over T"),
    ("n (g d) t -> n g", "ntd", 8, ("d", "t"), "shared over D/G, T"),
    ("n c h w -> c", "nchw", 12, ("n", "h", "w"), "shared over N, H, W"),
    ("n c h w -> n", "nchw", 3, ("c", "h", "w"), "shared over C, H, W"),
    ("n c h w -> n c", "nchw", 36, ("h", "w"), "shared over H, W"),
    ("n (g c) h w -> n g", "nchw", 12, ("c", "h", "w"), "shared over C/G, H, W"),
    ("n c h w -> n h w", "nchw", 24, ("c",), "shared over C"),
    ("(b n) (g c) h w -> g b", "nchw", 12, ("n", "c", "h", "w"), "shared over N/B, C/G, H, W"),
    ("n c h w -> n c h w", "nchw", 288, (), "nothing is shared"),
]
each_pattern = pytest.mark.parametrize(("pattern", "layout"), [row[:2] for row in PATTERNS])


def _members(x: Tensor, pattern: str, layout: str) -> Tensor:
    """The values of each group by einops, (groups, values in a group)."""
    left, right = (side.strip() for side in pattern.split("->"))
    moved = x.permute([layout.index(letter) for letter in order(pattern)])
    given = {name: size for name, size in SIZES.items() if name in left.replace("(", " ").replace(")", " ").split()}
    return einops.rearrange(moved, f"{left} -> ({right}) ({' '.join(shared_axes(pattern))})", **given)


@pytest.mark.parametrize(("pattern", "layout", "groups", "shared", "words"), PATTERNS)
def test_what_a_pattern_says(pattern: str, layout: str, groups: int, shared: tuple[str, ...], words: str) -> None:
    assert count(pattern, SHAPES[layout], **SIZES) == groups
    assert shared_axes(pattern) == shared
    assert describe_axes(pattern) == words


def test_counts_of_a_small_batch() -> None:
    shape = (8, 16, 4, 4)
    cases: list[tuple[str, dict[str, Value], int]] = [
        ("batch_norm", {}, 16), ("layer_norm", {}, 8), ("group_norm", {"num_groups": 4}, 32),
        ("instance_norm", {}, 128), ("layer_norm", {"per_position": True}, 128),
    ]  # fmt: skip
    for name, settings, expected in cases:
        method = get(name, "normalization")
        values = method.settings(settings)
        pattern = method.pattern("nchw", values)
        assert pattern is not None and count(pattern, shape, **sizes(method, values)) == expected


def test_sizes_are_the_whole_number_knobs_by_symbol() -> None:
    assert sizes(get("group_norm", "normalization"), {"num_groups": 4, "eps": 1e-5}) == {"g": 4}
    assert sizes(get("layer_norm", "normalization"), {"per_position": True, "eps": 1e-5}) == {}


def test_kept_axes_come_in_the_order_of_the_groups() -> None:
    kept = kept_axes("(b n) (g c) h w -> g b", (6, 12, 2, 4), "nchw", b=3, g=4)
    assert list(kept.items()) == [("g", 4), ("b", 3)]


def test_order_is_that_of_the_function() -> None:
    assert [order(pattern) for pattern in ("n (g d) t -> n g", "n t d -> n t", "(b n) c h w -> b c")] == [
        "ndt",
        "ntd",
        "nchw",
    ]


@each_pattern
def test_group_index_agrees_with_einops(pattern: str, layout: str) -> None:
    index = group_index(pattern, SHAPES[layout], layout, (), **SIZES)
    assert index.shape == SHAPES[layout] and index.dtype == torch.int64
    members = _members(index, pattern, layout)
    assert identical(members, torch.arange(len(members))[:, None].expand_as(members))


@each_pattern
def test_a_part_of_the_group_index_is_that_part_of_the_whole(pattern: str, layout: str) -> None:
    shape = SHAPES[layout]
    whole = group_index(pattern, shape, layout, (), **SIZES)
    parts: tuple[int | slice, ...] = (0, -1, slice(1, 3), slice(None), slice(None, None, 2))
    for index in product(parts, repeat=len(shape) - 1):
        assert identical(group_index(pattern, shape, layout, index, **SIZES), whole[index])


def test_a_part_of_a_huge_group_index_is_cheap() -> None:
    shape = (10**6, 1024, 1000, 1000)
    face = group_index("n (g c) h w -> n g", shape, "nchw", (999_999, slice(None), 0, slice(0, 2)), g=32)
    assert face.shape == (1024, 2) and face[0, 0] == 999_999 * 32 and face[-1, 1] == 10**6 * 32 - 1


@each_pattern
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_group_statistics_agree_with_numpy(pattern: str, layout: str, dtype: torch.dtype) -> None:
    x = (random(*SHAPES[layout]) * 3 + 2).to(dtype)
    members = _members(x, pattern, layout).double().numpy()
    result = group_statistics(x, pattern, layout, None, **SIZES)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert result.mean.dtype == result.std.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(result.mean.numpy(), members.mean(1), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(result.std.numpy(), members.std(1), rtol=tolerance, atol=tolerance)


@each_pattern
def test_group_statistics_are_right_far_from_zero(pattern: str, layout: str) -> None:
    x = (random(*SHAPES[layout]) + 1e4).float()
    members = _members(x, pattern, layout).double()
    result = group_statistics(x, pattern, layout, None, **SIZES)
    torch.testing.assert_close(result.mean.double(), members.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(result.std.double(), members.std(1, correction=0), rtol=1e-3, atol=1e-3)


def test_group_statistics_take_a_view_of_any_strides() -> None:
    x = random(4, 3, 2, 6).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        group_statistics(x, "n (g c) h w -> n g", "nchw", g=2).std,
        x.reshape(4, 2, -1).std(-1, correction=0).flatten(),
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip


def test_what_does_not_fit_a_pattern_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"axis C, 12 in shape \(5, 12\), must be divisible by 5"):
        count("n (g c) -> n g", (5, 12), g=5)
    with pytest.raises(ValueError, match=r"'n \(g c\) -> n g' needs the size g"):
        count("n (g c) -> n g", (5, 12))
    with pytest.raises(ValueError, match=r"layout nchw need 4 axes; received shape \(5, 12\)"):
        group_statistics(random(5, 12), "n c h w -> n", "nchw")
    with pytest.raises(ValueError, match="layout nc need 2 axes"):
        group_index("n c h w -> n", (5, 12), "nc")


# --- histograms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_histogram_agrees_with_numpy(dtype: torch.dtype) -> None:
    x = (random(40, 50) * 2).to(dtype)
    result = histogram(x, -4.0, 3.0, 28)
    expected, edges = np.histogram(x.double().numpy(), bins=28, range=(-4, 3))
    np.testing.assert_allclose(result.edges.numpy(), edges, atol=1e-12)
    assert result.counts.tolist() == expected.tolist()
    assert result.sampled == 1
    assert result.outside == pytest.approx(1 - expected.sum() / 2000) and 0.05 < result.outside < 0.2


def test_histogram_counts_both_ends_and_drops_what_is_no_number() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.001, torch.nan, torch.inf])
    result = histogram(x, 0.0, 1.0, 2)
    assert result.counts.tolist() == [1, 2] and result.outside == pytest.approx(4 / 7)


def test_a_histogram_of_more_values_counts_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_COUNTED", 4096)
    x = torch.arange(64.0).expand(300, 64)  # every channel its own value: the step 5 divides 19,200 values, 6 too: 7
    result = histogram(x, -0.5, 63.5, 64)
    assert result.counted == -(-19_200 // 7) and result.sampled == result.counted / x.numel()
    assert int(result.counts.sum()) == result.counted and result.outside == 0
    assert result.counts.max() - result.counts.min() <= 1
    assert identical(result.counts, histogram(x, -0.5, 63.5, 64).counts)


@each_pattern
def test_group_histograms_agree_with_those_of_each_group(pattern: str, layout: str) -> None:
    x = random(*SHAPES[layout]) * 2
    members = _members(x, pattern, layout)
    chosen = [len(members) - 1, 0, 2]
    result = group_histograms(x, pattern, layout, -4.0, 4.0, 10, chosen, None, **SIZES)
    expected = [histogram(members[group], -4.0, 4.0, 10).counts.tolist() for group in chosen]
    assert result.counts.tolist() == expected
    assert result.counted == result.size == 3 * members.shape[1]
    first = group_histograms(x, pattern, layout, -4.0, 4.0, 10, None, None, **SIZES)
    assert len(first.counts) == min(64, len(members)) and first.counts[2].tolist() == expected[2]


def test_group_histograms_sample_large_groups_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_PER_GROUP", 100)
    x = torch.arange(8.0)[:, None].expand(5, 3, 8, 16)  # the value is the row
    result = group_histograms(x, "n c h w -> c", "nchw", -0.5, 7.5, 8)
    assert result.counts.shape == (3, 8) and result.sampled == pytest.approx(92 / 640, abs=0.02)
    assert result.counts.max() - result.counts.min() <= 2 and result.counts.min() > 8


def test_histograms_refuse_in_words() -> None:
    x = random(4, 6)
    for low, high, bins in [(1.0, 1.0, 4), (0.0, float("inf"), 4), (0.0, 1.0, 0)]:
        with pytest.raises(ValueError, match=f"at least one bin and low < high; received {bins} bins"):
            histogram(x, low, high, bins)
    with pytest.raises(ValueError, match=r"received the empty shape \(0, 3\)"):
        histogram(torch.ones(0, 3), 0.0, 1.0)
    for groups in ([4], [-1], [], list(range(65))):
        with pytest.raises(ValueError, match="choose 1 to 64 of the groups 0 to 3; received"):
            group_histograms(x, "n c -> n", "nc", 0.0, 1.0, 4, groups)


def test_value_range_is_the_extremes_but_cuts_long_tails() -> None:
    normal = random(100, 100)
    assert value_range(normal) == (float(normal.min()), float(normal.max()))
    assert value_range(normal, normal * 2 + 1) == value_range(normal * 2 + 1)
    spoilt = normal.clone()
    spoilt[3, 4] = 1e6
    low, high = value_range(spoilt)
    assert low == float(normal.min()) and 5 < high < 10
    assert histogram(spoilt, low, high).outside == pytest.approx(1e-4)


def test_value_range_of_one_value_is_widened() -> None:
    assert value_range(torch.full((3, 4), 2.0)) == (1.5, 2.5)
    low, high = value_range(torch.full((3, 4), 1e6))
    assert low < 1e6 < high and histogram(torch.full((3, 4), 1e6), low, high, 3).counts.tolist() == [0, 12, 0]
    mostly = torch.zeros(1000)
    mostly[0] = 3.0
    assert value_range(mostly) == (0.0, 3.0)  # no middle to measure a tail by


# --- finite values ------------------------------------------------------------------------------------------------


def test_check_finite_says_how_many_and_where() -> None:
    x = torch.zeros(2, 3, 4)
    check_finite(x)
    check_finite(torch.full((8,), 3e38))  # finite, although their sum is not
    x[1, 0, 2], x[1, 2, 3], x[0, 2, 1] = torch.nan, -torch.inf, torch.nan
    with pytest.raises(
        ValueError, match=r"holds 2 NaN and 1 infinite values of 24, the first one at index \(0, 2, 1\)"
    ):
        check_finite(x)
    for pair in ([torch.inf, -torch.inf], [torch.inf, 1.0]):
        with pytest.raises(ValueError, match=r"first one at index \(0,\)"):
            check_finite(torch.tensor(pair))


@each_pattern
def test_only_what_counts_is_counted(pattern: str, layout: str) -> None:
    x = random(*SHAPES[layout])
    real = random(*SHAPES[layout], seed=9) > -0.5
    groups = group_index(pattern, x.shape, layout, (), **SIZES)
    found = group_statistics(x, pattern, layout, real, **SIZES)
    counts = group_histograms(x, pattern, layout, -9.0, 9.0, 6, [0, 1], real, **SIZES).counts
    for group in range(len(found.mean)):
        mine = x[(groups == group) & real]
        expected = (mine.mean(), mine.std(correction=0)) if len(mine) else (torch.zeros(()), torch.zeros(()))
        torch.testing.assert_close((found.mean[group], found.std[group]), expected, check_dtype=False)
        assert group > 1 or int(counts[group].sum()) == len(mine)
