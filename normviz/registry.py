"""Normalization and attribution methods as facts about functions, and the decorators that record them.

The knobs of a method are declared once, in the signature of its function: name, type, default, range and
symbol. Sliders, command-line options, link parameters, tests and the generated documentation read them here.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

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
    """The closed range of a numeric knob.

    Attributes:
        low: the smallest value.
        high: the largest value.
        symbol: the knob's symbol in the formula (LaTeX).
        log: whether a slider moves on a logarithmic scale.
        odd: whether only odd numbers are valid, as for a window with a middle.
    """

    low: float
    high: float
    symbol: str
    log: bool = False
    odd: bool = False


@dataclass(frozen=True)
class Knob:
    """One argument that a user can set.

    Attributes:
        name: the name of the argument.
        type: bool, int, float or str.
        default: its default value.
        help: its description in the function's docstring.
        range: the range of a number; None for the other types.
        choices: the valid values of a str.
    """

    name: str
    type: type
    default: Value
    help: str
    range: Range | None = None
    choices: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """The symbol in the formula, or the name of a knob without one."""
        return self.range.symbol if self.range else self.name

    def parse(self, value: Value) -> Value:
        """Convert a value or its text to the type of the knob.

        Raises:
            ValueError: the value has another type, or is out of range.
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
        assert self.range is not None  # every number has one: see _knobs
        if not (math.isfinite(number) and self.range.low <= number <= self.range.high):
            raise ValueError(
                f"{self.name} must be {kind} from {self.range.low:g} to {self.range.high:g}; received {text}"
            )
        return number


