"""Which registered methods a composed normalization is, and which choices the registered methods are."""

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
# The power that makes a method's scale; 3 for those that take any: with 2 they have another name.
_POWERS = {("mean", "std"): 2.0, ("", "rms"): 2.0, ("", "power"): 3.0, ("mean", "power"): 3.0}
_CONDITIONS = ("scale", "shift")  # what other data gives to a conditional method


@dataclass(frozen=True)
class Match:
    """A registered method that a choice is.

    Attributes:
        method: the method.
        settings: those of its knobs that make it so.
        special: whether a number of groups is at an end of its range: one group, or one for each channel or example.
        factor: what the method's result is of the choice's: 1, or less where it divides by a length, not by a mean.
        needs: further tensors that give the method its scale and shift.
    """

    method: Normalization
    settings: dict[str, Value]
    special: bool
    factor: float
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title, and the switches that were turned: "Layer Normalization, per position"."""
        turned = [
            "at inference" if name == "training" else name.replace("_", " ")
            for name, value in self.settings.items()
            if isinstance(value, bool) and value != self._knob(name).default
        ]
        return ", ".join([self.method.title, *turned])

    @property
    def title(self) -> str:
        """The name, and the numbers that are set: "Group Normalization (G = 4)"."""
        numbers = [f"{self._knob(name).symbol} = {value:g}" for name, value in self.numbers.items()]
        return f"{self.name} ({', '.join(numbers)})" if numbers else self.name

    @property
    def numbers(self) -> dict[str, int | float]:
        """The settings that are numbers."""
        return {name: value for name, value in self.settings.items() if not isinstance(value, bool | str)}

    @property
    def plain(self) -> bool:
        """Whether this is the method as it is meant: no special case, no factor, nothing more to be given."""
        return not self.special and self.factor == 1 and not self.needs

    def _knob(self, name: str) -> Knob:
        return next(knob for knob in self.method.knobs if knob.name == name)


def matches(choice: Choice, shape: Sequence[int]) -> list[Match]:
    """The registered methods that do what was chosen to an input of this shape, the most telling first.

    Where no axis is shared there are none: a single value has no statistic worth a name.

    Args:
        choice: what is done.
        shape: of the input, in the layout of the choice.

    Returns:
        The matches: those without special cases first, layers that learn a scale before ways to scale data.

    Raises:
        ValueError: the shape does not fit the choice.
    """
    wanted = _partition(choice.pattern, shape, choice.layout, choice.sizes)
    if not choice.axes:
        return []
    found = [match for method in _candidates(choice) for match in _fits(method, choice, shape, wanted)]
    return sorted(
        found, key=lambda m: (bool(m.needs), m.factor != 1, m.special, len(m.numbers), not m.method.takes("weight"))
    )


def presets(layout: Layout, shape: Sequence[int]) -> dict[str, Choice]:
    """The choices that registered methods are in this layout, by name; one name for those that are the same.

    Args:
        layout: "nc", "ntd", "nchw" or "ncdhw".
        shape: of the input.
    """
    result: dict[str, Choice] = {}
    for method in methods("normalization"):
        for choice in _choices(method, layout, shape):
            first = matches(choice, shape)[0]
            result.setdefault(first.name, choice)
    return result


def one_step_away(choice: Choice, shape: Sequence[int]) -> list[tuple[str, Match]]:
    """The methods that one other choice would make, each with that choice in words.

    Args:
        choice: what is done.
        shape: of the input, in the layout of the choice.
    """
    found: dict[str, tuple[str, Match]] = {}
    for words, other in _steps(choice):
        for match in matches(other, shape)[:1]:
            if match.plain:
                found.setdefault(match.name, (words, match))
    return list(found.values())


def _candidates(choice: Choice) -> list[Normalization]:
    """The methods that subtract and divide by the same statistics, or by a fixed multiple of them."""
    center = "mean" if choice.centered else ""
    squares = {"std"} if choice.centered else {"rms", "norm"}
    scales = {"power"} | (squares if choice.power == 2 else set())
    return [method for method in methods("normalization") if method.center == center and method.scale in scales]


def _fits(method: Normalization, choice: Choice, shape: Sequence[int], wanted: _Partition) -> Iterator[Match]:
    """The settings of a method under which its groups are the wanted ones."""
    knobs = {knob.symbol.lower(): knob for knob in method.knobs if knob.type is int}
    for pattern, switches in _patterns(method, choice.layout, choice.running):
        cuts = {name: length for name, length in _cuts(pattern, shape, choice.layout).items() if name in knobs}
        for values in product(*map(divisors, cuts.values())):
            given = dict(zip(cuts, values, strict=True))
            settings = switches | {knobs[name].name: value for name, value in given.items()}
            if method.scale == "power":
                settings["p"] = choice.power
            if _partition(pattern, shape, choice.layout, given) == wanted and _in_range(method, settings):
                special = any(value in (1, cuts[name]) for name, value in given.items())
                factor = _factor(method, choice, shape) if method.scale == "norm" else 1.0
                yield Match(method, settings, special, factor, _needs(method))


def _patterns(method: Normalization, layout: Layout, running: bool) -> Iterator[tuple[str, dict[str, Value]]]:
    """The method's patterns in a layout, live or stored, each with the switches that make it hold."""
    keys = method.patterns(layout)
    for condition, pattern in keys.items():
        if pattern is not None and (not running or (condition and method.takes("running_mean"))):
            yield pattern, {name: name == condition and not running for name in keys if name}


