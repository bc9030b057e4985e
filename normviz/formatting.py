"""Numbers and shares as text: significant digits, decimals, percent.

Every number that is shown to a person goes through one of these functions. Decimals have a leading zero and
negative numbers a minus sign (U+2212). The progress of running work is the one exception: it is written with
`f"{share:.0%}"` and ends at 100%.
"""

from __future__ import annotations


def number(value: float, digits: int = 3) -> str:
    """Formats a number with a few significant digits, as "0.938", "−12,300" or "1·10<sup>−5</sup>".

    Args:
        value: the number; below 0.001 and from 100,000 on, it is written as a power of ten, whose exponent is marked
            up for HTML and Plotly.
        digits: significant digits.
    """
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return minus(f"{mantissa}·10<sup>{int(exponent)}</sup>")
    return minus(f"{float(f'{value:.{digits}g}'):,.10g}")


def signed(value: float, digits: int = 3) -> str:
    """Formats a number as `number` does, with a plus sign if it is positive."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)


def fixed(value: float, decimals: int = 3) -> str:
    """Formats a number with a fixed number of decimals, as "0.938"; never "−0.000"."""
    return minus(f"{round(value, decimals) + 0.0:.{decimals}f}")


def percent(share: float, decimals: int = 0, short: bool = False, counted: bool = False) -> str:
    """Formats a share in percent, as "94%".

    A share that is nearly 1 is never rounded up to 100%, and one that is nearly 0 is never rounded down to 0%: they
    become "more than 99%" and "less than 1%".

    Args:
        share: the share; 1 is the whole.
        decimals: digits after the point; with 1, the limits are "more than 99.9%" and "less than 0.1%".
        short: writes ">99%" and "<1%", for tables and labels.
        counted: whether exactly 0 and exactly 1 are possible and become "0%" and "100%", as for a share of counted
            pixels or pictures. A probability from a softmax is 1 only through rounding.
    """
    step = 10.0 ** -(decimals + 2)
    if counted and share in (0, 1):
        return f"{share:.0%}"
    if 0 <= share < step:
        return f"{'<' if short else 'less than '}{step:.{decimals}%}"
    if 1 - step < share < 1 + step:
        return f"{'>' if short else 'more than '}{1 - step:.{decimals}%}"
    return minus(f"{share:.{decimals}%}")


def minus(text: str) -> str:
    """Replaces the hyphens of a formatted number by minus signs."""
    return text.replace("-", "−")
