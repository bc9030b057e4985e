"""Results of experiments: matrices, curves and bar charts as numbers, and facts with measured and expected values."""

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
    """A matrix of numbers; all matrices of one demonstration share a color scale.

    Attributes:
        title: short title.
        values: (rows, columns).
        axes: names of the rows and the columns.
        role: whether it shows the data before or after the method.
        caption: remark below the matrix.
        padding: (rows, columns) true where a cell is padding.
    """

    title: str
    values: Numbers
    axes: tuple[str, str]
    role: Literal["before", "after"]
    caption: str = ""
    padding: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Curve:
    """One curve with P points: a measurement, the expectation from theory, or a comparison."""

    name: str
    x: Numbers
    y: Numbers
    kind: Kind = "measured"


@dataclass(frozen=True)
class Curves:
    """Curves on common axes; `step` draws histograms, `zero` starts the y axis at 0."""

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
    """Groups of bars by name, (P,) heights each, and an optional line (P,) with the values expected from theory."""

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
    """A measured number and its expected value.

    Attributes:
        label: name of the number, with its unit.
        measured: value computed in this run.
        expected: value computed from theory, or None if there is none.
        within: tolerance of the comparison, for example for random data.
    """

    label: str
    measured: float
    expected: float | None = None
    within: float = 1e-6

    @property
    def agrees(self) -> bool:
        """Whether measured and expected value agree within the tolerance; true if there is no expected value."""
        return self.expected is None or abs(self.measured - self.expected) <= self.within


def array(values: Tensor | list[float]) -> Numbers:
    """Convert values to a new float64 array."""
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().clone().numpy()
