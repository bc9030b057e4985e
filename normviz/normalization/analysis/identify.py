"""Identification of composed normalizations: the registered methods that are equal to a choice."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, permutations, product

import torch

from normviz.activations import Layout, channel_axis
from normviz.normalization.analysis.compose import Choice, compose
from normviz.normalization.apply import apply
from normviz.normalization.methods.channel import divisors
from normviz.normalization.patterns import parse, shared_axes, sizes, split
from normviz.registry import Knob, Normalization, Value, methods

_Partition = tuple[tuple[tuple[bool, int], ...], ...]
# the power of each scale; 3 for methods with any power, as 2 is another method
_POWERS = {("mean", "std"): 2.0, ("", "rms"): 2.0, ("", "power"): 3.0, ("mean", "power"): 3.0}
_CONDITIONS = ("scale", "shift")  # arguments of conditional methods that are computed from other data


@dataclass(frozen=True)
class Match:
    """A registered method that is equal to a choice.

    Attributes:
        method: the method.
        settings: the knobs for which the method is equal to the choice.
        special: whether the number of groups is an extreme: one group, or one per channel or sample.
        factor: the ratio of the result of the method to that of the choice: 1, or less if the method divides by a
            norm instead of a mean.
        needs: other tensors that determine the scale and shift of the method.
    """

    method: Normalization
    settings: dict[str, Value]
    special: bool
    factor: float
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title and the switches that differ from their defaults: "Layer Normalization, per position"."""
        switches = [
            "at inference" if name == "training" else name.replace("_", " ")
            for name, value in self.settings.items()
            if isinstance(value, bool) and value != self._knob(name).default
        ]
        return ", ".join([self.method.title, *switches])

    @property
    def title(self) -> str:
        """The name and the numeric settings: "Group Normalization (G = 4)"."""
        numbers = [f"{self._knob(name).symbol} = {value:g}" for name, value in self.numbers.items()]
        return f"{self.name} ({', '.join(numbers)})" if numbers else self.name

    @property
    def numbers(self) -> dict[str, int | float]:
        """The numeric settings."""
        return {name: value for name, value in self.settings.items() if not isinstance(value, bool | str)}

    @property
    def plain(self) -> bool:
        """Whether the match is exact: no special case, no factor, no other tensors."""
        return not self.special and self.factor == 1 and not self.needs

    def _knob(self, name: str) -> Knob:
        return next(knob for knob in self.method.knobs if knob.name == name)


def matches(choice: Choice, shape: Sequence[int]) -> list[Match]:
    """Find the registered methods that are equal to a choice for inputs of a shape.

    Args:
        choice: the normalization.
        shape: the shape of the input, in the layout of the choice.

    Returns:
        The matches, best first: exact matches before special cases, layers with a learned scale before data scaling.
        Without shared axes there are none.

    Raises:
        ValueError: the shape does not match the choice.
    """
    target = _partition(choice.pattern, shape, choice.layout, choice.sizes)
    if not choice.axes:
        return []
    result = [match for method in _candidates(choice) for match in _fits(method, choice, shape, target)]
    return sorted(
        result, key=lambda m: (bool(m.needs), m.factor != 1, m.special, len(m.numbers), not m.method.takes("weight"))
    )


def presets(layout: Layout, shape: Sequence[int]) -> dict[str, Choice]:
    """The choices that are equal to registered methods in a layout, by name; equal methods have one name.

    Args:
        layout: "nc", "ntd", "nchw" or "ncdhw".
        shape: the shape of the input.
    """
    result: dict[str, Choice] = {}
    for method in methods("normalization"):
        for choice in _choices(method, layout, shape):
            first = matches(choice, shape)[0]
            result.setdefault(first.name, choice)
    return result


def one_step_away(choice: Choice, shape: Sequence[int]) -> list[tuple[str, Match]]:
    """The methods that differ from a choice in one parameter, each with a description of the change.

    Args:
        choice: the normalization.
        shape: the shape of the input, in the layout of the choice.
    """
    result: dict[str, tuple[str, Match]] = {}
    for description, other in _steps(choice):
        for match in matches(other, shape)[:1]:
            if match.plain:
                result.setdefault(match.name, (description, match))
    return list(result.values())


def _candidates(choice: Choice) -> list[Normalization]:
    """The methods with the same center and scale, up to a constant factor."""
    center = "mean" if choice.centered else ""
    squares = {"std"} if choice.centered else {"rms", "norm"}
    scales = {"power"} | (squares if choice.power == 2 else set())
    return [method for method in methods("normalization") if method.center == center and method.scale in scales]


