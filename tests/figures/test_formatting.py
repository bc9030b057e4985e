"""Numbers and shares as text."""

from __future__ import annotations

import pytest

from normviz.formatting import fixed, number, percent, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-1.2345, "−1.23"),
        (12345, "12,300"),
        (1e-5, "1·10<sup>−5</sup>"),
        (2.5e6, "2.5·10<sup>6</sup>"),
        (0.5, "0.5"),
    ],
)
def test_numbers_have_three_digits_and_a_minus_sign(value: float, text: str) -> None:
    assert number(value) == text


def test_signs() -> None:
    assert [signed(value) for value in (0.25, 0, -0.25)] == ["+0.25", "0", "−0.25"]


def test_decimals_have_a_leading_zero_and_no_negative_zero() -> None:
    assert [fixed(value) for value in (0.9381, -0.25, -0.0001)] == ["0.938", "−0.250", "0.000"]
    assert fixed(-1.005, 1) == "−1.0"


@pytest.mark.parametrize(
    ("share", "text", "short"),
    [
        (0.94, "94%", "94%"),
        (0.99, "99%", "99%"),
        (0.999, "more than 99%", ">99%"),
        (1.0, "more than 99%", ">99%"),
        (1.0000001, "more than 99%", ">99%"),
        (0.01, "1%", "1%"),
        (0.004, "less than 1%", "<1%"),
        (0.0, "less than 1%", "<1%"),
        (-0.31, "−31%", "−31%"),
        (1.25, "125%", "125%"),
    ],
)
def test_a_share_is_never_rounded_to_certainty(share: float, text: str, short: str) -> None:
    assert (percent(share), percent(share, short=True)) == (text, short)


def test_percent_with_a_decimal() -> None:
    assert [percent(share, 1) for share in (0.9384, 0.9996, 0.0004)] == ["93.8%", "more than 99.9%", "less than 0.1%"]


def test_counted_shares_reach_their_ends() -> None:
    assert [percent(share, counted=True) for share in (0, 1, 0.999, 0.001)] == [
        "0%", "100%", "more than 99%", "less than 1%",
    ]  # fmt: skip
