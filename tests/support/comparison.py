"""Comparisons of tensors and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def identical(first: Tensor | NDArray[Any], second: Tensor | NDArray[Any]) -> bool:
    """Whether two tensors or arrays have the same shape and the same values, bit by bit.

    Only where identity is the claim: a value that is not touched, a copy, integers and masks, or the same operations
    in the same order on the same numbers. Whatever is computed in two ways differs in its last digits from one
    processor to the next: compare it with `torch.testing.assert_close` or `pytest.approx` and a stated tolerance.
    """
    return np.array_equal(_array(first), _array(second))


def _array(values: Tensor | NDArray[Any]) -> NDArray[Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype.is_floating_point and values.element_size() < 4 else values).numpy()
    return values
