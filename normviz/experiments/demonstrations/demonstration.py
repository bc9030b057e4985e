"""Registry of demonstrations: small seeded runs of methods that return charts and facts."""

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
    """Result of one run: a one-sentence summary, the charts in order, and the facts."""

    title: str
    pictures: tuple[Picture, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Experiment:
    """The demonstration of a method: a function of a seeded generator and of all knobs.

    Attributes:
        name: name of the method.
        run: the function.
        own: additional knobs of the demonstration, for example the depth of a stack.
    """

    name: str
    run: Callable[..., Demonstration]
    own: tuple[Knob, ...]

    @property
    def method(self) -> Normalization:
        """The registered method, with the additional knobs appended to its own."""
        registered = get(self.name, "normalization")
        return replace(registered, knobs=(*registered.knobs, *self.own))

    def demonstrate(self, settings: Mapping[str, Value] | None = None, seed: int = 0) -> Demonstration:
        """Run the demonstration; the same settings and seed give the same numbers.

        Args:
            settings: values of knobs; missing knobs have their defaults.
            seed: seed of all random numbers.

        Raises:
            ValueError: if a knob is unknown, a value is out of range, or the method rejects the input.
        """
        return self.run(torch.Generator().manual_seed(seed), **self.method.settings(settings))


EXPERIMENTS: dict[str, Experiment] = {}


def demonstrates(name: str, *own: Knob) -> Callable[[Callable[..., Demonstration]], Callable[..., Demonstration]]:
    """Register the decorated function as the demonstration of the named method."""

    def record(run: Callable[..., Demonstration]) -> Callable[..., Demonstration]:
        EXPERIMENTS[name] = Experiment(name, run, own)
        return run

    return record


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw standard normal numbers of this shape."""
    return torch.randn(*shape, generator=generator, dtype=dtype)  # shape


def steps(number: int, start: int = 0) -> Numbers:
    """Return the x coordinates start, start + 1, ... of `number` values."""
    return np.arange(start, start + number, dtype=np.float64)


def largest(values: Tensor) -> float:
    """Compute the largest absolute value."""
    return float(values.detach().abs().max())


def rms(values: Tensor) -> float:
    """Compute the root mean square of all values."""
    return float(values.detach().square().mean().sqrt())


def grads(loss: Tensor, inputs: Tensor | list[Tensor]) -> tuple[Tensor, ...]:
    """Compute the gradients of a scalar without writing to `.grad`."""
    slopes: tuple[Tensor, ...] = torch.autograd.grad(loss, inputs)
    return slopes
