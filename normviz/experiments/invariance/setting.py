"""Setup of the invariance matrix: y = norm(W x), with methods as rows and changes as columns.

W is a linear layer without bias (for feature maps, a 2 x 2 convolution without padding) and x is its input. Methods on
weights compute y = norm(W) x instead. Epsilon is as small as possible, and all numbers are float64.
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
from normviz.registry import Normalization, Value, methods

LEAST = 1e-12  # epsilon
SAMPLES, CHANNELS = 6, 6  # batch size N, and rows of W
INPUTS = {"nc": (8,), "ntd": (5, 8), "nchw": (3, 5, 5)}  # shape of one sample of x
SMALL: dict[str, Value] = {"num_groups": 2, "batch_size": 3, "size": 3}  # replace defaults that do not fit these shapes
OUTLIER = 4  # scale of the replaced sample in multiples of delta, so that it is extreme in every feature
ORDER = (1, 2, 3, 4, 0, 5)  # a cycle of five and one fixed sample: it changes every split into two halves
VARIANTS = {  # labels of the switches that change which values share a statistic
    ("training", True): "training",
    ("training", False): "inference",
    ("per_position", True): "per position",
    ("per_position", False): "whole sample",
    ("per_step", True): "per step",
    ("per_step", False): "all steps",
}

Output = Callable[..., Tensor]  # computes y from weights and data


@dataclass(frozen=True)
class Row:
    """A row of the matrix: a method, the layout of its input, and its settings."""

    method: Normalization
    layout: str
    settings: tuple[tuple[str, Value], ...] = ()

    @property
    def label(self) -> str:
        """Short title of the method, with the value of its switch."""
        words = [VARIANTS.get((name, bool(value)), f"{value}") for name, value in self.settings]
        return ", ".join([self.method.title.replace("Normalization", "norm"), *words])

    @property
    def on_weights(self) -> bool:
        """Whether the method normalizes weights instead of activations."""
        return self.method.acts_on == "weights"

    @property
    def pattern(self) -> str | None:
        """The einops pattern of values that share a statistic."""
        return self.method.pattern(self.layout, dict(self.settings))

    def all_settings(self) -> dict[str, Value]:
        """Values of all knobs: those of the row, those for small shapes, the smallest epsilon, and defaults."""
        fit: dict[str, Value] = {knob.name: SMALL[knob.name] for knob in self.method.knobs if knob.name in SMALL}
        fit |= {k.name: max(LEAST, k.range.low) for k in self.method.knobs if k.name == "eps" and k.range}
        return self.method.settings(fit | dict(self.settings))


@dataclass(frozen=True)
class World:
    """Seeded data of one measurement.

    Attributes:
        x: (6, ...) the data, in the given layout.
        weight: (6, inputs), or (6, inputs, 2, 2) for a convolution.
        gamma: numbers added to a row of W, with the shape of a row.
        other: (1, ...) the replacement for a sample.
        running: the stored mean and variance, (6,) each.
    """

    x: Tensor
    weight: Tensor
    gamma: Tensor
    other: Tensor
    running: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Column:
    """A column of the matrix: one change.

    Attributes:
        name: identifier of the change.
        title: short description.
        symbol: the change as a formula.
        on: whether the weights or the data change.
        kind: a factor, an added number, another order of the samples, other samples in the batch, or a shift.
        varies: axes of W x along which the factor or number differs: n samples, c channels, p positions; j inputs
            along a row of W.
        change_text: the change as a clause; {delta} is its size, {outlier} the scale of the replaced sample.
        effect: the effect on W x, or how the outputs are compared.
        change: computes the outputs before and after from y(W, x), the data, and the size of the change.
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
    """List the methods that accept the layout, one row per switch or variant; methods on weights come last."""
    found = []
    for method in methods("normalization"):
        if method.acts_on == "weights":
            found.append(Row(method, layout))
        elif method.takes_activations and layout in method.layouts():
            switches = list(method.patterns(layout))
            turns = [((name, on),) for name in dict.fromkeys(filter(None, switches)) for on in (True, False)]
            forms = [((knob.name, choice),) for knob in method.knobs for choice in knob.choices]
            found += [Row(method, layout, settings) for settings in turns or forms or [()]]
    return tuple(sorted(found, key=lambda row: row.on_weights))


def columns(layout: str) -> tuple[Column, ...]:
    """List the changes that the layout allows; a shift needs positions."""
    return tuple(column for column in COLUMNS if column.kind != "place" or layout != "nc")


