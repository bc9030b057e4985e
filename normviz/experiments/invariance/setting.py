"""The setting of the invariances: y = norm(W x), its rows (methods) and its columns (changes).

W is a linear layer without bias, on maps a convolution of 2 by 2 without padding, and x is what goes into it. A method
of weights normalizes W instead: y = norm(W) x. Epsilon is the least one, and all numbers are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.activations import layout_of
from normviz.normalization.apply import apply
from normviz.registry import Method, Value, methods

LEAST = 1e-12  # epsilon
CASES, CHANNELS = 6, 6  # N of the batch, and rows of W
INPUTS = {"nc": (8,), "ntd": (5, 8), "nchw": (3, 5, 5)}  # the shape of one case of x
SMALL: dict[str, Value] = {"num_groups": 2, "batch_size": 3, "size": 3}  # knobs whose defaults do not fit these shapes
OUTLIER = 4  # times delta is how large another case is, so that it is an extreme one in any feature
ORDER = (1, 2, 3, 4, 0, 5)  # a cycle of five and one that stays: no split of six into halves survives it
VARIANTS = {  # how the switches that change who shares a statistic are called in a row
    ("training", True): "training",
    ("training", False): "inference",
    ("per_position", True): "per position",
    ("per_position", False): "whole case",
    ("per_step", True): "per step",
    ("per_step", False): "all steps",
}

Output = Callable[..., Tensor]  # y for some weights and data


@dataclass(frozen=True)
class Row:
    """A method as it stands in the matrix: the layout of what it normalizes, and its settings."""

    method: Method
    layout: str
    settings: tuple[tuple[str, Value], ...] = ()

    @property
    def label(self) -> str:
        """The method's title, short, with the switch that tells the row from its neighbors."""
        words = [VARIANTS.get((name, bool(value)), f"{value}") for name, value in self.settings]
        return ", ".join([self.method.title.replace("Normalization", "norm"), *words])

    @property
    def on_weights(self) -> bool:
        """Whether the weights are normalized, not what comes out of them."""
        return self.method.acts_on == "weights"

    @property
    def pattern(self) -> str | None:
        """Who shares a statistic."""
        return self.method.pattern(self.layout, dict(self.settings))

    def all_settings(self) -> dict[str, Value]:
        """Every knob: the row's own, those that fit the small shapes, the least epsilon, and defaults."""
        fit: dict[str, Value] = {knob.name: SMALL[knob.name] for knob in self.method.knobs if knob.name in SMALL}
        fit |= {k.name: max(LEAST, k.range.low) for k in self.method.knobs if k.name == "eps" and k.range}
        return self.method.settings(fit | dict(self.settings))


@dataclass(frozen=True)
class World:
    """The seeded numbers of one measurement.

    Attributes:
        x: (6, ...) the data, in their layout.
        weight: (6, inputs), or (6, inputs, 2, 2) of a convolution.
        gamma: what is added to a row, the shape of one.
        other: (1, ...) another case.
        running: the stored mean and variance, (6,) each.
    """

    x: Tensor
    weight: Tensor
    gamma: Tensor
    other: Tensor
    running: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Column:
    """One change.

    Attributes:
        name: names it.
        title: what is changed, in plain words.
        symbol: the same in symbols.
        on: what is changed: the weights or the data.
        kind: a factor, a number added, another order of the cases, other company for them, or another place.
        varies: the axes of W x along which the factor or number differs: n cases, c channels, p positions; j inputs
            along a row of W.
        change_text: the change in a clause; {delta} stands for its size, {outlier} for how large another case is.
        effect: what it makes of W x, or how the outputs are compared.
        change: the outputs to compare, before and after, from y(W, x), the numbers, and the size of the change.
    """

    name: str
    title: str
    symbol: str
    on: Literal["W", "x"]
    kind: Literal["factor", "number", "order", "batch", "place"]
    varies: str
    change_text: str
    effect: str
    change: Callable[[Output, World, float], tuple[Tensor, Tensor]]


def rows(layout: str) -> tuple[Row, ...]:
    """Every method of activations that takes the layout, with each of its switches and forms; then those of weights."""
    found = []
    for method in methods("normalization"):
        if method.acts_on == "weights":
            found.append(Row(method, layout))
        elif method.takes_activations and layout in method.layouts():
            switches = [key.partition(" ")[2] for key in method.axes if key.split(" ")[0] == layout]
            turns = [((name, on),) for name in dict.fromkeys(filter(None, switches)) for on in (True, False)]
            forms = [((knob.name, choice),) for knob in method.knobs for choice in knob.choices]
            found += [Row(method, layout, settings) for settings in turns or forms or [()]]
    return tuple(sorted(found, key=lambda row: row.on_weights))


def columns(layout: str) -> tuple[Column, ...]:
    """The changes that the layout allows: without positions nothing can be moved."""
    return tuple(column for column in COLUMNS if column.kind != "place" or layout != "nc")


