"""Geometry: where points with three features land when they are normalized."""

from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor

from normviz.activations import DESCRIPTIONS, DISTRIBUTIONS
from normviz.experiments.labs.geometry import METHODS, Space, direction, space
from normviz.figures.experiments import geometry
from normviz.html import geometry as geometry_html
from normviz.registry import Normalization, Value, get
from normviz.ui.components.board import Panel, cached_board
from normviz.ui.kit import cache, jobs, knobs, page_layout, url_widgets

POINTS = (3, 10, 30, 60, 100, 200)
FEATURES = ("first", "second", "third")
NEUTRAL: tuple[tuple[float, ...], tuple[float, ...]] = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))  # gamma and beta
ARRIVING = 1.5  # length of the gradient that arrives
LANDS = {
    "layer_norm": ("circle of radius √3", "They land on a circle of radius √3 in the plane x₁ + x₂ + x₃ = 0"),
    "rms_norm": ("sphere of radius √3", "They land on a sphere of radius √3"),
    "l2_norm": ("sphere of radius 1", "They land on a sphere of radius 1"),
    "lp_norm": ("where mean |x|ᵖ = 1", "They land where the mean of |x|ᵖ is 1"),
    "scale_norm": ("sphere of radius g", "They land on a sphere of radius g"),
    "batch_norm": ("", "The cloud is shifted and scaled as a whole; no point is projected"),
    "z_score": ("", "The cloud is shifted and scaled as a whole; no point is projected"),
}
HELP = """
Each point is one sample with **three features**, so it can be drawn in space. Points are gray-blue before and orange
after; a thin line connects the two. Drag the picture to rotate it.

**Layer norm** subtracts the mean, which moves a point along the direction (1, 1, 1) into the plane where the features
sum to 0, and divides by the standard deviation, which moves it along a ray onto the circle of radius √3. **RMS norm**
does only the second step: a sphere. **Batch norm** treats each feature across all points: the cloud is shifted and
scaled along the three axes, and neighbors stay neighbors. A large **ε** leaves points inside the surface, especially
those near 0.

The **gradient** is the direction in which the loss would move the normalized point. The backward pass removes from it
what the normalization removes: for layer norm, the components along (1, 1, 1) and along the ray from 0; for RMS norm,
the component along the ray. What is left runs along the surface; points closer to 0 receive more of it.
"""

page_layout.header("geometry")


def cloud() -> tuple[Tensor, tuple[object, ...]]:
    """Draw the widgets of the points; the points (N, 3), and their cache key."""
    count = url_widgets.steps("Points", POINTS, 60, "N")
    distribution = url_widgets.select(
        "Values", DISTRIBUTIONS, "normal", "values", help="; ".join(f"{k}: {v}" for k, v in DESCRIPTIONS.items())
    )
    seed = url_widgets.number("Seed", 0, 9999, 0, "seed", help="The same seed gives the same values on every machine.")
    shift = url_widgets.slider("Mean of all features", -3.0, 3.0, 1.0, "shift", step=0.1, help="Added to every value.")
    return cache.activations((count, 3), distribution, seed) + shift, (count, distribution, seed, shift)


