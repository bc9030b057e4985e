"""Normalizations composed from choices: shared axes, center, power, and live or running statistics.

`compose` computes a `Choice`, `code` writes it as plain PyTorch and `formula` as LaTeX.
`normviz.normalization.analysis.identify` finds the registered methods that are equal to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from normviz.activations import LAYOUTS, Layout, channel_axis
from normviz.normalization.checks import check_input
from normviz.normalization.patterns import split
from normviz.registry import Knob, Normalization, Range

MOMENTUM = 0.1  # weight of a new batch in a running average, as in PyTorch
STEPS = 10  # training steps on the batch before its running averages are used
POWERS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True)
class Choice:
    """The parameters of y = (x - center) / (mean |x - center|^p + eps)^(1/p), with means over the shared axes.

    Attributes:
        layout: "nc", "ntd", "nchw" or "ncdhw".
        axes: the letters of the axes that share statistics, in the order of the layout.
        groups: the number of groups of channels with separate statistics; 1 unless channels are shared.
        centered: whether the mean is subtracted.
        power: the exponent p; 2 gives the standard deviation, or the root mean square without a center.
        running: whether running averages over earlier batches replace the statistics, as at inference.
        eps: added under the root; above 0.

    Raises:
        ValueError: axes that are not in the layout, groups without shared channels, or a number out of range.
    """

    layout: Layout
    axes: str
    groups: int = 1
    centered: bool = True
    power: float = 2.0
    running: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"the layout must be one of {', '.join(LAYOUTS)}; received {self.layout!r}")
        if self.axes != "".join(letter for letter in self.layout if letter in self.axes):
            raise ValueError(f"the shared axes must be letters of {self.layout} in its order; received {self.axes!r}")
        if self.groups < 1 or (self.groups > 1 and self.channel not in self.axes):
            raise ValueError(
                f"groups must be at least 1, and 1 unless axis {self.channel.upper()} is shared; "
                f"received {self.groups} groups and the shared axes {self.axes.upper() or 'none'}"
            )
        if not (0 < self.power < math.inf and 0 < self.eps < math.inf):
            raise ValueError(f"the power and eps must be above 0; received {self.power:g} and {self.eps:g}")
        if self.running and not self.axes:
            raise ValueError("a running average needs at least one shared axis: choose one, or use live statistics")

    @property
    def channel(self) -> str:
        """The letter of the channel or feature axis."""
        return self.layout[channel_axis(self.layout)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes after the channels are split into groups: ("n", "g", "c", "h", "w")."""
        letters = self.layout.replace(self.channel, f"g{self.channel}") if self.groups > 1 else self.layout
        return tuple(letters)

    @property
    def dims(self) -> tuple[int, ...]:
        """The indices of the shared axes in `names`."""
        return tuple(index for index, name in enumerate(self.names) if name in self.axes)

    @property
    def kept(self) -> str:
        """The letters of the axes with separate statistics."""
        return "".join(name for name in self.names if name not in self.axes)

    @property
    def pattern(self) -> str:
        """The einops pattern of the groups; see `normviz.normalization.patterns`."""
        left = [f"(g {name})" if self.groups > 1 and name == self.channel else name for name in self.layout]
        return f"{' '.join(left)} -> {' '.join(self.kept)}".strip()

    @property
    def stored(self) -> Choice:
        """The choice with the groups of the running statistics, which are always shared over the batch.

        If the batch is not shared, the statistics of its samples are averaged, as in nn.InstanceNorm2d.
        """
        return replace(self, axes="".join(letter for letter in self.layout if letter in "n" + self.axes))

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the split axes of the pattern."""
        return {"g": self.groups} if self.groups > 1 else {}


def compose(x: Tensor, choice: Choice, steps: int = STEPS) -> Tensor:
    """Apply a composed normalization.

    Args:
        x: the activations, in the layout of the choice; not modified.
        choice: the normalization.
        steps: for running averages, the number of previous training steps on `x`; they are initially 0 and 1.

    Returns:
        The normalized activations, shape and dtype of `x`.

    Raises:
        ValueError: a shape that does not match the choice, or a running variance of single values.
    """
    check_input("a composed norm", x)
    split(choice.pattern, x.shape, choice.layout, choice.sizes)  # raises for a shape that does not match
    channel = channel_axis(choice.layout)
    grouped = (*x.shape[:channel], choice.groups, -1, *x.shape[channel + 1 :])  # (N, G, C/G, ...)
    values = x.reshape(grouped) if choice.groups > 1 else x  # one axis per name of the choice
    center = (
        _mean(values, choice.dims) if choice.centered else values.new_zeros([1] * values.ndim)
    )  # size 1 where shared
    spread = _mean(_power(values - center, choice.power), choice.dims)  # size 1 where shared
    if choice.running:
        keep = (1 - MOMENTUM) ** steps  # repeated steps on one batch equal a single larger step
        center = (1 - keep) * _mean(center, (0,))  # size 1 where shared, and on axis N
        spread = keep + (1 - keep) * _mean(spread * _correction(choice, values), (0,))  # the same
    return ((values - center) / (spread + choice.eps) ** (1 / choice.power)).reshape(x.shape)  # shape of x


def _mean(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The mean over some axes, which are kept with size 1; over no axes, the values."""
    return values.mean(dims, keepdim=True) if dims else values