def make_world(layout: str, seed: int) -> World:
    """Draw the seeded data, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = INPUTS[layout]
    kernel = (inputs[0], 2, 2) if layout == "nchw" else inputs[-1:]
    x, weight, gamma, other = draw(SAMPLES, *inputs), draw(CHANNELS, *kernel), draw(*kernel), draw(1, *inputs)
    start = math.prod(kernel) ** -0.5  # keeps the scale of x in W x
    return World(x, weight * start, gamma * start, other, (draw(CHANNELS), draw(CHANNELS).exp()))


def linear(layout: str, weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
    """Compute W x without bias.

    Args:
        layout: "nc", "ntd" or "nchw".
        weight: (6, inputs), or (6, inputs, 2, 2) for feature maps.
        x: the data, in the given layout.
        wrap: for feature maps, whether to use circular padding, so that they can be shifted.

    Returns:
        W x, in the same layout.
    """
    if layout != "nchw":
        return x @ weight.T  # (N, 6) or (N, T, 6)
    return F.conv2d(F.pad(x, (0, 1, 0, 1), mode="circular") if wrap else x, weight)  # (N, 6, h, w)


def normalized(row: Row, world: World, z: Tensor) -> Tensor:
    """Normalize the activations z = W x; returns the shape of `z`."""
    settings = row.all_settings()
    return apply(row.method, z, row.layout, running=world.running, sides=sides(z), **settings)  # shape of z


def normalized_weight(row: Row, weight: Tensor) -> Tensor:
    """Normalize W with a method on weights; returns the shape of `weight`."""
    result = row.method.function(weight, **row.all_settings())
    made: Tensor = result[0] if isinstance(result, tuple) else result
    return made  # shape of weight


def sides(z: Tensor) -> Mapping[str, Tensor]:
    """Additional inputs of some methods: one style for all samples."""
    generator = torch.Generator().manual_seed(1)
    return {"style": torch.randn(1, *z.shape[1:], generator=generator, dtype=z.dtype).expand(z.shape)}


def output(row: Row, world: World, weight: Tensor, x: Tensor, wrap: bool = False) -> Tensor:
    """Compute norm(W x), or norm(W) x for a method on weights: (N, 6, ...) or (N, T, 6)."""
    if row.on_weights:
        return linear(row.layout, normalized_weight(row, weight), x, wrap)  # (N, 6, ...) or (N, T, 6)
    return normalized(row, world, linear(row.layout, weight, x, wrap))  # (N, 6, ...) or (N, T, 6)


def moved(values: Tensor, layout: str, by: int) -> Tensor:
    """Shift the values along every position axis, circularly."""
    places = [axis for axis, letter in enumerate(layout) if letter in "thw"]
    return values.roll([by] * len(places), places) if places else values  # shape of values


def first(changed: Tensor, rest: Tensor) -> Tensor:
    """Take the first row or sample of `changed` and the others of `rest`."""
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
           "at each {place} the same number is added to all {channel}s; it differs from {place} to {place}",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight + delta * at.gamma, at.x))),
    Column("row_times", "One row of W × δ", "wᵢδ", "W", "factor", "c", "One row of W is multiplied by {delta}",
           "one {channel} of Wx becomes {delta} times as large, the others do not change",
           lambda y, at, delta: (y(at.weight, at.x), y(first(at.weight * delta, at.weight), at.x))),
    Column("row_plus", "One row of W + γ", "wᵢ + γᵀ", "W", "number", "ncpj",
           "Numbers are added to one row of W",
           "a number that differs from {place} to {place} is added to one {channel} of Wx",
           lambda y, at, delta: (y(at.weight, at.x), y(first(at.weight + delta * at.gamma, at.weight), at.x))),
    Column("data_times", "Data × δ", "xδ", "x", "factor", "", "All data are multiplied by {delta}",
           "every value of Wx becomes {delta} times as large",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, at.x * delta))),
    Column("data_plus", "Data + c", "x + c", "x", "number", "c", "{delta} is added to all data",
           "a different number is added to each {channel} of Wx, the same at every {place}",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, at.x + delta))),
    Column("case_times", "One sample × δ", "xₙδ", "x", "factor", "n", "One sample is multiplied by {delta}",
           "its values of Wx become {delta} times as large, those of the other samples do not change",
           lambda y, at, delta: (y(at.weight, at.x), y(at.weight, first(at.x * delta, at.x)))),
    Column("permute", "Batch reordered", "n → π(n)", "x", "order", "n", "The samples of the batch are reordered",
           "the outputs are put back in order before they are compared", _permute),
    Column("neighbor", "First sample replaced", "xₘ → x′ₘ", "x", "batch", "n",
           "The first sample is replaced by another one that is {outlier} times as large",
           "the outputs of all other samples are compared",
           lambda y, at, delta: (y(at.weight, at.x)[1:], y(at.weight, first(at.other * OUTLIER * delta, at.x))[1:])),
    Column("alone", "Each sample alone", "N = 1", "x", "batch", "n", "Each sample is computed alone, as a batch of one",
           "the outputs are compared with those in the batch",
           lambda y, at, delta: (y(at.weight, at.x), torch.cat([y(at.weight, one) for one in at.x[:, None]]))),
    Column("move", "Input shifted", "p → p + 1", "x", "place", "p",
           "The input is shifted by one position, circularly",
           "the output is shifted back before it is compared", _move),
)  # fmt: skip