@functools.cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's arguments."""
    return frozenset(inspect.signature(function).parameters)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A function and the facts that every kind of method has.

    Attributes:
        name: the name of the function, as in PyTorch and the papers.
        title: the name on pages.
        function: the implementation.
        knobs: the arguments that a user can set.
        summary: the first sentence of the docstring.
        formula: what the function computes, in LaTeX.
        aliases: other names, which `get` accepts.
        source: the publication; None for a method that is not registered.
    """

    kind: ClassVar[Kind]

    name: str
    title: str
    function: Callable[..., Any]
    knobs: tuple[Knob, ...]
    summary: str = ""
    formula: str = ""
    aliases: tuple[str, ...] = ()
    source: Source | None = None

    @property
    def family(self) -> str:
        """The module that defines the method: batch, layer, channel, ..."""
        return self.function.__module__.rpartition(".")[2]

    @property
    def url(self) -> str:
        """The address of the source, or an empty string."""
        return self.source.url if self.source else ""

    @property
    def citation(self) -> str:
        """The source as a Markdown link, or an empty string."""
        return f"[{self.source.text()}]({self.source.url})" if self.source else ""

    def settings(self, values: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """The value of every knob: the given values, parsed and checked, and defaults for the others.

        Raises:
            ValueError: an unknown knob, or a value out of range.
        """
        values = dict(values or {})
        names = [knob.name for knob in self.knobs]
        for name in values:
            if name not in names:
                available = f"its knobs are {', '.join(names)}" if names else "it has no knobs"
                raise ValueError(f"{self.name} has no knob {name!r}; {available}")
        return {knob.name: knob.parse(values.get(knob.name, knob.default)) for knob in self.knobs}

    def takes(self, argument: str) -> bool:
        """Whether the function has an argument of this name (`weight`, `bias`, `running_mean`)."""
        return argument in _arguments(self.function)

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values."""
        params = [
            {"name": k.name, "type": k.type.__name__, "default": k.default, "help": k.help}
            | ({"low": k.range.low, "high": k.range.high, "symbol": k.range.symbol} if k.range else {})
            | ({"choices": list(k.choices)} if k.choices else {})
            for k in self.knobs
        ]
        return {
            "name": self.name, "title": self.title, "kind": self.kind, "family": self.family,
            "summary": self.summary, "formula": self.formula, "params": params, "aliases": list(self.aliases),
            "source": self.source.text() if self.source else "", "url": self.url,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Normalization(Method):
    """A normalization of activations, weights, gradients, or a block of a network.

    Attributes:
        axes: for each layout of the input ("nc", "ntd", "nchw", "ncdhw") an einops pattern. Axes on its right keep
            separate statistics; all other axes share one. A key such as "nchw per_position" applies when the knob
            `per_position` is true. The left side has the axis order that the function expects. None for a layout
            in which values do not form groups (windows, mixtures). Empty if the input is not activations.
        acts_on: the input of the function.
        center: the statistic of a group that is subtracted.
        scale: the statistic of a group that divides: std is sqrt(variance + eps), rms is sqrt(mean square + eps), norm
            is max(L2 norm, eps), power is (mean |x|^p)^(1/p), largest is max |x|.
        use: when to use the method, in one sentence.
        torch: the same computation in plain PyTorch: an expression in the arguments of the function.
        common_mistake: what often goes wrong in practice, in one sentence.
        batch_order: returns the shuffled order (N,) of N samples under the given settings, for a method that
            shuffles the batch before it splits it into groups.
    """

    kind = "normalization"

    axes: Mapping[str, str | None]
    acts_on: ActsOn = "activations"
    center: Center = ""
    scale: Scale = ""
    use: str = ""
    torch: str = ""
    common_mistake: str = ""
    batch_order: Callable[..., Any] | None = None

    @property
    def takes_activations(self) -> bool:
        """Whether the input is a tensor of activations or data, in one of the method's layouts."""
        return self.acts_on == "activations"

    def layouts(self) -> tuple[str, ...]:
        """The layouts of input that the function accepts, sorted by rank."""
        return tuple(dict.fromkeys(key.split(" ")[0] for key in self.axes))

    def patterns(self, layout: str) -> dict[str, str | None]:
        """The patterns for a layout, by the name of the knob that selects each ("" for the default)."""
        parts = ((key.partition(" "), pattern) for key, pattern in self.axes.items())
        return {knob: pattern for (name, _, knob), pattern in parts if name == layout}

    def pattern(self, layout: str, settings: Mapping[str, Value] | None = None) -> str | None:
        """The pattern for a layout under these settings, or None without groups."""
        values = {knob.name: knob.default for knob in self.knobs} | dict(settings or {})
        patterns = self.patterns(layout)
        selected = next((knob for knob in patterns if knob and values[knob] is True), "")
        return patterns.get(selected)

    def idle(self, layout: str) -> set[str]:
        """The knobs that select a pattern in other layouts, but not in this one."""
        selectors = {key.partition(" ")[2] for key in self.axes} - {""}
        return selectors - set(self.patterns(layout))

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return super().facts() | {
            "axes": dict(self.axes) or None, "acts_on": self.acts_on, "center": self.center, "scale": self.scale,
            "use": self.use, "torch": self.torch, "common_mistake": self.common_mistake,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Attribution(Method):
    """A method that computes a map of what the network's output depends on.

    Attributes:
        level: whether the map has the cells of a layer or the pixels of the input.
        unit: the unit of the raw map.
        weights: the function that computes the factors of the activations, for a map that is a weighted sum of
            channels.
        factors: the names of the methods that are multiplied, for a map that is a product.
        needs: what the network must have: ReLUs, or global average pooling before a single linear layer.
    """

    kind = "attribution"

    level: Level
    unit: str
    weights: Callable[..., Any] | None = None
    factors: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()

    @property
    def reads_layer(self) -> bool:
        """Whether the map depends on the chosen layer."""
        return self.level == "layer" or any(get(name, "attribution").reads_layer for name in self.factors)

    @property
    def has_optional_relu(self) -> bool:
        """Whether the final ReLU is a knob, so that the map can show evidence against the target."""
        return self.takes("relu")

    @property
    def slow(self) -> bool:
        """Whether the method runs the network many times and therefore reports its progress."""
        return self.takes("progress")

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return super().facts() | {
            "level": self.level, "unit": self.unit, "factors": list(self.factors), "needs": list(self.needs),
        }  # fmt: skip


_METHODS: dict[str, Normalization | Attribution] = {}


def _argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """The descriptions in the Args section of the docstring."""
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
                raise TypeError(f"{function.__name__}: the docstring's Args section does not describe {name}")
            knobs.append(Knob(name, hint, parameter.default, help_texts[name], bounds, choices))
    return tuple(knobs)


def _record(method: Normalization | Attribution) -> None:
    """Add a method to the registry.

    Raises:
        TypeError: the name is taken.
    """
    if method.name in _METHODS:
        raise TypeError(f"a method named {method.name} is already registered")
    _METHODS[method.name] = method


def _summary(function: Callable[..., Any]) -> str:
    """The first line of the docstring."""
    return (inspect.getdoc(function) or "").split("\n")[0]


def normalization(
    *,
    title: str,
    cite: str,
    formula: str,
    axes: Mapping[str, str | None] | None = None,
    aliases: Iterable[str] = (),
    acts_on: ActsOn = "activations",
    center: Center = "",
    scale: Scale = "",
    use: str = "",
    torch: str = "",
    common_mistake: str = "",
    batch_order: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Register a function as a `Normalization` under its own name; the function is returned unchanged.

    `cite` is a key of `normviz.bibliography`; see `Method` and `Normalization` for the other facts.
    """

    def register(function: F) -> F:
        _record(
            Normalization(
                name=function.__name__, title=title, function=function, knobs=_knobs(function),
                summary=_summary(function), formula=formula, aliases=tuple(aliases), source=BIBLIOGRAPHY[cite],
                axes=dict(axes or {}), acts_on=acts_on, center=center, scale=scale, use=use, torch=torch,
                common_mistake=common_mistake, batch_order=batch_order,
            )
        )  # fmt: skip
        return function

    return register


def attribution(
    *,
    title: str,
    cite: str,
    formula: str,
    level: Level,
    unit: str,
    aliases: Iterable[str] = (),
    weights: Callable[..., Any] | None = None,
    factors: Iterable[str] = (),
    needs: Iterable[Need] = (),
) -> Callable[[F], F]:
    """Register a function as an `Attribution` under its own name; the function is returned unchanged.

    `cite` is a key of `normviz.bibliography`; see `Method` and `Attribution` for the other facts.
    """

    def register(function: F) -> F:
        _record(
            Attribution(
                name=function.__name__, title=title, function=function, knobs=_knobs(function),
                summary=_summary(function), formula=formula, aliases=tuple(aliases), source=BIBLIOGRAPHY[cite],
                level=level, unit=unit, weights=weights, factors=tuple(factors), needs=tuple(needs),
            )
        )  # fmt: skip
        return function

    return register


@overload
def methods(kind: Literal["normalization"]) -> list[Normalization]: ...
@overload
def methods(kind: Literal["attribution"]) -> list[Attribution]: ...
@overload
def methods(kind: Kind | None = None) -> list[Normalization | Attribution]: ...
def methods(kind: Kind | None = None) -> Sequence[Method]:
    """The methods of one kind, or all methods, in the order of registration."""
    return [method for method in _METHODS.values() if kind in (None, method.kind)]


@overload
def get(name: str, kind: Literal["normalization"]) -> Normalization: ...
@overload
def get(name: str, kind: Literal["attribution"]) -> Attribution: ...
@overload
def get(name: str, kind: Kind | None = None) -> Normalization | Attribution: ...
def get(name: str, kind: Kind | None = None) -> Method:
    """The method with this name or alias; case, spaces, hyphens and underscores are ignored.

    Raises:
        ValueError: there is no method of that name.
    """
    if name in _METHODS and kind in (None, _METHODS[name].kind):
        return _METHODS[name]

    def normalized(text: str) -> str:
        return re.sub(r"[\s_\-]", "", text).lower().replace("++", "pp")

    for method in methods(kind):
        if normalized(name) in map(normalized, (method.name, method.title, *method.aliases)):
            return method
    what = f"{kind} method" if kind else "method"
    raise ValueError(f"there is no {what} {name!r}; choose one of {', '.join(m.name for m in methods(kind))}")