def _power(values: Tensor, power: float) -> Tensor:
    return values.square() if power == 2 else values.abs() ** power


def _correction(choice: Choice, values: Tensor) -> float:
    """The factor m / (m - 1) of an unbiased variance, as PyTorch stores it; 1 for other statistics."""
    if not (choice.centered and choice.power == 2):
        return 1.0
    together = math.prod(values.shape[axis] for axis in choice.dims)
    if together == 1:
        raise ValueError(
            f"a running variance needs more than one value per statistic; shape {tuple(values.shape)} has one: "
            "share another axis, or use live statistics"
        )
    return together / (together - 1)


def as_method(choice: Choice) -> Normalization:
    """The choice as a `Normalization`, for functions that take one; it is not registered and has no source."""

    def composed(x: Tensor, groups: int) -> Tensor:
        return compose(x, replace(choice, groups=groups))

    knob = Knob("groups", int, choice.groups, "the number of groups of channels", Range(1, choice.groups, "G"))
    grouped = choice.stored if choice.running else choice
    return Normalization(
        name="compose",
        title="Your own",
        function=composed,
        knobs=(knob,),
        axes={choice.layout: grouped.pattern},
        center="mean" if choice.centered else "",
    )


def code(choice: Choice) -> str:
    """Write the choice as a function `normalize(x)` in plain PyTorch.

    With running averages, a second function, `update(x)`, updates them with a training batch.
    """
    channel, whole = channel_axis(choice.layout), ", ".join(choice.layout.upper())
    split_channels = f".unflatten({channel}, ({choice.groups}, -1))" if choice.groups > 1 else ""
    join = f".flatten({channel}, {channel + 1})" if choice.groups > 1 else ""
    start = [f"    x = x{split_channels}  # ({_sizes(choice)})"] if split_channels else []
    if not choice.running:
        end = f"    return {_result(choice, 'x', join)}  # ({whole})"
        return "\n".join([f"def normalize(x):  # ({whole})", *start, *_statements(choice), end])
    averages = ["mean", _statistic_name(choice)] if choice.centered else [_statistic_name(choice)]
    mean = "" if "n" in choice.axes else ".mean(0, keepdim=True)"  # over the samples
    lines = [
        f"{', '.join(averages)} = {'0.0, 1.0' if choice.centered else '1.0'}  # initial running averages\n",
        "def update(x):  # a training batch",
        f"    global {', '.join(averages)}",
        *start,
        *_statements(choice, "new_"),
        *(f"    {name} = {1 - MOMENTUM:g} * {name} + {MOMENTUM:g} * new_{name}{mean}" for name in averages),
        f"\ndef normalize(x):  # ({whole})",
        f"    return {_result(choice, f'x{split_channels}', join)}  # ({whole})",
    ]
    return "\n".join(lines)


def _statistic_name(choice: Choice) -> str:
    """The name of the statistic in the divisor."""
    if choice.power != 2:
        return "power"
    return "var" if choice.centered else "square"


def _sizes(choice: Choice, *shared: str) -> str:
    """The shape after splitting into groups, as in "N, G, C/G, H, W"; `shared` axes have size 1."""
    sizes = {"g": str(choice.groups)}
    if choice.groups > 1:
        sizes[choice.channel] = f"{choice.channel.upper()}/{choice.groups}"
    return ", ".join("1" if name in shared else sizes.get(name, name.upper()) for name in choice.names)


