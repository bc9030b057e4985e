"""What a demonstration is: a small seeded run of a method, its pictures as numbers, and its facts beside the theory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normviz.registry import Knob, Method, Value, get

Numbers = NDArray[np.float64]
Kind = Literal["measured", "expected", "compared"]


@dataclass(frozen=True)
class Matrix:
    """A matrix of numbers; all matrices of a demonstration are meant to be seen on one colour scale.

    Attributes:
        title: a short line.
        values: (rows, columns).
        axes: what the rows and the columns are.
        role: which side of the method it stands on.
        caption: what to see in it.
        padding: (rows, columns) true where there is no number but padding.
    """

    title: str
    values: Numbers
    axes: tuple[str, str]
    role: Literal["before", "after"]
    caption: str = ""
    padding: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Curve:
    """One curve: (P,) places, (P,) values; what theory expects of it, or something to compare it with."""

    name: str
    x: Numbers
    y: Numbers
    kind: Kind = "measured"


@dataclass(frozen=True)
class Curves:
    """Curves on common axes; `step` says that they are histograms, `zero` that their axis starts at 0."""

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    caption: str = ""
    log_x: bool = False
    log_y: bool = False
    step: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Heights:
    """Groups of bars by name, each (P,) heights at the same places, and a line (P,): what theory expects there."""

    title: str
    x_title: str
    y_title: str
    places: tuple[str, ...]
    groups: Mapping[str, Numbers]
    expected: Numbers | None = None
    caption: str = ""
    log_y: bool = False
    line: str = "expected"


Picture = Matrix | Curves | Heights


@dataclass(frozen=True)
class Fact:
    """A number that was measured, and what theory says of it.

    Attributes:
        label: what it is, with the unit.
        measured: computed in this very run.
        expected: computed from theory, or None where it says nothing.
        within: how far both may be apart, for a reason that the label or the run gives (chance, few steps).
    """

    label: str
    measured: float
    expected: float | None = None
    within: float = 1e-6

    @property
    def agrees(self) -> bool:
        """Whether the measured number is the expected one within its tolerance; true where none is expected."""
        return self.expected is None or abs(self.measured - self.expected) <= self.within


@dataclass(frozen=True)
class Demonstration:
    """One run: a sentence that says what is seen, the pictures in reading order, and the facts."""

    title: str
    pictures: tuple[Picture, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Experiment:
    """How a method is demonstrated: a function of a seeded generator and of the method's knobs and its own.

    Attributes:
        name: the method's.
        run: the function.
        own: knobs of the demonstration that the method does not have (how deep a stack is, say).
    """

    name: str
    run: Callable[..., Demonstration]
    own: tuple[Knob, ...]

    @property
    def method(self) -> Method:
        """The registered method, with the demonstration's own knobs behind its own."""
        registered = get(self.name, "normalization")
        return replace(registered, knobs=(*registered.knobs, *self.own))

    def demonstrate(self, settings: Mapping[str, Value] | None = None, seed: int = 0) -> Demonstration:
        """Run it; the same settings and the same seed give the same numbers.

        Args:
            settings: values of the knobs; the others have their defaults.
            seed: of everything that is drawn at random.

        Raises:
            ValueError: a knob that is not there, a value outside its range, or what the method refuses.
        """
        return self.run(torch.Generator().manual_seed(seed), **self.method.settings(settings))


_EXPERIMENTS: dict[str, Experiment] = {}


def demonstrates(name: str, *own: Knob) -> Callable[[Callable[..., Demonstration]], Callable[..., Demonstration]]:
    """Record a function as the demonstration of the method of this name, and return it untouched."""

    def record(run: Callable[..., Demonstration]) -> Callable[..., Demonstration]:
        _EXPERIMENTS[name] = Experiment(name, run, own)
        return run

    return record


def experiments() -> Mapping[str, Experiment]:
    """Every demonstration, by its method's name."""
    from normviz.experiments import blocks, recurrence, stacks, training, weights  # noqa: F401 (they record theirs)

    return _EXPERIMENTS


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(*shape, generator=generator, dtype=dtype)  # shape


def array(values: Tensor | list[float]) -> Numbers:
    """Numbers for a picture: a float64 array of its own."""
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().clone().numpy()


def steps(number: int, start: int = 0) -> Numbers:
    """The places start, start + 1, ... of so many values."""
    return np.arange(start, start + number, dtype=np.float64)


def largest(values: Tensor) -> float:
    """The largest absolute value."""
    return float(values.detach().abs().max())


def rms(values: Tensor) -> float:
    """The root of the mean square of all values."""
    return float(values.detach().square().mean().sqrt())


def grads(loss: Tensor, inputs: Tensor | list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of a scalar, without a trace on the tensors themselves."""
    slopes: tuple[Tensor, ...] = torch.autograd.grad(loss, inputs)
    return slopes
