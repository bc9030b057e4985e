"""What a demonstration is: a small seeded run of a method, its pictures as numbers, and its facts beside the theory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from normviz.experiments.results import Fact, Numbers, Picture
from normviz.registry import Knob, Normalization, Value, get


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
    def method(self) -> Normalization:
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


EXPERIMENTS: dict[str, Experiment] = {}


def demonstrates(name: str, *own: Knob) -> Callable[[Callable[..., Demonstration]], Callable[..., Demonstration]]:
    """Record a function as the demonstration of the method of this name, and return it untouched."""

    def record(run: Callable[..., Demonstration]) -> Callable[..., Demonstration]:
        EXPERIMENTS[name] = Experiment(name, run, own)
        return run

    return record


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(*shape, generator=generator, dtype=dtype)  # shape


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