def affine(method: Normalization) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Draw the sliders of gamma and beta, one per feature, for a method that has them."""
    gamma, beta = NEUTRAL
    if method.takes("weight"):
        with st.expander(r"Scale $\gamma$ and shift $\beta$" if method.takes("bias") else r"Scale $\gamma$"):
            gamma = tuple(
                url_widgets.slider(rf"$\gamma$ of the {name} feature", -2.0, 3.0, 1.0, f"gamma{k}", step=0.1)
                for k, name in enumerate(FEATURES, start=1)
            )
            if method.takes("bias"):
                beta = tuple(
                    url_widgets.slider(rf"$\beta$ of the {name} feature", -2.0, 2.0, 0.0, f"beta{k}", step=0.1)
                    for k, name in enumerate(FEATURES, start=1)
                )
    return gamma, beta


def gradient(count: int) -> tuple[bool, int, float, float]:
    """Draw the widgets of the gradient: whether it is shown, at which point, and its direction in degrees."""
    shown = url_widgets.toggle("Show a gradient", True, "gradient")
    if not shown:
        return False, 0, 0.0, 0.0
    point = url_widgets.slider("At point", 0, count - 1, min(4, count - 1), "point")
    around = url_widgets.slider("Azimuth", 0, 360, 60, "around", step=5, format="%d°")
    up = url_widgets.slider("Elevation", -90, 90, 60, "up", step=5, format="%d°")
    return True, point, float(around), float(up)


def panel(method: Normalization, seen: Space, stretched: bool, joined: bool, point: int, shown: bool) -> Panel:
    """The points before and after in space, and the gradient at one point."""
    surface, title = LANDS[method.name]
    if surface and stretched:
        surface, title = f"{surface}, stretched", f"{title}, stretched and shifted by γ and β"
    arrows = (seen.gradient.incoming.numpy(), seen.gradient.left.numpy()) if shown else (None, None)
    lines = [line.numpy() for line in seen.surface]
    figure = geometry.scene(seen.before.numpy(), seen.after.numpy(), lines, surface, joined, point, *arrows)
    long = shown and float(seen.gradient.left.norm()) > geometry.LONGEST
    caption = f"The arrow of the remaining gradient is cut to a length of {geometry.LONGEST:g}." if long else ""
    alt = f"{len(seen.before)} points in space before and after {method.title}. {title}."
    return Panel("space", title, figure, span=3, alt=alt, caption=caption, height=620)


@dataclass(frozen=True)
class SpaceRequest:
    """The points, the normalization and the gradient to draw.

    Attributes:
        method: the normalization.
        settings: its knobs.
        length: the length g, for a method that has one.
        x: the points (N, 3).
        points_key: everything that the points follow from.
        gamma: the scale of each feature.
        beta: the shift of each feature.
        gradient: whether a gradient is drawn, at which point, and its direction in degrees.
    """

    method: Normalization
    settings: dict[str, Value]
    length: float | None
    x: Tensor
    points_key: tuple[object, ...]
    gamma: tuple[float, ...]
    beta: tuple[float, ...]
    gradient: tuple[bool, int, float, float]

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the result follows from."""
        knobs = (self.method.name, *self.settings.items(), self.length)
        return (*knobs, self.points_key, self.gamma, self.beta, *self.gradient)

    def compute(self) -> Space:
        """The points and the gradient before and after."""
        scale, shift = (torch.tensor(values, dtype=torch.float64) for values in (self.gamma, self.beta))  # (3,), (3,)
        _, point, around, up = self.gradient
        arriving = ARRIVING * direction(around, up)  # (3,)
        return space(self.method, self.x.cpu(), self.settings, scale, shift, point, arriving, self.length)


def choose() -> tuple[SpaceRequest, bool]:
    """Draw the widgets; what to compute, and whether lines join the points before and after."""
    method = get(
        url_widgets.select("Normalization", METHODS, "layer_norm", "method", text=lambda name: get(name).title),
        "normalization",
    )
    settings: dict[str, Value] = knobs.knobs(method, hide=method.idle("nc") | {"training"})
    length = url_widgets.slider("Length $g$", 0.1, 4.0, 3**0.5, "g", step=0.05) if method.takes("g") else None
    x, points_key = cloud()
    request = SpaceRequest(method, settings, length, x, points_key, *affine(method), gradient(len(x)))
    return request, url_widgets.toggle("Lines from before to after", True, "lines")


def show(request: SpaceRequest, joined: bool) -> None:
    """Draw the points in space, and the numbers of the gradient."""
    result = cache.keep("geometry", request.key, lambda: jobs.compute(request.compute))
    shown, point, *_ = request.gradient

    def draw() -> tuple[list[Panel], None]:
        stretched = (request.gamma, request.beta) != NEUTRAL
        return [panel(request.method, result, stretched, joined, point, shown)], None

    cached_board(draw, "geometry-board", (*request.key, joined))
    st.html(geometry_html.measurements(result, shown))
    page_layout.how_to_read(HELP)


page_layout.two_columns(choose, show)
