"""What the explorer draws: groups, slices, rows and the measured form of every normalization of activations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from normviz.activations import padding_mask
from normviz.normalization.analysis.conditioning import make_sides
from normviz.normalization.analysis.receptive_field import reads
from normviz.normalization.analysis.statistics import group_terms
from normviz.normalization.analysis.view import block_cells, view
from normviz.normalization.apply import apply
from normviz.normalization.patterns import count, sizes
from normviz.registry import get
from tests.support.cases import CASES, SHAPES, Case, groups_of, random, with_groups
from tests.support.comparison import identical

RUNNING = (torch.full((6,), 0.3), torch.full((6,), 1.5))


def _x(case: Case) -> torch.Tensor:
    return random(*SHAPES[case.layout], dtype=torch.float32) * 2 + 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_method_can_be_viewed_in_every_layout(case: Case) -> None:
    x, settings = _x(case), case.method.settings(case.settings)
    cell = tuple(min(1, size - 1) for size in x.shape)
    sides = make_sides(case.method, x)
    seen = view(case.method, x, case.layout, settings, running=RUNNING, cell=cell, sides=sides)
    expected = apply(case.method, x, case.layout, running=RUNNING, sides=sides, **settings)
    index = cell[: x.ndim - 2]
    np.testing.assert_array_equal(seen.before, x[index].numpy())
    np.testing.assert_array_equal(seen.after, expected[index].numpy())
    assert seen.cell == cell[-2:] and seen.slice_axes == tuple(case.layout[-2:].upper())
    assert seen.histogram_before.counts.sum() == seen.histogram_after.counts.sum() == x.numel()
    assert set(seen.bars.tolist()) <= set(seen.rows.ids.tolist())
    if case.pattern:
        given = sizes(case.method, settings)
        assert seen.total == count(case.pattern, x.shape, **given)
        groups = groups_of(case, SHAPES[case.layout])
        np.testing.assert_array_equal(seen.groups, groups[index].numpy())
        cells = block_cells(x.shape, case.layout)
        np.testing.assert_array_equal(seen.block, groups[tuple(cells.unbind(-1))].numpy())


@pytest.mark.parametrize("case", with_groups(CASES), ids=str)
def test_the_words_for_center_and_scale_tell_what_the_method_does(case: Case) -> None:
    """Within a group the result is gain (x - center) / scale + offset, with the registry's words for both."""
    x, settings = random(*SHAPES[case.layout]) * 2 + 1, case.method.settings(case.settings)
    if not case.method.scale:
        return
    assert case.pattern is not None
    order = case.method.batch_order(len(x), **settings) if case.method.batch_order else torch.arange(len(x))
    eps, power = float(settings.get("eps", 0)), float(settings.get("p", 2))
    method, given = case.method, sizes(case.method, settings)
    center, spread = group_terms(x[order], case.pattern, case.layout, method.center, method.scale, eps, power, **given)
    groups = groups_of(case, SHAPES[case.layout])
    divisor = (spread + eps).sqrt() if method.scale in ("std", "rms") else spread
    z = (x - center[groups]) / divisor[groups]
    y = apply(method, x, case.layout, running=None, sides=make_sides(method, x, strength=0), **settings)
    for group in range(int(groups.max()) + 1):
        mine = groups == group
        design = torch.stack([z[mine], torch.ones_like(z[mine])], dim=1)  # (values, 2)
        fit = design @ torch.linalg.lstsq(design, y[mine][:, None]).solution
        torch.testing.assert_close(fit[:, 0], y[mine], rtol=1e-8, atol=1e-8)


def test_the_gain_of_the_methods_own_is_measured() -> None:
    x = random(4, 6, dtype=torch.float32)
    seen = view(
        get("min_max_scaling", "normalization"),
        x,
        "nc",
        get("min_max_scaling", "normalization").settings({"low": -1.0, "high": 3.0}),
    )
    assert seen.gain == pytest.approx(4, rel=1e-4) and seen.offset == pytest.approx(-1, rel=1e-4)
    seen = view(get("scale_norm", "normalization"), x, "nc", get("scale_norm", "normalization").settings())
    assert seen.gain == pytest.approx(math.sqrt(6), rel=1e-4)
    seen = view(get("dynamic_tanh", "normalization"), x, "nc", get("dynamic_tanh", "normalization").settings())
    assert math.isnan(seen.gain) and seen.total == 0


def test_what_a_cell_reads_is_its_window() -> None:
    method, x = get("local_response_norm", "normalization"), random(2, 8, 3, 3)
    found = reads(method, x, "nchw", (1, 4, 2, 0), method.settings({"size": 3}))
    expected = torch.zeros(2, 8, 3, 3, dtype=torch.bool)
    expected[1, 3:6, 2, 0] = True
    assert identical(found, expected)
    seen = view(method, x, "nchw", method.settings({"size": 3}), cell=(1, 4, 2, 0))
    assert seen.groups[2, 0] == 0 and (seen.groups == 0).sum() == 1
    assert seen.rows.labels == ["values that this cell depends on"]
    assert seen.rows.mean_before[0] == pytest.approx(float(x[1, 3:6, 2, 0].mean())) and seen.bars_before.sum() == 3


def test_padded_cells_are_a_group_of_their_own_and_do_not_count_where_the_method_knows_of_them() -> None:
    x, mask = random(4, 6, 3, dtype=torch.float32) + 2, padding_mask(4, 6, 0.4)
    x = x * mask[..., None]
    method = get("recurrent_batch_norm", "normalization")
    seen = view(method, x, "ntd", method.settings(), cell=(1, 0, 0), mask=mask)
    np.testing.assert_array_equal(seen.groups == seen.padding, ~mask[1].numpy()[:, None].repeat(3, 1))
    torch.testing.assert_close(torch.from_numpy(seen.rows.mean_before), x[mask].mean(0))
    assert seen.histogram_before.counts.sum() == int(mask.sum()) * 3
    assert seen.bars_before.sum() == int(mask.sum()) * 3
    plain = view(
        get("batch_norm", "normalization"),
        x,
        "ntd",
        get("batch_norm", "normalization").settings(),
        cell=(1, 0, 0),
        mask=mask,
    )
    torch.testing.assert_close(torch.from_numpy(plain.rows.mean_before), x.mean((0, 1)))
    assert (plain.block == plain.padding).any()


def test_side_inputs_have_the_shapes_that_the_methods_take() -> None:
    x = random(4, 6, 5, 3)
    assert make_sides(get("batch_norm", "normalization"), x) == {}
    assert identical(make_sides(get("adaptive_instance_norm", "normalization"), x)["style"], x[[3, 0, 1, 2]])
    maps = make_sides(get("spade", "normalization"), x)["scale"]
    assert maps.shape == x.shape and torch.allclose(maps[..., 0], -maps[..., -1])
    rows = make_sides(get("ada_layer_norm", "normalization"), random(4, 5, 6), seed=1)
    assert rows["scale"].shape == (4, 6) and not identical(rows["scale"], rows["shift"])
    assert not make_sides(get("ada_layer_norm", "normalization"), random(4, 5, 6), strength=0)["shift"].any()
