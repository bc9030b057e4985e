"""Methods side by side: what is counted and measured of each, and the small pictures and the sheet drawn of them."""

from __future__ import annotations

import inspect
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from normviz import colors
from normviz.activations import channel_axis, generate, layout_of, padding_mask
from normviz.figures import style
from normviz.normalization.analysis.comparison import (
    BINS,
    BLOCK,
    LIMIT,
    Allocations,
    compare,
    fitting,
    learned,
    look,
    sheet,
)
from normviz.normalization.analysis.conditioning import make_sides
from normviz.normalization.apply import apply, run, tensors
from normviz.prints import contact_sheet
from normviz.registry import Normalization, get, methods
from tests.support.comparison import identical

SHAPES = {"nc": (8, 12), "ntd": (4, 6, 12), "nchw": (4, 8, 6, 6), "ncdhw": (2, 8, 2, 4, 4)}
ALL = [
    pytest.param(method, shape, id=f"{method.name}-{layout}")
    for method in methods("normalization")
    if method.takes_activations
    for layout, shape in SHAPES.items()
    if layout in method.layouts()
]


def input_of(*shape: int) -> Tensor:
    return generate(shape, "shifted", seed=1)


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGBA")


@pytest.mark.parametrize(("method", "shape"), ALL)
def test_every_method_is_measured_as_it_works(method: Normalization, shape: tuple[int, ...]) -> None:
    x = input_of(*shape)
    before, ground = x.clone(), look(x)
    found = compare(method, x, ground)
    assert identical(x, before)
    layout = layout_of(x.shape)
    running = None
    if method.takes("running_sq"):  # what 10 steps of momentum .1 leave of the start, the mean 0 and the variance 1
        rows = x.movedim(2 if layout == "ntd" else 1, 0).flatten(1)  # (C, ...)
        running = rows.mean(1) * (1 - 0.9**10), 0.9**10 + rows.var(1) * (1 - 0.9**10)
    y = apply(method, x, layout, running=running, sides=make_sides(method, x), **found.settings)
    assert found.distance == pytest.approx(float((y - x).square().mean().sqrt()), rel=1e-4)
    assert found.mean == pytest.approx(float(y.mean()), abs=1e-5)
    assert found.std == pytest.approx(float(y.std(correction=0)), rel=1e-4)
    assert found.counts.sum() == pytest.approx(x.numel() * (1 - found.outside))
    np.testing.assert_allclose(found.sheet, sheet(y), rtol=1e-4, atol=1e-5)
    assert found.sheet.shape == ground.sheet.shape
    assert found.output == 4 * x.numel()
    assert 0 < found.seconds < 5
    assert 0 <= found.memory < 100 * found.output
    assert found.shares


GIVEN = {"x", "running_mean", "running_var", "running_sq", "train", "mask", "style", "scale", "shift", "pool"}


@pytest.mark.parametrize(("method", "shape"), ALL)
def test_what_a_method_learns_has_the_shapes_that_it_takes(method: Normalization, shape: tuple[int, ...]) -> None:
    x, layout = input_of(*shape), layout_of(shape)
    settings = fitting(method, x.shape)
    shapes = learned(method, x.shape, settings)
    assert set(inspect.signature(method.function).parameters) - GIVEN - set(settings) == set(shapes) - set(settings)
    channels = shape[channel_axis(layout)]
    given = tensors(method, layout, (torch.zeros(channels), torch.ones(channels)), make_sides(method, x))
    given |= {name: torch.ones(size) for name, size in shapes.items() if name not in settings}
    assert run(method, x, layout, given, settings).shape == x.shape
    for name in shapes.keys() - settings.keys():
        with pytest.raises(ValueError, match=name):
            run(method, x, layout, given | {name: torch.ones(2, 2)}, settings)


@pytest.mark.parametrize(
    ("name", "statistics", "parameters", "shares"),
    [
        ("batch_norm", 16, 32, "shared over N, H, W"),
        ("layer_norm", 8, 2 * 16 * 4 * 4, "shared over C, H, W"),
        ("group_norm", 64, 32, "shared over C/G, H, W"),
        ("instance_norm", 128, 32, "shared over H, W"),
        ("l2_norm", 128, 0, "shared over C"),
        ("rms_norm", 8, 16 * 4 * 4, "shared over C, H, W"),
        ("filter_response_norm", 128, 48, "shared over H, W"),
        ("switchable_norm", None, 38, "no groups: each result depends on all N, all C, all H, all W"),
        ("local_response_norm", None, 0, "no groups: each result depends on 5 of 16 C"),
        ("dynamic_tanh", None, 33, "each value separately"),
    ],
)
def test_statistics_and_learned_numbers_are_counted(
    name: str, statistics: int | None, parameters: int, shares: str
) -> None:
    x = input_of(8, 16, 4, 4)
    found = compare(get(name, "normalization"), x, look(x))
    assert (found.statistics, found.parameters, found.shares) == (statistics, parameters, shares)
    assert (found.groups is None) == (statistics is None)