def make_world(layout: str, seed: int) -> World:
    """The seeded numbers, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = INPUTS[layout]
    kernel = (inputs[0], 2, 2) if layout == "nchw" else inputs[-1:]
    x, weight, gamma, other = draw(CASES, *inputs), draw(CHANNELS, *kernel), draw(*kernel), draw(1, *inputs)
    start = math.prod(kernel) ** -0.5  # so that W x is about as large as x
    return World(x, weight * start, gamma * start, other, (draw(CHANNELS), draw(CHANNELS).exp()))


def linear(layout: str, weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
    """W x without bias; where `wrap` is true, maps go on at the opposite edge, so that they can be moved.

    Args:
        layout: "nc", "ntd" or "nchw".
        weight: (6, inputs), or (6, inputs, 2, 2) for maps.
        x: the data, in their layout.
        wrap: for maps, whether the convolution goes on at the opposite edge.

    Returns:
        W x, in the same layout.
    """
    if layout != "nchw":
        return x @ weight.T  # (N, 6) or (N, T, 6)
    return F.conv2d(F.pad(x, (0, 1, 0, 1), mode="circular") if wrap else x, weight)  # (N, 6, h, w)


def normalized(row: Row, world: World, z: Tensor) -> Tensor:
    """What a method of activations makes of z = W x: the shape of `z`."""
    settings = row.all_settings()
    return apply(row.method, z, row.layout, running=world.running, sides=sides(z), **settings)  # shape of z


def normalized_weight(row: Row, weight: Tensor) -> Tensor:
    """What a method of weights makes of W: the shape of `weight`."""
    result = row.method.function(weight, **row.all_settings())
    made: Tensor = result[0] if isinstance(result, tuple) else result
    return made  # shape of weight


def sides(z: Tensor) -> Mapping[str, Tensor]:
    """What some methods need besides: one picture whose style all cases take."""
    generator = torch.Generator().manual_seed(1)
    return {"style": torch.randn(1, *z.shape[1:], generator=generator, dtype=z.dtype).expand(z.shape)}


def output(row: Row, world: World, weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
    """The output norm(W x), or norm(W) x of a method of weights: (N, 6, ...) or (N, T, 6)."""
    if row.on_weights:
        return linear(row.layout, normalized_weight(row, weight), x, wrap)  # (N, 6, ...) or (N, T, 6)
    return normalized(row, world, linear(row.layout, weight, x, wrap))  # (N, 6, ...) or (N, T, 6)


def moved(values: Tensor, layout: str, by: int) -> Tensor:
    """The values moved along every axis of positions; what leaves at one edge enters at the other."""
    places = [axis for axis, letter in enumerate(layout) if letter in "thw"]
    return values.roll([by] * len(places), places) if places else values  # shape of values


def first(changed: Tensor, rest: Tensor) -> Tensor:
    """The first row or case of one tensor, the others of another."""
    return torch.cat([changed[:1], rest[1:]])  # shape of rest


def _permute(y: Output, at: World, delta: float) -> tuple[Tensor, Tensor]:
    order = torch.tensor(ORDER)  # (N,)
    return y(at.weight, at.x), y(at.weight, at.x[order])[order.argsort()]


def _move(y: Output, at: World, delta: float) -> tuple[Tensor, Tensor]:
    layout = layout_of(at.x.shape)
    after = y(at.weight, moved(at.x, layout, 1), wrap=True)  # (N, 6, h, w) or (N, T, 6)
    return y(at.weight, at.x, wrap=True), moved(after, layout, -1)


COLUMNS = (
    Column("weights_times", "All weights × δ", "Wδ", "W", "factor", "", "All weights are multiplied by {delta}",
           "every value of Wx becomes {delta} times as large",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight * delta, at.x))),
    Column("weights_plus", "Every row of W + γ", "W + 1γᵀ", "W", "number", "npj",
           "The same numbers are added to every row of W",
           "for each {place} all {channel}s get the same number, and for the next {place} another one",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight + delta * at.gamma, at.x))),
    Column("row_times", "One row of W × δ", "wᵢδ", "W", "factor", "c", "One row of W is multiplied by {delta}",
           "one {channel} of Wx becomes {delta} times as large, the others stay",
           lambda y, at, delta: (y(at.weight, at.x), y(first(at.weight * delta, at.weight), at.x))),
    Column("row_plus", "One row of W + γ", "wᵢ + γᵀ", "W", "number", "ncpj",
           "Numbers are added to one row of W",
           "one {channel} of Wx gets a number added that differs from {place} to {place}",
           lambda y, at, delta: (y(at.weight, at.x), y(first(at.weight + delta * at.gamma, at.weight), at.x))),
    Column("data_times", "Data × δ", "xδ", "x", "factor", "", "All data are multiplied by {delta}",
           "every value of Wx becomes {delta} times as large",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, at.x * delta))),
    Column("data_plus", "Data + c", "x + c", "x", "number", "c", "{delta} is added to all data",
           "each {channel} of Wx is shifted by a number of its own, the same for every {place}",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, at.x + delta))),
    Column("case_times", "One case × δ", "xₙδ", "x", "factor", "n", "One case is multiplied by {delta}",
           "its values of Wx become {delta} times as large, those of the other cases stay",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, first(at.x * delta, at.x)))),
    Column("permute", "Batch reordered", "n → π(n)", "x", "order", "n", "The cases stand in another order",
           "the outputs are put back before they are compared", _permute),
    Column("neighbor", "Another neighbor", "xₘ → x′ₘ", "x", "batch", "n",
           "The first case is replaced by another one, {outlier} times as large",
           "the outputs of all other cases are compared",
           lambda y, at, delta: (y(at.weight, at.x)[1:], y(at.weight, first(at.other * OUTLIER * delta, at.x))[1:])),
    Column("alone", "Each case alone", "N = 1", "x", "batch", "n", "Each case is computed alone, as a batch of one",
           "the outputs are compared with those in the batch",
           lambda y, at, delta: (y(at.weight, at.x), torch.cat([y(at.weight, one) for one in at.x[:, None]]))),
    Column("move", "Input moved", "p → p + 1", "x", "place", "p",
           "The input moves by one position, and what leaves at one edge enters at the other",
           "the output is moved back before it is compared", _move),
)  # fmt: skip
