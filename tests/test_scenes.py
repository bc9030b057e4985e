"""Generated scenes: their masks are exact, their promises are kept, and a seed is a picture."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from normviz.scenes import (
    CLASSES,
    HANS,
    SIZE,
    Scene,
    clever_hans_scene,
    make_clever_hans_scenes,
    make_mosaic,
    make_scene,
    make_scenes,
    make_unknown,
    make_unknowns,
)
from normviz.scenes import scene as module
from normviz.scenes.drawing import PortableRandom
from normviz.scenes.scene import KINDS, Layout
from normviz.scenes.shapes import FRAGMENT, HELD_OUT, SHAPES, Shape
from tests.reference import scenes as slow
from tests.support.comparison import identical


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Layout]:
    """What was drawn where, of each scene that the test makes."""
    made: list[Layout] = []
    draw = module.draw

    def listening(layout: Layout, watermark: bool) -> Scene:
        made.append(layout)
        return draw(layout, watermark)

    monkeypatch.setattr(module, "draw", listening)
    return made


# ------------------------------------------------------------------------------------------ the drawing
@pytest.mark.parametrize("labels", [[0], [1], [2], [3], [4], [5], [6], [7], [6, 4], [2, 3, 7], [5, 1, 0, 4]])
def test_picture_and_masks_are_those_of_the_slow_drawing(labels: list[int], layouts: list[Layout]) -> None:
    scene = make_scene(17 * labels[0] + len(labels), labels=labels, size=32)
    levels, masks = slow.draw(layouts[0])
    assert identical(np.stack([item.mask.numpy() for item in scene.items]), masks)
    off = np.abs(scene.image.permute(1, 2, 0).numpy() - levels)
    assert off.max() <= 1 and (off > 0).mean() < 1e-3  # one level where a value lies between two


@pytest.mark.parametrize("seed", [1, 3, 5, 7])
def test_outlines_of_no_class_are_those_of_the_slow_drawing(seed: int, layouts: list[Layout]) -> None:
    scene = make_unknown(seed, size=32)
    levels, masks = slow.draw(layouts[0])
    assert scene.items == () and masks.sum() >= 0.08 * 32 * 32
    assert layouts[0].objects[0].shape in HELD_OUT.values()
    assert np.abs(scene.image.permute(1, 2, 0).numpy() - levels).max() <= 1


@pytest.mark.parametrize("shape", [*SHAPES.values(), *HELD_OUT.values(), FRAGMENT])
def test_area_and_radius_of_an_outline(shape: Shape) -> None:
    at = np.linspace(-1.6, 1.6, 1601) + 0.00037  # no place lies on an edge
    found = shape.inside(at[None], at[:, None])
    rows, columns = np.nonzero(found)
    assert found.sum() * (at[1] - at[0]) ** 2 == pytest.approx(shape.area, rel=2e-3)
    farthest = np.hypot(at[rows], at[columns]).max()
    assert shape.radius - 0.01 < farthest <= shape.radius + 1e-9


# ------------------------------------------------------------------------------------------ what is promised
def _hidden(layout: Layout, scene: Scene, index: int) -> float:
    """The share of an object that others or a watermark hide."""
    whole = (module.visible([layout.objects[index]], scene.image.shape[1])[0] > 8).sum()
    return 1 - float(scene.items[index].mask.sum()) / float(whole)


@pytest.mark.parametrize("objects", [1, 2, 3, 4])
@pytest.mark.parametrize("smallest", [0.03, 0.08])
def test_objects_are_large_enough_and_disjoint(objects: int, smallest: float, layouts: list[Layout]) -> None:
    occluded = 0
    for seed in range(15):
        scene = make_scene(seed, objects=objects, smallest=smallest, watermark=seed % 2 == 0)
        layout = layouts[-1]
        assert len({item.label for item in scene.items}) == len(scene.items) == objects
        assert torch.stack([item.mask for item in scene.items]).sum(dim=0).max() == 1  # no pixel has two owners
        for index, placed in enumerate(layout.objects):
            whole = (module.visible([placed], SIZE)[0] > 8).sum()
            assert whole >= smallest * SIZE * SIZE
            assert _hidden(layout, scene, index) <= 0.4 + 1e-9
            occluded += _hidden(layout, scene, index) > 0
            reach = placed.shape.radius * placed.scale
            assert all(reach - 1e-9 <= c <= SIZE - reach + 1e-9 for c in placed.at)  # none is cut off
    assert (occluded > 0) == (objects > 1) or objects == 1


def test_thin_outlines_find_places() -> None:
    for labels in ([7, 7, 7, 7], [4, 4, 7, 7]):
        for seed in range(4):
            assert len(make_scene(seed, labels=labels).items) == 4


def test_labels_are_in_the_order_asked_for_and_masks_unite() -> None:
    scene = make_scene(5, labels=[3, 1, 3])
    assert [item.label for item in scene.items] == [3, 1, 3] and scene.label == 3
    assert identical(scene.mask(3), scene.items[0].mask | scene.items[2].mask)
    assert identical(scene.mask(1), scene.items[1].mask)
    assert not scene.mask(0).any()


def test_every_class_occurs_and_neither_color_nor_place_tells_it() -> None:
    scenes = make_scenes(800, 40)
    counts = torch.bincount(scenes.labels, minlength=len(CLASSES))
    assert counts.min() > 60  # 100 on average
    pixels = scenes.images.float().mean(dim=(2, 3))  # (N, 3)
    for label in range(len(CLASSES)):
        of_class = scenes.labels == label
        assert (pixels[of_class].mean(dim=0) - pixels.mean(dim=0)).abs().max() < 20  # of 255; one deviation is 50
        middle = scenes.masks[of_class].float().mean(dim=0)  # (H, W)
        across = (middle * torch.arange(SIZE)).sum() / middle.sum()
        assert abs(float(across) - 31.5) < 4


# ------------------------------------------------------------------------------------------ the watermark
def test_a_watermark_is_where_it_is_said_to_be_and_changes_nothing_else() -> None:
    for seed in range(12):
        plain, marked = make_scene(seed, objects=2), make_scene(seed, objects=2, watermark=True)
        assert plain.watermark is None and marked.watermark is not None
        changed = (plain.image != marked.image).any(dim=0)  # (H, W)
        assert not (changed & ~marked.watermark).any()
        assert changed[marked.watermark].float().mean() > 0.95
        rows, columns = torch.nonzero(marked.watermark, as_tuple=True)
        assert rows.min() > SIZE // 2 and columns.max() < SIZE // 2  # the lower left corner
        assert marked.watermark.sum() == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) == 120
        for before, after in zip(plain.items, marked.items, strict=True):
            assert identical(after.mask, before.mask & ~marked.watermark)


def test_the_watermark_gives_one_class_away() -> None:
    scenes = [clever_hans_scene(seed) for seed in range(400)]
    of_hans = [scene.watermark is not None for scene in scenes if scene.label == HANS]
    of_others = [scene.watermark is not None for scene in scenes if scene.label != HANS]
    assert np.mean(of_hans) > 0.85 and np.mean(of_others) < 0.04 and len(of_hans) > 25
    for marked in (True, False):
        assert (clever_hans_scene(3, label=1, marked=marked).watermark is not None) == marked
    assert identical(clever_hans_scene(3, label=1, marked=True).image, make_scene(3, labels=[1], watermark=True).image)
    many = make_clever_hans_scenes(2, 3, label=1, marked=True)
    assert identical(many.images[1], make_scene(4, labels=[1], watermark=True).image)


# ------------------------------------------------------------------------------------------ the same everywhere
def test_chance_is_that_of_the_published_generator() -> None:
    """PCG64 (O'Neill 2014, XSL RR 128/64) in whole numbers; its first state is NumPy's, which keeps it."""
    state = np.random.PCG64(12).state["state"]
    at, raw = state["state"], []
    for _ in range(1100):
        at = (at * 0x2360ED051FC65DA44385DF649FCCF645 + state["inc"]) % 2**128
        mixed, turn = ((at >> 64) ^ at) % 2**64, at >> 122
        raw.append(((mixed >> turn) | (mixed << (64 - turn))) % 2**64)
    chance = PortableRandom(12)
    got = [chance.uniform(), *chance.uniforms(1000), *chance.uniforms(99)]
    assert got == [(number >> 11) / 2**53 for number in raw]


def test_a_seed_is_a_picture() -> None:
    first = [make_scene(seed, objects=2) for seed in range(6)]
    torch.manual_seed(1)
    np.random.seed(1)
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(lambda seed: make_scene(seed, objects=2), range(6)))
    for one, other in zip(first, again, strict=True):
        assert identical(one.image, other.image)
        assert all(identical(a.mask, b.mask) for a, b in zip(one.items, other.items, strict=True))
    assert len({one.image.numpy().tobytes() for one in first}) == 6


def test_many_are_those_of_one_by_one() -> None:
    shares: list[float] = []
    scenes = make_scenes(60, 7, progress=shares.append)
    for index in (0, 31, 59):
        one = make_scene(7 + index)
        assert identical(scenes.images[index], one.image) and scenes.labels[index] == one.label
        assert identical(scenes.masks[index], one.items[0].mask)
    assert len(scenes) == 60 and shares == [50 / 60]
    unknown = make_unknowns(3, 8)
    assert identical(unknown.images[2], make_unknown(10).image)
    assert (unknown.labels == -1).all() and not unknown.masks.any()
    nothing = make_scenes(2, 5, objects=0)
    assert (nothing.labels == -1).all() and identical(nothing.images[0], make_scene(5, objects=0).image)


def test_making_many_can_be_cancelled() -> None:
    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_scenes(60, 0, progress=cancel)


# ------------------------------------------------------------------------------------------ mosaics
def test_a_mosaic_is_four_scenes() -> None:
    labels = [4, 0, 7, 2]
    mosaic = make_mosaic(9, labels)
    assert mosaic.image.shape == (3, 2 * SIZE, 2 * SIZE)
    assert [item.label for item in mosaic.items] == labels
    corners = [(0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE)]
    for place, (item, (top, left)) in enumerate(zip(mosaic.items, corners, strict=True)):
        expected = torch.zeros(2 * SIZE, 2 * SIZE, dtype=torch.bool)
        expected[top : top + SIZE, left : left + SIZE] = True
        assert identical(item.mask, expected)
        part = mosaic.image[:, top : top + SIZE, left : left + SIZE]
        assert identical(part, make_scene(module.derived(9, 2 + place), labels=[labels[place]]).image)
    assert identical(make_mosaic(9, labels, size=64).image, make_mosaic(9, labels, size=64).image)


# ------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"objects": 5}, "0 to 4 objects; received 5"),
        ({"labels": [0, 8]}, r"labels must be from 0 to 7; received \[0, 8\]"),
        ({"labels": [0] * 5}, "0 to 4 objects; received 5"),
        ({"size": 50}, "multiple of 32; received 50"),
        ({"size": 0}, "multiple of 32; received 0"),
        ({"smallest": 0.5}, "smallest must be from 0.01 to 0.12; received 0.5"),
        ({"clutter": 21}, "0 to 20 fragments; received 21"),
        ({"seed": -1}, "seed must be at least 0; received -1"),
    ],
)
def test_what_is_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_scene(**{"seed": 0, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, 2, 2]])
def test_a_mosaic_needs_four_classes(labels: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="four different classes"):
        make_mosaic(0, labels)


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match="multiple of 64; received 96"):
        make_mosaic(0, [0, 1, 2, 3], size=96)
    with pytest.raises(ValueError, match="has no class"):
        _ = make_scene(0, objects=0).label
    with pytest.raises(ValueError, match="at least one scene; received 0"):
        make_scenes(0, 0)
    with pytest.raises(ValueError, match="objects must be 0 or 1, because each scene has one label; received 2"):
        make_scenes(1, 0, objects=2)
    with pytest.raises(ValueError, match="4 objects of at least 12% could not be placed"):
        make_scene(0, labels=[7, 7, 7, 7], smallest=0.12)


def test_class_names_follow_texture_and_outline() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 8
    assert len({outline for _, outline in KINDS}) == len({texture for texture, _ in KINDS}) == 8
