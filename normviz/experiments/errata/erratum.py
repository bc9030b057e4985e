"""What an erratum is: a formula as it is often printed, the right one, and what both give on the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

EPS = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One number that says it all: what it is, as printed (or None) and right, and how many digits of it count."""

    label: str
    printed: float | None
    right: float
    digits: int = field(default=3, kw_only=True)


@dataclass(frozen=True)
class Outcome:
    """What both formulas give on the same numbers.

    Attributes:
        data: the numbers that both ran on, in words.
        quantity: what the values are, in words.
        printed: (n,) values of the printed formula; None where it gives none, and `refusal` says why.
        right: (n,) values of the right formula.
        facts: numbers that follow from the values, the most telling first.
        labels: n names of the values, for bars.
        at: n places of the values, for lines; without labels and places the values are many, for a histogram.
        axis: what the labels or places are.
        names: what the two sides are called.
        growing: whether the values grow by factors and want a logarithmic axis.
        refusal: why the printed formula gives nothing.
    """

    data: str
    quantity: str
    printed: Tensor | None
    right: Tensor
    facts: tuple[Comparison, ...]
    labels: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    axis: str = ""
    names: tuple[str, str] = ("as printed", "right")
    growing: bool = False
    refusal: str = ""

    @property
    def residual(self) -> float:
        """The largest difference between a printed and a right value; all of the right one where none is printed."""
        printed = torch.zeros_like(self.right) if self.printed is None else self.printed  # (n,)
        return float((printed - self.right).abs().max())


Run = Callable[[], Outcome]


@dataclass(frozen=True)
class Erratum:
    r"""A formula that is often printed wrong.

    In the formulas `\wrong{...}` marks the mistake and `\good{...}` what belongs there.

    Attributes:
        name: names it in a link.
        title: a short line.
        claim: the sentence that is often printed, where the mistake is one of words.
        printed: the formula that is printed or that the sentence amounts to, in LaTeX.
        right: the right formula, in LaTeX.
        why: what is wrong with it and what it does, in one paragraph.
        methods: the registered methods that it belongs to.
        run: computes both on the same seeded numbers.
    """

    name: str
    title: str
    claim: str
    printed: str
    right: str
    why: str
    methods: tuple[str, ...]
    run: Run


ERRATA: dict[str, Erratum] = {}


def erratum(
    name: str, *, title: str, printed: str, right: str, why: str, methods: tuple[str, ...], claim: str = ""
) -> Callable[[Run], Run]:
    """Record a function that runs both formulas as an erratum, and return it untouched."""

    def record(run: Run) -> Run:
        ERRATA[name] = Erratum(name, title, claim, printed, right, why, methods, run)
        return run

    return record


def seeded_normal(*shape: int, seed: int = 0, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal numbers of that shape, in float64; the same seed gives the same numbers on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(*shape, generator=generator, dtype=torch.float64)  # shape


def std(values: Tensor) -> float:
    """The standard deviation (biased) of all values."""
    return float(values.std(correction=0))
