"""Colors, ticks, color limits and the base layout of all figures."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly import colors

from normviz.colors import palette

INK, PAPER = "#1D2733", "#FBFAF7"
BEFORE, AFTER = "#7C8DA6", "#D9622B"
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

ColorMap = Literal["inferno", "viridis", "cividis", "magma", "blue-white-orange"]
COLOR_MAPS: tuple[ColorMap, ...] = get_args(ColorMap)


def _mix(color: str, other: str, share: float) -> str:
    """Mixes two hexadecimal colors; `share` is that of the second one."""
    a, b = colors.hex_to_rgb(color), colors.hex_to_rgb(other)
    return "#" + "".join(f"{round(p + (q - p) * share):02X}" for p, q in zip(a, b, strict=True))


# Seven hues, then the same hues lighter, then darker: 21 colors, and neighbors always differ in hue.
GROUP_COLORS = (
    *OKABE_ITO,
    *(_mix(c, "#FFFFFF", 0.5) for c in OKABE_ITO),
    *(_mix(c, INK, 0.45) for c in OKABE_ITO),
)


@functools.cache
def color_scale(name: ColorMap) -> tuple[tuple[float, str], ...]:
    """Returns the stops of a color map, from 0 to 1.

    Raises:
        ValueError: if there is no color map of this name.
    """
    stops = palette(name)[::15].tolist()  # 18 colors from the first to the last
    return tuple((i / (len(stops) - 1), "#{:02X}{:02X}{:02X}".format(*stop)) for i, stop in enumerate(stops))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most `most` round numbers from low to high, in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    return [i * step for i in range(first, last + 1)] or [low, high]


def limits(*arrays: NDArray[Any], signed: bool = True) -> tuple[float, float]:
    """Returns the limits of a common color scale: symmetric about 0 if signed, else from min(0, least value).

    Raises:
        ValueError: if a value is not finite.
    """
    for array in arrays:
        finite(array)
    low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    if signed:
        bound = max(abs(low), abs(high)) or 1.0
        return -bound, bound
    low = min(low, 0.0)
    return low, high if high > low else low + 1.0


def finite(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the values as an array.

    Raises:
        ValueError: if the array is empty, or a value is NaN or infinite.
    """
    values = np.asarray(values)
    if values.size == 0:
        raise ValueError(f"a figure needs at least one value; received shape {values.shape}")
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(f"a figure needs finite values; received {bad:,} NaN or infinite of {values.size:,}")
    return values


def figure(traces: list[Any], link: dict[str, Any] | None = None, **layout: Any) -> go.Figure:
    """Returns a figure with a transparent background and no template; `link` is its metadata for the board."""
    base: dict[str, Any] = {
        "template": go.layout.Template(),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "font": {"size": 16},
        "showlegend": False,
        "uirevision": "keep",
    }
    if link is not None:
        base |= {"meta": {"link": link}, "hovermode": False}
    return go.Figure(data=traces, layout=base | layout)
