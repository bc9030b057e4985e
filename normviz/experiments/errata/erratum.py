"""Errata: a formula that is often printed wrong, the right formula, and the results of both on the same data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

EPS = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One number by the printed formula (or None) and by the right one, with its label and significant digits."""

    label: str
    printed: float | None
    right: float
    digits: int = field(default=3, kw_only=True)


@dataclass(frozen=True)
class Outcome:
    """Results of both formulas on the same data.

    Attributes:
        data: short description of the data.
        quantity: name of the values, for the axis.
        printed: (n,) values of the printed formula; None if it fails, see `refusal`.
        right: (n,) values of the right formula.
        facts: comparisons of single numbers, the most important first.
        labels: n names of the values, for a bar chart.
        at: n x coordinates of the values, for lines; without `labels` and `at`, a histogram is drawn.
        axis: title of the x axis.
        names: names of the two sides in the legend.
        growing: whether the values need a logarithmic axis.
        refusal: why the printed formula gives no result.
    """

    data: str
    quantity: str
    printed: Tensor | None
    right: Tensor
    facts: tuple[Comparison, ...]
    labels: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    axis: str = ""
    names: tuple[str, str] = ("as printed", "correct")
    growing: bool = False
    refusal: str = ""

    @property
    def residual(self) -> float:
        """Largest absolute difference between both formulas; a missing printed value counts as 0."""
        printed = torch.zeros_like(self.right) if self.printed is None else self.printed  # (n,)
        return float((printed - self.right).abs().max())


Run = Callable[[], Outcome]


@dataclass(frozen=True)
class Erratum:
    r"""A formula that is often printed wrong.

    In the formulas `\wrong{...}` marks the mistake and `\good{...}` the correction.

    Attributes:
        name: identifier used in links.
        title: short title.
        claim: the wrong statement, if the mistake is in words.
        printed: the formula as printed, or the claim as a formula, in LaTeX.
        right: the right formula, in LaTeX.
        why: what is wrong and what effect it has, in one paragraph.
        methods: names of the registered methods it concerns.
        run: computes both on the same seeded data.
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
    """Register the decorated function, which runs both formulas, as an erratum."""

    def record(run: Run) -> Run:
        ERRATA[name] = Erratum(name, title, claim, printed, right, why, methods, run)
        return run

    return record


def seeded_normal(*shape: int, seed: int = 0, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw normal numbers in float64 from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(*shape, generator=generator, dtype=torch.float64)  # shape


def std(values: Tensor) -> float:
    """Compute the biased standard deviation of all values."""
    return float(values.std(correction=0))
