"""Statistics of a table's columns before and after scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normviz.formatting import percent
from normviz.html.table import Cell, Content, Html, Row, table

HEADS = ("column", "", "smallest", "mean", "std", "largest", "share of distance")


def statistics(names: Sequence[str], before: NDArray[Any], after: NDArray[Any]) -> Html:
    """Returns an HTML table with the statistics of each column before and after scaling.

    The last number is the column's share of the mean squared distance between two rows: its variance over the sum of
    all variances.

    Args:
        names: the K columns' names.
        before: (N, K) the table.
        after: (N, K) the scaled table.
    """
    rows = []
    sides = [(side, values, values.var(0)) for side, values in (("before", before), ("after", after))]
    for k, name in enumerate(names):
        for side, values, variances in sides:
            column = values[:, k]  # (N,)
            rounding = 1e-6 * np.abs(column).max()
            numbers = [
                float(n) if abs(n) > rounding else 0.0
                for n in (column.min(), column.mean(), column.std(), column.max())
            ]
            share = float(variances[k]) / (float(variances.sum()) or 1.0)
            cells: list[Content | Cell] = [side, *numbers, percent(share, 1, short=True, counted=True)]
            first = side == "before"
            rows.append(Row([Cell(name, rows=2), *cells] if first else cells, header=first))
    return table(HEADS, rows, "nv-statistics")