def _cuts(pattern: str, shape: Sequence[int], layout: Layout) -> dict[str, int]:
    """The names that cut an axis, and the length of that axis."""
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
    """The length of a method's result over that of the choice's, measured on random values."""
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # shape
    ratio = float(apply(method, x, choice.layout).norm() / compose(x, replace(choice, eps=1e-14)).norm())
    return 1.0 if math.isclose(ratio, 1, rel_tol=1e-9) else ratio


def _needs(method: Normalization) -> tuple[str, ...]:
    """The tensors besides the input that the method cannot do without, or that a condition gives."""
    parameters = list(inspect.signature(method.function).parameters.values())[1:]
    return tuple(p.name for p in parameters if p.default is p.empty or p.name in _CONDITIONS)


def _partition(pattern: str, shape: Sequence[int], layout: Layout, given: Mapping[str, int]) -> _Partition:
    """How each axis is parted, (kept or shared, size) from the outside in: equal where the groups are equal."""
    kept = parse(pattern)[1]
    axes = []
    for axis in split(pattern, shape, layout, given):
        parts = [(name in kept, size) for name, size in axis.items() if size > 1]
        parts = parts or [(name in kept, 1) for name in list(axis)[-1:]]
        axes.append(tuple((k, math.prod(n for _, n in run)) for k, run in groupby(parts, key=lambda part: part[0])))
    return tuple(axes)


def _choices(method: Normalization, layout: Layout, shape: Sequence[int]) -> Iterator[Choice]:
    """The choices that a method is in a layout, as far as choices can say it; G as near its default as C allows."""
    power = _POWERS.get((method.center, method.scale))
    if power is None:
        return
    place = channel_axis(layout)
    for running in (False, True):
        for pattern, _ in _patterns(method, layout, running):
            uncut = pattern.replace(f"(g {layout[place]})", "")
            if "(" not in uncut:  # who cuts the batch cannot be said
                most = sizes(method, method.settings())["g"] if uncut != pattern else 1
                groups = max((number for number in divisors(shape[place])[1:-1] if number <= most), default=1)
                shared = "".join(letter for letter in layout if letter in shared_axes(pattern))
                yield Choice(layout, shared, groups, bool(method.center), power, running)


def _steps(choice: Choice) -> Iterator[tuple[str, Choice]]:
    """The choices that differ in one thing, each with that thing in words."""
    for letter in choice.layout:
        axes = "".join(other for other in choice.layout if (other in choice.axes) != (other == letter))
        name = letter.upper()
        if axes:
            words = f"do not average over {name}" if letter in choice.axes else f"average over {name} as well"
            yield words, replace(choice, axes=axes, groups=choice.groups if choice.channel in axes else 1)
    if choice.groups > 1:
        yield "do not cut the channels into groups", replace(choice, groups=1)
    yield "keep the mean" if choice.centered else "subtract the mean", replace(choice, centered=not choice.centered)
    if choice.power != 2:
        yield "set p to 2", replace(choice, power=2.0)
    if choice.axes:
        words = "use the batch's own statistics" if choice.running else "use running averages"
        yield words, replace(choice, running=not choice.running)
