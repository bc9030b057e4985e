"""The registry: what a method is, and the decorator that records one.

A method is a function plus facts. Its knobs stand once, in the function's signature: name, type,
default, range and symbol. Sliders, command-line options, link parameters, tests and the generated
documentation all read them from here.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from normviz.bibliography import BIBLIOGRAPHY, Source

Kind = Literal["normalization", "attribution"]
Level = Literal["layer", "input"]
Need = Literal["relu", "pooled head"]
ActsOn = Literal["activations", "weights", "training", "blocks"]
Center = Literal["", "mean", "min", "median"]
Scale = Literal["", "std", "rms", "norm", "power", "largest", "range", "iqr"]
Value = bool | int | float | str
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Range:
    """The closed range of a number knob and its symbol in the formula (LaTeX)."""

    low: float
    high: float
    symbol: str
    log: bool = False  # whether a slider moves through the range by factors


@dataclass(frozen=True)
class Knob:
    """One argument that a user may turn: `type` is bool, int, float or str (one of `choices`)."""

    name: str
    type: type
    default: Value
    help: str
    range: Range | None = None
    choices: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """The knob's symbol in the formula, or its name where it has none."""
        return self.range.symbol if self.range else self.name

    def parse(self, value: Value) -> Value:
        """The value in the knob's type, from that type or from text.

        Raises:
            ValueError: the text is not of that type, or the value lies outside the range.
        """
        text = str(value).strip()
        if self.type is bool:
            words = {
                "true": True,
                "1": True,
                "yes": True,
                "on": True,
                "false": False,
                "0": False,
                "no": False,
                "off": False,
            }
            if text.lower() not in words:
                raise ValueError(f"{self.name} must be true or false; received {text!r}")
            return words[text.lower()]
        if self.type is str:
            if text not in self.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}; received {text!r}")
            return text
        kind = "a whole number" if self.type is int else "a number"
        try:
            number = int(text) if self.type is int else float(text)
        except ValueError:
            raise ValueError(f"{self.name} must be {kind}; received {text!r}") from None
        assert self.range is not None  # register() gives every number knob a range
        if not (math.isfinite(number) and self.range.low <= number <= self.range.high):
            raise ValueError(
                f"{self.name} must be {kind} from {self.range.low:g} to {self.range.high:g}; received {text}"
            )
        return number


@functools.cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's arguments."""
    return frozenset(inspect.signature(function).parameters)


@dataclass(frozen=True)
class Method:
    """A registered function and its facts.

    Attributes:
        name: the function's name, as in PyTorch and the papers.
        axes: per layout of the input ("nc", "ntd", "nchw", "ncdhw") an einops pattern; the axes on its right
            keep a statistic of their own, all others share one. A key "nchw per_position" holds when
            the knob `per_position` is true. The left side is in the order that the function expects. None
            for a layout that the method takes without a partition into groups (windows, mixtures).
        level: for attribution, whether the map is read at a layer or at the input.
        unit: for attribution, the unit of the raw map.
        weights: for attribution, what multiplies the activations before they are added up over the channels,
            where that is how the map is made.
        factors: for attribution, the names of the methods whose maps are multiplied, where that is how it is made.
        needs: for attribution, what the network must have: ReLUs, or global average pooling before one linear layer.
        acts_on: for normalization, what goes in: activations (or data), weights, the training (gradients,
            losses), or a block of a network.
        center: for normalization, the statistic of a group that is subtracted, in a word.
        scale: for normalization, the statistic of a group that divides, in a word: std is sqrt(variance + eps), rms
            sqrt(mean square + eps), norm max(L2 norm, eps), power (mean |x|^p)^(1/p), largest max |x|.
        use: for normalization, when to use it, in a sentence.
        torch: for normalization, the same with PyTorch alone: an expression in the function's own arguments.
        trap: for normalization, what goes wrong with that in practice, in a sentence.
        batch_order: for normalization, where the batch is shuffled before it is cut into groups: the shuffled order
            (N,) of N examples under the method's settings.
    """

    name: str
    title: str
    kind: Kind
    function: Callable[..., Any]
    source: Source
    formula: str
    axes: Mapping[str, str | None]
    aliases: tuple[str, ...]
    level: Level | None
    unit: str
    weights: Callable[..., Any] | None
    factors: tuple[str, ...]
    needs: tuple[Need, ...]
    acts_on: ActsOn
    center: Center
    scale: Scale
    use: str
    torch: str
    trap: str
    batch_order: Callable[..., Any] | None
    summary: str
    knobs: tuple[Knob, ...]

    @property
    def family(self) -> str:
        """The module that holds the method: batch, layer, channel, ..."""
        return self.function.__module__.rpartition(".")[2]

    def settings(self, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Every knob's value: the given ones, parsed and checked, and the defaults of the others.

        Raises:
            ValueError: a name that is no knob of this method, or a value outside its range.
        """
        given = dict(given or {})
        names = [knob.name for knob in self.knobs]
        for name in given:
            if name not in names:
                offered = f"its knobs are {', '.join(names)}" if names else "it has no knobs"
                raise ValueError(f"{self.name} has no knob {name!r}; {offered}")
        return {knob.name: knob.parse(given.get(knob.name, knob.default)) for knob in self.knobs}

    def pattern(self, layout: str, settings: Mapping[str, Value] | None = None) -> str | None:
        """The einops pattern of the shared axes for this layout and these settings, or None."""
        values = {knob.name: knob.default for knob in self.knobs} | dict(settings or {})
        for key, pattern in self.axes.items():
            name, _, condition = key.partition(" ")
            if name == layout and condition and values[condition] is True:
                return pattern
        return self.axes.get(layout)

    def layouts(self) -> tuple[str, ...]:
        """The layouts of input that the method takes, in the order of their rank."""
        return tuple(dict.fromkeys(key.split(" ")[0] for key in self.axes))

    def takes(self, argument: str) -> bool:
        """Whether the function has an argument of this name (`weight`, `bias`, `running_mean`)."""
        return argument in _arguments(self.function)

    def idle(self, layout: str) -> set[str]:
        """The knobs that only say which axes are shared, and say nothing in this layout."""
        conditions = [key.partition(" ") for key in self.axes]
        return {knob for _, _, knob in conditions if knob} - {knob for name, _, knob in conditions if name == layout}

    @property
    def reads_layer(self) -> bool:
        """Whether the choice of a layer changes the map of an attribution."""
        return self.level == "layer" or any(get(name).reads_layer for name in self.factors)

    @property
    def slow(self) -> bool:
        """Whether it asks the network many times, and so can tell how far it is."""
        return self.takes("progress")

    @property
    def takes_activations(self) -> bool:
        """Whether it normalizes a tensor of activations or data, and so can be applied to any input of its layouts."""
        return self.kind == "normalization" and self.acts_on == "activations"

    def facts(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        params = [
            {"name": k.name, "type": k.type.__name__, "default": k.default, "help": k.help}
            | ({"low": k.range.low, "high": k.range.high, "symbol": k.range.symbol} if k.range else {})
            | ({"choices": list(k.choices)} if k.choices else {})
            for k in self.knobs
        ]
        return {
            "name": self.name, "title": self.title, "kind": self.kind, "summary": self.summary,
            "axes": dict(self.axes) or None, "formula": self.formula, "params": params,
            "aliases": list(self.aliases), "level": self.level, "unit": self.unit,
            "acts_on": self.acts_on, "family": self.family, "use": self.use, "torch": self.torch, "trap": self.trap,
            "source": self.source.text(), "url": self.source.url,
        }  # fmt: skip


_METHODS: dict[str, Method] = {}


def _argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's Args section says of each argument."""
    doc = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.M | re.S)
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section.group(1) if section else "", re.M | re.S)
    return {name: " ".join(text.split()) for name, text in entries}


