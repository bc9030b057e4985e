"""Three features in space: results lie on their surface, a gradient is what is left of it, the figure shows both."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from normviz.activations import generate
from normviz.experiments.labs.geometry import METHODS, Space, direction, space
from normviz.figures.experiments import geometry as figures
from normviz.registry import Value, get
from tests.support.comparison import identical

POINTS = generate((40, 3), "shifted", seed=3).double() + 0.5
PER_POINT = [name for name in METHODS if name not in ("batch_norm", "z_score")]


def settings(name: str, **given: Value) -> dict[str, Value]:
    method = get(name)
    eps: dict[str, Value] = {"eps": 1e-12} if any(knob.name == "eps" for knob in method.knobs) else {}
    return method.settings(eps | given)


def seen(name: str, point: int = 5, **arguments: Any) -> Space:
    given = settings(name, **arguments.pop("knobs", {}))
    return space(get(name, "normalization"), POINTS, given, point=point, incoming=direction(40, 25), **arguments)


def test_every_method_is_registered_for_three_features() -> None:
    assert all("nc" in get(name, "normalization").layouts() for name in METHODS)


# --- where the points land ---


def test_layer_norm_lands_on_a_circle_in_a_plane() -> None:
    after = seen("layer_norm").after
    assert float(after.sum(1).abs().max()) < 1e-6
    torch.testing.assert_close(after.norm(dim=1), torch.full((40,), math.sqrt(3)).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "radius"), [("rms_norm", math.sqrt(3)), ("l2_norm", 1.0), ("scale_norm", 2.5)])
def test_the_others_land_on_a_sphere(name: str, radius: float) -> None:
    length = 2.5 if name == "scale_norm" else None
    after = seen(name, length=length).after
    torch.testing.assert_close(after.norm(dim=1), torch.full((40,), radius).double(), rtol=0, atol=1e-6)
    assert float(after.sum(1).abs().max()) > 0.5  # not in layer norm's plane


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_lp_norm_lands_on_its_own_surface(p: float) -> None:
    lands = seen("lp_norm", knobs={"p": p})
    for points in (lands.after, torch.cat(lands.surface)):
        size = points.abs().pow(p).mean(1).pow(1 / p)
        torch.testing.assert_close(size, torch.ones_like(size), rtol=0, atol=1e-6)
    assert (float(lands.after.norm(dim=1).std()) < 1e-6) == (p == 2)


def _radii(points: Tensor) -> tuple[float, float]:
    return float(points.norm(dim=1).min()), float(points.norm(dim=1).max())


@pytest.mark.parametrize("name", PER_POINT)
def test_the_surface_is_where_the_points_lie(name: str) -> None:
    lands = seen(name)
    assert lands.gap < 1e-6
    surface = torch.cat(lands.surface)
    if name == "layer_norm":  # the circle, and in its plane two smaller ones and diameters
        assert float(surface.sum(1).abs().max()) < 1e-6
        assert _radii(lands.surface[0]) == pytest.approx((math.sqrt(3), math.sqrt(3)))
        assert float(surface.norm(dim=1).max()) <= math.sqrt(3) + 1e-6
    else:
        assert _radii(surface) == pytest.approx(_radii(lands.after), abs=1e-6)


@pytest.mark.parametrize("name", ["batch_norm", "z_score"])
def test_a_batch_is_moved_and_scaled_but_not_projected(name: str) -> None:
    lands = seen(name)
    assert lands.surface == () and lands.gap == 0
    mean, std = POINTS.mean(0), POINTS.std(0, correction=0)
    torch.testing.assert_close(lands.after * std + mean, POINTS, rtol=0, atol=1e-6)
    assert float(lands.after.norm(dim=1).std()) > 0.3


def test_a_large_epsilon_leaves_the_points_inside() -> None:
    lands = seen("rms_norm", knobs={"eps": 1.0})
    squares = POINTS.square().mean(1)
    expected = (math.sqrt(3) * (1 - (squares / (squares + 1)).sqrt())).max()
    assert lands.gap == pytest.approx(float(expected), abs=1e-5)
    assert float(lands.after.norm(dim=1).max()) < math.sqrt(3)
    assert _radii(torch.cat(lands.surface)) == pytest.approx((math.sqrt(3), math.sqrt(3)), abs=1e-5)


def test_gamma_and_beta_make_an_ellipse_elsewhere() -> None:
    gamma, beta = torch.tensor([2.0, 0.5, 1.0]).double(), torch.tensor([1.0, 0.0, -1.0]).double()
    plain, lands = seen("layer_norm"), seen("layer_norm", gamma=gamma, beta=beta)
    torch.testing.assert_close(lands.after, plain.after * gamma + beta)
    torch.testing.assert_close(lands.plain, plain.after)
    torch.testing.assert_close(lands.surface[0], plain.surface[0] * gamma + beta)


# --- what is left of a gradient ---


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    gamma = torch.tensor([2.0, 0.5, 1.0]).double() if get(name).takes("weight") else None
    incoming, given = direction(40, 25), settings(name)
    left = seen(name, gamma=gamma).gradient.left

    def loss(move: Tensor) -> float:
        moved = POINTS.clone()
        moved[5] += move
        return float(space(get(name, "normalization"), moved, given, gamma=gamma, point=5).after[5] @ incoming)

    slope = [(loss(step) - loss(-step)) / 2e-5 for step in 1e-5 * torch.eye(3, dtype=torch.float64)]
    torch.testing.assert_close(left, torch.tensor(slope).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PER_POINT)
def test_what_is_left_is_orthogonal_to_the_point_and_for_layer_norm_to_ones_too(name: str) -> None:
    gradient = seen(name).gradient
    assert float(gradient.left.norm()) > 0.05
    assert abs(gradient.along_point[1]) < 1e-8
    assert (abs(gradient.along_ones[1]) < 1e-8) == (name == "layer_norm")
    assert (abs(gradient.along_result[1]) < 1e-8) == (name != "lp_norm" or settings(name)["p"] == 2)
    assert abs(gradient.along_point[0]) > 0.01 and abs(gradient.along_ones[0]) > 0.01


def test_in_a_batch_the_features_gradients_add_up_to_nothing() -> None:
    gradient = seen("batch_norm").gradient
    assert gradient.batch_sum < 1e-12
    assert abs(gradient.along_ones[1]) > 0.01 and abs(gradient.along_point[1]) > 0.01


def test_a_small_point_gets_a_large_gradient() -> None:
    far = space(
        get("l2_norm", "normalization"), POINTS, settings("l2_norm"), point=0, incoming=direction(10, 20)
    ).gradient.left
    near = space(
        get("l2_norm", "normalization"), POINTS / 10, settings("l2_norm"), point=0, incoming=direction(10, 20)
    ).gradient.left
    torch.testing.assert_close(near, 10 * far)


def test_directions_have_length_one() -> None:
    assert direction(0, 0).tolist() == pytest.approx([1, 0, 0])
    assert direction(90, 0).tolist() == pytest.approx([0, 1, 0])
    assert direction(123, 90).tolist() == pytest.approx([0, 0, 1])


def test_nothing_given_is_written_or_tracked() -> None:
    x = POINTS.clone()
    lands = space(get("layer_norm", "normalization"), x, settings("layer_norm"))
    assert identical(x, POINTS) and not x.requires_grad
    assert not any(t.requires_grad for t in (lands.before, lands.after, lands.plain, *lands.surface))


@pytest.mark.parametrize(
    ("points", "point", "sentence"),
    [
        (torch.ones(4, 2), 0, r"three features, \(N, 3\); received shape \(4, 2\)"),
        (torch.ones(4, 3), 4, "from 0 to 3; received 4"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(points: Tensor, point: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        space(get("layer_norm", "normalization"), points, settings("layer_norm"), point=point)


# --- the figure ---


def drawn(name: str = "layer_norm", **arguments: Any) -> Any:
    lands = seen(name)
    return figures.scene(
        lands.before.numpy(), lands.after.numpy(), [line.numpy() for line in lands.surface], "circle", selected=5,
        incoming=lands.gradient.incoming.numpy(), remaining=lands.gradient.left.numpy(), **arguments,
    )  # fmt: skip


def test_the_scene_holds_the_points_the_lines_and_the_arrows() -> None:
    traces = {trace.name: trace for trace in drawn().data}
    assert list(traces) == [
        "axes", "circle", "from each point to its normalized point", "before", "after", "incoming gradient",
        "remaining gradient", "selected point",
    ]  # fmt: skip
    after = np.stack([traces["after"][axis] for axis in "xyz"], axis=1)
    np.testing.assert_allclose(after, seen("layer_norm").after, atol=1e-6)
    assert len(traces["before"].x) == 40
    assert len(traces["from each point to its normalized point"].x) == 40 * 3  # a point, its result, a gap
    assert {type(trace).__name__ for trace in traces.values()} == {"Scatter3d"}
    names = dict(zip(traces["axes"].text, zip(*(traces["axes"][axis] for axis in "xyz"), strict=True), strict=False))
    assert [int(np.argmax(names[name])) for name in ("x₁", "x₂", "x₃")] == [0, 1, 2]
    assert len(drawn(joined=False).data) == len(traces) - 1
    assert len(drawn("batch_norm").data) == len(traces) - 1  # no surface


def test_an_arrow_starts_at_its_point_and_ends_where_its_vector_does() -> None:
    line = figures.arrow(np.array([1.0, 0, 0]), np.array([0, 2.0, 0]))
    assert line[0].tolist() == [1, 0, 0] and line[1].tolist() == [1, 2, 0]
    barbs = line[3::3]
    assert np.allclose(np.linalg.norm(barbs - [1, 2, 0], axis=1), np.linalg.norm(barbs[0] - [1, 2, 0]))
    assert figures.arrow(np.array([1.0, 0, 0]), np.zeros(3)).tolist() == [[1, 0, 0]]
    long = figures.arrow(np.zeros(3), np.array([50.0, 0, 0]))
    assert long[1].tolist() == [figures.LONGEST, 0, 0]


def test_the_largest_scene_is_small_on_the_wire() -> None:
    x = generate((200, 3), "normal").double()
    lands = space(get("rms_norm", "normalization"), x, settings("rms_norm"))
    figure = figures.scene(
        lands.before.numpy(), lands.after.numpy(), [line.numpy() for line in lands.surface], "sphere"
    )
    assert len(json.dumps(figure.to_dict())) < 60_000


def test_unfit_clouds_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"must have the same shape \(N, 3\); received \(4, 3\) and \(5, 3\)"):
        figures.scene(np.ones((4, 3)), np.ones((5, 3)))
    with pytest.raises(ValueError, match="finite values"):
        figures.scene(np.full((4, 3), np.nan), np.ones((4, 3)))
