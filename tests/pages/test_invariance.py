"""The invariances: every mark of the published table, and every reason held against the measurement."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normviz.experiments.invariance.measurement import COLUMNS, SAME, Row, columns, matrix, measure, rows
from normviz.registry import Value, get

LAYOUTS = ("nc", "ntd", "nchw")
SEEDS = (0, 1)
NAMES = [
    "weights_times", "weights_plus", "row_times", "row_plus", "data_times", "data_plus", "case_times", "permute",
    "neighbor",
]  # fmt: skip
# y = norm(W x): which outputs stay as they are (1) under the changes in NAMES, for methods, layouts and settings.
TABLE: list[tuple[str, str, str, dict[str, Value]]] = [
    ("101011010", "batch_norm", "nc ntd nchw", {"training": True}),
    ("101011000", "ghost_batch_norm", "nc ntd nchw", {}),
    ("100010000", "batch_group_norm", "nc ntd nchw", {}),
    ("110010111", "layer_norm", "nc ntd", {}),
    ("110010111", "layer_norm", "nchw", {"per_position": True}),
    ("110010111", "group_norm", "nc", {"num_groups": 1}),
    ("100010111", "layer_norm", "nchw", {"per_position": False}),
    ("100010111", "group_norm", "nchw", {}),
    ("101011111", "instance_norm", "ntd nchw", {}),
    ("101011111", "group_norm", "nchw", {"num_groups": 6}),
    ("100010111", "rms_norm", "nc ntd nchw", {}),
    ("100010111", "rms_norm", "nchw", {"per_position": True}),
    ("100010111", "lp_norm", "nc ntd nchw", {"p": 3.0}),
    ("100010111", "lp_norm", "nchw", {"per_position": True}),
    ("100010111", "l2_norm", "nc ntd nchw", {}),
    ("101010111", "filter_response_norm", "nchw", {}),
    ("000000011", "batch_norm", "nc ntd nchw", {"training": False}),
    ("000000011", "inference_example_weighing", "nchw", {}),
    ("000000011", "local_response_norm", "nchw", {}),
    ("000000011", "global_response_norm", "nchw", {}),
    ("000000011", "dynamic_tanh", "nc ntd nchw", {}),
    ("101000011", "weight_norm", "nc ntd nchw", {}),
    ("100000011", "spectral_norm", "nc ntd nchw", {}),
    ("101001011", "weight_standardization", "nc ntd nchw", {}),
    ("101001011", "scaled_weight_standardization", "nc ntd nchw", {}),
]
CELLS = [
    pytest.param(
        Row(get(name, "normalization"), layout, tuple(settings.items())), marks, id=f"{name}-{layout}-{settings}"
    )
    for marks, name, layouts, settings in TABLE
    for layout in layouts.split()
]
MOVES = {"batch_norm": True, "instance_norm": True, "group_norm": True, "local_contrast_norm": False}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("row", "marks"), CELLS)
def test_the_published_table(row: Row, marks: str, seed: int) -> None:
    named = {column.name: column for column in COLUMNS}
    cells = [measure(row, named[name], seed) for name in NAMES]
    assert all(math.isfinite(cell.change) for cell in cells)
    assert "".join(str(int(cell.unchanged)) for cell in cells) == marks
    assert all(
        cell.change < SAME if mark == "1" else cell.change > 1e-2 for cell, mark in zip(cells, marks, strict=True)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_derived_from_the_facts_is_what_is_measured(layout: str, seed: int) -> None:
    for row, cells in zip(rows(layout), matrix(layout, seed), strict=True):
        for column, cell in zip(columns(layout), cells, strict=True):
            what = f"{row.label}, {column.name}"
            assert cell.refused or cell.expected == cell.unchanged, what
            assert cell.unchanged == (cell.change < SAME), what
            assert cell.why.count(".") >= 2 and "{" not in cell.why, what
            assert cell.before.shape == cell.after.shape, what
            assert not cell.unchanged or np.allclose(cell.before, cell.after, atol=1e-5), what


@pytest.mark.parametrize(("name", "stays"), MOVES.items())
def test_what_is_moved_comes_out_moved(name: str, stays: bool) -> None:
    move = COLUMNS[-1]
    assert move.kind == "place"
    cell = measure(Row(get(name, "normalization"), "nchw"), move)
    assert cell.unchanged == stays


def test_a_batch_of_one_gives_what_the_batch_gave_only_where_no_statistic_crosses_cases() -> None:
    alone = next(column for column in COLUMNS if column.name == "alone")
    on_maps = measure(Row(get("batch_norm", "normalization"), "nchw"), alone)
    assert on_maps.change > 0.1
    single = measure(Row(get("batch_norm", "normalization"), "nc"), alone)
    assert math.isnan(single.change)
    assert not single.unchanged
    assert "more than one value per channel" in single.refused
    assert single.refused in single.why
    assert measure(Row(get("layer_norm", "normalization"), "nc"), alone).unchanged


def test_every_method_has_its_row_with_each_switch() -> None:
    labels = [row.label for row in rows("nchw")]
    assert len(set(labels)) == len(labels)
    assert {"Batch norm, training", "Batch norm, inference"} <= set(labels)
    assert {"Layer norm, per position", "Layer norm, whole sample"} <= set(labels)
    assert {row.method.name for row in rows("nc") if row.on_weights} == {
        "weight_norm", "spectral_norm", "weight_standardization", "scaled_weight_standardization",
    }  # fmt: skip


def test_reasons_name_what_shares_a_statistic() -> None:
    named = {column.name: column for column in COLUMNS}

    def why(name: str, column: str, layout: str = "nchw", **settings: Value) -> str:
        return measure(Row(get(name, "normalization"), layout, tuple(settings.items())), named[column]).why

    assert why("layer_norm", "row_times", "nc") == (
        "One row of W is multiplied by 2.5: one feature of Wx becomes 2.5 times as large, the others do not change. "
        "Features share a statistic, but only some of them are multiplied: the factor does not cancel."
    )
    assert "samples and positions" in why("batch_norm", "data_plus")
    assert "stored values" in why("batch_norm", "data_times", training=False)
    assert "subtracts no mean" in why("rms_norm", "data_plus")
    assert "batch order" in why("ghost_batch_norm", "permute")


@pytest.mark.parametrize("delta", [1.0, 0.0, -2.0, math.inf, math.nan])
def test_a_change_that_changes_nothing_is_refused(delta: float) -> None:
    row = Row(get("layer_norm", "normalization"), "nc")
    with pytest.raises(ValueError, match="size of the change"):
        measure(row, COLUMNS[0], delta=delta)
    with pytest.raises(ValueError, match="size of the change"):
        matrix("nc", delta=delta)


def test_without_positions_nothing_can_be_moved() -> None:
    with pytest.raises(ValueError, match="no positions to shift"):
        measure(Row(get("layer_norm", "normalization"), "nc"), COLUMNS[-1])
