"""What an experiment returns: matrices, curves and bar charts as numbers, and facts measured beside expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]
Kind = Literal["measured", "expected", "compared"]


@dataclass(frozen=True)
class Matrix:
    """A matrix of numbers; all matrices of a demonstration are meant to be seen on one color scale.

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
class BarChart:
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


Picture = Matrix | Curves | BarChart


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


def array(values: Tensor | list[float]) -> Numbers:
    """Numbers for a picture: a float64 array of its own."""
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().clone().numpy()