def test_the_block_shows_who_shares_and_follows_a_shuffled_batch() -> None:
    x = input_of(8, 16, 4, 4)
    ground = look(x)
    batch, layer, ghost = (
        compare(get(name, "normalization"), x, ground) for name in ("batch_norm", "layer_norm", "ghost_batch_norm")
    )
    assert batch.groups is not None and layer.groups is not None and ghost.groups is not None
    assert batch.groups.shape == BLOCK
    assert (batch.groups == batch.groups[:1, :, :1]).all() and len(np.unique(batch.groups)) == BLOCK[1]
    assert (layer.groups == layer.groups[:, :1, :1]).all() and len(np.unique(layer.groups)) == BLOCK[0]
    assert ghost.settings["size"] == 4
    order = get("ghost_batch_norm", "normalization").batch_order
    assert order is not None
    place = order(8, **ghost.settings).argsort()[[0, 2, 5, 7]] // 4  # the sub-batch of four evenly spaced examples
    assert (ghost.groups[:, 0, 0] // 16 == place.numpy()).all()


def test_sizes_that_must_divide_are_proper_parts() -> None:
    group, ghost = get("group_norm", "normalization"), get("ghost_batch_norm", "normalization")
    assert [fitting(group, torch.Size((4, c)))["num_groups"] for c in (16, 8, 12, 7)] == [8, 4, 6, 1]
    assert [fitting(ghost, torch.Size((n, 3)))["size"] for n in (64, 16, 8, 6)] == [16, 8, 4, 3]
    assert fitting(get("local_response_norm", "normalization"), torch.Size((2, 4, 4, 4)))["size"] == 5


def test_padding_is_not_counted() -> None:
    x, mask = input_of(4, 6, 8), padding_mask(4, 6, 0.4)
    x = x * mask[..., None]
    ground = look(x, mask)
    assert ground.counts.sum() == 8 * int(mask.sum())
    found = compare(get("recurrent_batch_norm", "normalization"), x, ground, mask=mask)
    assert found.counts.sum() == 8 * int(mask.sum())
    assert found.mean == pytest.approx(0, abs=1e-5)
    assert found.std == pytest.approx(1, abs=1e-3)


def test_what_a_method_refuses_is_raised() -> None:
    x = input_of(1, 4)
    with pytest.raises(ValueError, match="more than one value per channel"):
        compare(get("batch_norm", "normalization"), x, look(x))
    with pytest.raises(ValueError, match="NaN"):
        look(torch.full((2, 3), torch.nan))


@pytest.mark.parametrize("shape", [(5, 7), (100, 100), (1, 1)])
def test_the_scales_hold_the_input_and_unit_variance(shape: tuple[int, ...]) -> None:
    x = input_of(*shape) * 0.1
    ground = look(x)
    assert ground.low <= -LIMIT and ground.high >= LIMIT
    assert ground.counts.shape == (BINS,)
    assert ground.sheet.shape == tuple(min(size, 32) for size in shape)


def test_a_sheet_shows_channels_side_by_side() -> None:
    x = torch.arange(3 * 5 * 20 * 4.0).reshape(3, 5, 20, 4)
    maps = sheet(x)
    assert maps.shape == (2 * 10, 4 * 2)
    assert maps[10, 2] == x[1, 1, 0, 0]
    assert sheet(x[:, :, 0]).shape == (2 * 5, 4)
    assert sheet(x[:, :, None]).tolist() == maps.tolist()


# --- memory -------------------------------------------------------------------------------------------------------


def test_allocations_are_the_most_that_lives_at_one_time() -> None:
    x = torch.ones(1000)
    with torch.no_grad(), Allocations() as seen:
        x.view(10, 100).t()
        assert seen.peak == 0
        y = ((x + 1) * 2 - 3).sqrt()  # two tensors of 4,000 bytes at a time
        assert seen.peak == 8000
        y.add_(1)
        z = x * 2
        assert seen.peak == 8000
        w = z + y
        assert seen.peak == 12000
    assert w.numel() == 1000


def test_other_threads_are_not_counted() -> None:
    with Allocations() as seen:
        thread = threading.Thread(target=lambda: torch.ones(1000) + 1)
        thread.start()
        thread.join()
    assert seen.peak == 0


# --- pictures -----------------------------------------------------------------------------------------------------


def test_a_cube_has_a_color_for_each_statistic() -> None:
    groups = np.broadcast_to(np.arange(6)[None, :, None], BLOCK)
    picture = np.asarray(opened(contact_sheet.cube(groups)))
    assert picture.shape == (*contact_sheet.CUBE, 4)
    assert picture[0, 0, 3] == 0  # the ground is transparent

    def shown(color: str) -> bool:
        wanted = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
        return bool((np.abs(picture[..., :3].astype(int) - wanted).max(axis=-1) <= 12).any())

    assert all(shown(color) for color in style.GROUP_COLORS[:6])
    assert contact_sheet.cube(None) != contact_sheet.cube(groups)
    flat = np.asarray(opened(contact_sheet.cube(None))).astype(int)
    assert np.ptp(flat[flat[..., 3] == 255][:, :3], axis=1).max() < 30  # gray


def test_bars_are_as_high_as_the_share_of_values() -> None:
    before, after = np.full(BINS, 10), np.zeros(BINS, dtype=np.int64)
    after[BINS // 2] = 10 * BINS
    picture = np.asarray(opened(contact_sheet.bars(before, after)))
    width, height = contact_sheet.BARS
    heights = (picture[:-2, :, 3] > 0).sum(axis=0)
    assert abs(heights[5] - (height - 2) / contact_sheet.TALLEST) <= 2
    assert heights[width // 2 + 5] == height - 2  # cut off at the top
    with pytest.raises(ValueError, match="same bins"):
        contact_sheet.bars(before, after[1:])
    with pytest.raises(ValueError, match="same bins"):
        contact_sheet.bars(after * 0, after)


def test_values_have_the_colors_of_one_scale() -> None:
    numbers = np.array([[-9.0, -3.0, 0.0], [1.5, 3.0, 9.0]])
    picture = np.asarray(opened(contact_sheet.values(numbers, 3.0)))[..., :3].astype(int)
    assert picture.shape == (2, 3, 3)
    assert np.abs(picture - colors.colorize(numbers, colors.SIGNED, -3.0, 3.0)).max() <= 4
    assert (picture[0, 0] == picture[0, 1]).all() and (picture[1, 1] == picture[1, 2]).all()
    assert picture[0, 0, 2] > picture[0, 0, 0] and picture[1, 2, 0] > picture[1, 2, 2]  # blue below 0, orange above
    with pytest.raises(ValueError, match="finite"):
        contact_sheet.values(np.array([[np.nan]]), 3.0)


def test_a_contact_sheet_holds_every_card() -> None:
    groups = np.broadcast_to(np.arange(6)[None, :, None], BLOCK)
    counts = np.arange(BINS)
    card = contact_sheet.Card(
        "Batch Normalization", "shared over N, H, W", (("Statistics", "16"), ("Time", "75 µs")),
        contact_sheet.cube(groups), contact_sheet.bars(counts, counts[::-1].copy()),
        contact_sheet.values(np.random.default_rng(0).normal(size=(8, 16)), 3.0),
    )  # fmt: skip
    one = opened(contact_sheet.contact_sheet("Normalizations", "of the same numbers", [card]))
    five = opened(contact_sheet.contact_sheet("Normalizations", "of the same numbers", [card] * 5))
    width, height = contact_sheet.CARD
    assert five.size[0] - one.size[0] == 3 * (width + contact_sheet.GAP)
    assert five.size[1] - one.size[1] == height + contact_sheet.GAP
    ink = (np.asarray(five.convert("L")) < 100).mean(axis=0)  # text and pictures in all four columns
    assert (np.add.reduceat(ink, np.linspace(0, len(ink), 5, dtype=int)[:-1]) > 1).all()
    with pytest.raises(ValueError, match="at least one card"):
        contact_sheet.contact_sheet("Normalizations", "", [])


def test_an_address_is_a_picture() -> None:
    assert contact_sheet.uri(b"abc") == "data:image/png;base64,YWJj"
