"""Colors, number formats and the bare layout that every figure starts from."""

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
    """The color that lies `share` of the way from one hexadecimal color to another."""
    a, b = colors.hex_to_rgb(color), colors.hex_to_rgb(other)
    return "#" + "".join(f"{round(p + (q - p) * share):02X}" for p, q in zip(a, b, strict=True))


# Seven hues, then the same seven lighter, then darker: 21 colors, neighbors always of another hue.
GROUP_COLORS = (
    *OKABE_ITO,
    *(_mix(c, "#FFFFFF", 0.5) for c in OKABE_ITO),
    *(_mix(c, INK, 0.45) for c in OKABE_ITO),
)


@functools.cache
def color_scale(name: ColorMap) -> tuple[tuple[float, str], ...]:
    """The stops of a perceptual color map, from 0 to 1.

    Raises:
        ValueError: a color map that is not offered.
    """
    stops = palette(name)[::15].tolist()  # 18 colors from the first to the last
    return tuple((i / (len(stops) - 1), "#{:02X}{:02X}{:02X}".format(*stop)) for i, stop in enumerate(stops))


def number(value: float, digits: int = 3) -> str:
    """A number with a sensible number of significant digits and a true minus sign, for a label."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}·10<sup>{int(exponent)}</sup>".replace("-", "−")
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace("-", "−")


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from low to high, at most `most` of them."""
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
    """One range of a color scale for all arrays: symmetric about 0 where signed, else from 0 or the least value.

    Raises:
        ValueError: a value that is not finite.
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
    """The values, checked.

    Raises:
        ValueError: an empty array, or NaN or infinity among them.
    """
    values = np.asarray(values)
    if values.size == 0:
        raise ValueError(f"a figure needs at least one value; received shape {values.shape}")
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(f"a figure needs finite values; received {bad:,} NaN or infinite of {values.size:,}")
    return values


def figure(traces: list[Any], link: dict[str, Any] | None = None, **layout: Any) -> go.Figure:
    """A figure on a transparent ground, without a heavy template; `link` says what its cells mean to other panels."""
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