def _fits(method: Normalization, choice: Choice, shape: Sequence[int], target: _Partition) -> Iterator[Match]:
    """The settings for which the groups of a method are those of the choice."""
    knobs = {knob.symbol.lower(): knob for knob in method.knobs if knob.type is int}
    for pattern, switches in _patterns(method, choice.layout, choice.running):
        splits = {name: length for name, length in _split_axes(pattern, shape, choice.layout).items() if name in knobs}
        for values in product(*map(divisors, splits.values())):
            given = dict(zip(splits, values, strict=True))
            settings = switches | {knobs[name].name: value for name, value in given.items()}
            if method.scale == "power":
                settings["p"] = choice.power
            if _partition(pattern, shape, choice.layout, given) == target and _in_range(method, settings):
                special = any(value in (1, splits[name]) for name, value in given.items())
                factor = _factor(method, choice, shape) if method.scale == "norm" else 1.0
                yield Match(method, settings, special, factor, _needs(method))


def _patterns(method: Normalization, layout: Layout, running: bool) -> Iterator[tuple[str, dict[str, Value]]]:
    """The patterns of a method in a layout, live or running, each with the switches that select it."""
    keys = method.patterns(layout)
    for condition, pattern in keys.items():
        if pattern is not None and (not running or (condition and method.takes("running_mean"))):
            yield pattern, {name: name == condition and not running for name in keys if name}


def _split_axes(pattern: str, shape: Sequence[int], layout: Layout) -> dict[str, int]:
    """The names that split an axis, with the length of that axis."""
    lengths = dict(zip(layout, shape, strict=True))
    return {
        name: lengths[letter]
        for names in parse(pattern)[0]
        for letter, name in permutations(names, 2)
        if letter in lengths and name not in lengths
    }


def _in_range(method: Normalization, settings: Mapping[str, Value]) -> bool:
    ranges = {knob.name: knob.range for knob in method.knobs}
    return all(
        bounds.low <= float(value) <= bounds.high
        for name, value in settings.items()
        if (bounds := ranges[name]) is not None
    )


def _factor(method: Normalization, choice: Choice, shape: Sequence[int]) -> float:
    """The ratio of the norms of the results of a method and a choice, measured on random values."""
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # shape
    ratio = float(apply(method, x, choice.layout).norm() / compose(x, replace(choice, eps=1e-14)).norm())
    return 1.0 if math.isclose(ratio, 1, rel_tol=1e-9) else ratio


def _needs(method: Normalization) -> tuple[str, ...]:
    """The required tensor arguments other than the input, and those computed from a condition."""
    parameters = list(inspect.signature(method.function).parameters.values())[1:]
    return tuple(p.name for p in parameters if p.default is p.empty or p.name in _CONDITIONS)


def _partition(pattern: str, shape: Sequence[int], layout: Layout, given: Mapping[str, int]) -> _Partition:
    """The parts of each axis as (separate, size), from outer to inner; equal for equal groups."""
    kept = parse(pattern)[1]
    axes = []
    for axis in split(pattern, shape, layout, given):
        parts = [(name in kept, size) for name, size in axis.items() if size > 1]
        parts = parts or [(name in kept, 1) for name in list(axis)[-1:]]
        axes.append(tuple((k, math.prod(n for _, n in run)) for k, run in groupby(parts, key=lambda part: part[0])))
    return tuple(axes)


def _choices(method: Normalization, layout: Layout, shape: Sequence[int]) -> Iterator[Choice]:
    """The choices that are equal to a method in a layout, with G as close to its default as C allows."""
    power = _POWERS.get((method.center, method.scale))
    if power is None:
        return
    channel = channel_axis(layout)
    for running in (False, True):
        for pattern, _ in _patterns(method, layout, running):
            unsplit = pattern.replace(f"(g {layout[channel]})", "")
            if "(" not in unsplit:  # a choice cannot split the batch
                most = sizes(method, method.settings())["g"] if unsplit != pattern else 1
                groups = max((number for number in divisors(shape[channel])[1:-1] if number <= most), default=1)
                shared = "".join(letter for letter in layout if letter in shared_axes(pattern))
                yield Choice(layout, shared, groups, bool(method.center), power, running)


def _steps(choice: Choice) -> Iterator[tuple[str, Choice]]:
    """The choices that differ in one parameter, each with a description of the change."""
    for letter in choice.layout:
        axes = "".join(other for other in choice.layout if (other in choice.axes) != (other == letter))
        name = letter.upper()
        if axes:
            description = f"do not average over {name}" if letter in choice.axes else f"also average over {name}"
            yield description, replace(choice, axes=axes, groups=choice.groups if choice.channel in axes else 1)
    if choice.groups > 1:
        yield "do not split the channels into groups", replace(choice, groups=1)
    yield "keep the mean" if choice.centered else "subtract the mean", replace(choice, centered=not choice.centered)
    if choice.power != 2:
        yield "set p to 2", replace(choice, power=2.0)
    if choice.axes:
        description = "use the statistics of the batch" if choice.running else "use running averages"
        yield description, replace(choice, running=not choice.running)