def _knobs(function: Callable[..., Any]) -> tuple[Knob, ...]:
    """The knobs of a function: arguments that are bool, Literal, or a number annotated with a Range."""
    hints, help_texts, knobs = get_type_hints(function, include_extras=True), _argument_help(function), []
    for name, parameter in inspect.signature(function).parameters.items():
        hint, bounds, choices = hints.get(name), None, ()
        if get_origin(hint) is Annotated:
            hint, bounds = get_args(hint)
        if get_origin(hint) is Literal:
            hint, choices = str, get_args(hint)
        if hint is bool or choices or (hint in (int, float) and bounds):
            if name not in help_texts:
                raise TypeError(f"{function.__name__}: the docstring's Args section does not say what {name} is")
            knobs.append(Knob(name, hint, parameter.default, help_texts[name], bounds, choices))
    return tuple(knobs)


def register(
    *,
    title: str,
    kind: Kind,
    cite: str,
    formula: str,
    axes: Mapping[str, str | None] | None = None,
    aliases: Iterable[str] = (),
    level: Level | None = None,
    unit: str = "",
    weights: Callable[..., Any] | None = None,
    factors: Iterable[str] = (),
    needs: Iterable[Need] = (),
    acts_on: ActsOn = "activations",
    center: Center = "",
    scale: Scale = "",
    use: str = "",
    torch: str = "",
    trap: str = "",
    batch_order: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Record a function as a method under its own name, and return it untouched."""

    def record(function: F) -> F:
        name = function.__name__
        if name in _METHODS:
            raise TypeError(f"a method named {name} is registered already")
        summary = (inspect.getdoc(function) or "").split("\n")[0]
        _METHODS[name] = Method(
            name, title, kind, function, BIBLIOGRAPHY[cite], formula, dict(axes or {}), tuple(aliases), level, unit,
            weights, tuple(factors), tuple(needs), acts_on, center, scale, use, torch, trap, batch_order, summary,
            _knobs(function),
        )  # fmt: skip
        return function

    return record


def methods(kind: Kind | None = None) -> list[Method]:
    """All methods in the order of their registration, or those of one kind."""
    return [method for method in _METHODS.values() if kind in (None, method.kind)]


def get(name: str, kind: Kind | None = None) -> Method:
    """The method of this name or alias; case, spaces, hyphens and underscores do not matter.

    Raises:
        ValueError: no method has that name.
    """
    if name in _METHODS and kind in (None, _METHODS[name].kind):
        return _METHODS[name]

    def plain(text: str) -> str:
        return re.sub(r"[\s_\-]", "", text).lower().replace("++", "pp")

    for method in methods(kind):
        if plain(name) in map(plain, (method.name, method.title, *method.aliases)):
            return method
    what = f"{kind} method" if kind else "method"
    raise ValueError(f"there is no {what} {name!r}; choose one of {', '.join(m.name for m in methods(kind))}")