def _statements(choice: Choice, prefix: str = "") -> list[str]:
    """The lines that compute the statistics of `x`."""
    mean = f".mean({choice.dims}, keepdim=True)" if choice.axes else ""
    shape, spread = _sizes(choice, *choice.axes), f"{prefix}{_statistic_name(choice)}"
    difference = f"(x - {prefix}mean)" if choice.centered else "x"
    power = {1.0: ".abs()", 2.0: ".square()"}.get(choice.power, f".abs().pow({choice.power:g})")
    lines = [f"    {prefix}mean = x{mean}  # ({shape})"] if choice.centered else []
    if choice.running and choice.centered and choice.power == 2:  # PyTorch stores the unbiased variance
        return [*lines, f"    {spread} = x.var({choice.dims}, correction=1, keepdim=True)  # ({shape})"]
    return [*lines, f"    {spread} = {difference}{power}{mean}  # ({shape})"]


def _result(choice: Choice, x: str, join: str) -> str:
    """The expression of the normalized activations."""
    exponent = "0.5" if choice.power == 2 else f"(1 / {choice.power:g})"
    eps = f"{choice.eps:g}".replace("e-0", "e-")
    quotient = f"{f'({x} - mean)' if choice.centered else x} / ({_statistic_name(choice)} + {eps}) ** {exponent}"
    return f"({quotient}){join}" if join else quotient


def formula(choice: Choice, shape: Sequence[int]) -> str:
    """Write the choice as LaTeX, with the number m of values in a group of an input of this shape.

    Raises:
        ValueError: the shape does not match the choice.
    """
    sizes = {k: v for axis in split(choice.pattern, shape, choice.layout, choice.sizes) for k, v in axis.items()}
    x, kept, stored = f"x_{{{choice.layout}}}", _index(choice.kept), _index(choice.stored.kept)
    letter = r"\sigma^2" if choice.centered and choice.power == 2 else "s"
    over = r",\,".join(rf"{k} \in g" if k == choice.channel and choice.groups > 1 else k for k in choice.axes)
    mean = rf"\frac{{1}}{{m}} \sum_{{{over}}} " if choice.axes else ""
    difference, center = (rf"{x} - \mu{kept}", rf"\mu{kept}") if choice.centered else (x, "")
    if choice.power == 2:
        power = rf"\left({difference}\right)^2" if choice.centered else rf"{x}^2"
    else:
        power = rf"\left|{difference}\right|^{{{choice.power:g}}}"
    lines = [rf"{center} &= {mean}{x}"] if choice.centered else []
    lines += [rf"{letter}{kept} &= {mean}{power}"]
    spread = f"{letter}{kept}"
    if choice.running:
        averaged = "" if "n" in choice.axes else r"\tfrac{1}{N} \sum_n "
        unbiased = r"\tfrac{m}{m-1}\," if choice.centered and choice.power == 2 else ""
        keep, new = f"{1 - MOMENTUM:g}", f"{MOMENTUM:g}"
        for symbol, scaled in [*([(r"\mu", "")] if choice.centered else []), (letter, unbiased)]:
            bar = rf"\overline{{{symbol}}}{stored}"
            lines += [rf"{bar} &\leftarrow {keep}\,{bar} + {new}\,{averaged}{scaled}{symbol}{kept}"]
        difference, spread = difference.replace(rf"\mu{kept}", rf"\overline{{\mu}}{stored}"), bar
    root = rf"\sqrt{{{spread} + \epsilon}}"
    if choice.power != 2:
        root = rf"\left({spread} + \epsilon\right)^{{1/{choice.power:g}}}"
    lines += [rf"y_{{{choice.layout}}} &= \frac{{{difference}}}{{{root}}}"]
    product = r" \cdot ".join(str(sizes[k]) for k in choice.axes)
    m = f"{math.prod(sizes[k] for k in choice.axes):,}".replace(",", "{,}")
    lines += [rf"m &= {f'{product} = ' if len(choice.axes) > 1 else ''}{m}"]
    return r"\begin{aligned} " + r" \\[2pt] ".join(lines) + r" \end{aligned}"


def _index(letters: str) -> str:
    """A LaTeX subscript; empty without letters."""
    return f"_{{{letters}}}" if letters else ""
