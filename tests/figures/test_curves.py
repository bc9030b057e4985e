"""Curves and bars: numbers survive, names do not overlap, expected values are marked, refusals are sentences."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from normviz.figures import style
from normviz.figures.curves import COLORS, EXPECTED, Bars, Line, bars, lines, power_ticks, spread
from tests.figures.test_figures import decode

X = np.arange(1, 6)


def spec(figure: go.Figure) -> dict[str, Any]:
    """The figure as a browser gets it."""
    parsed: dict[str, Any] = json.loads(json.dumps(figure.to_dict()))
    return parsed


def test_the_numbers_arrive() -> None:
    sent = spec(lines([Line("loss", X, X**2), Line("theory", X, X**2 + 0.5, dash="dot", marks=True)], "step", "loss"))
    np.testing.assert_allclose(decode(sent["data"][0]["x"]), X)
    np.testing.assert_allclose(decode(sent["data"][0]["y"]), X**2)
    np.testing.assert_allclose(decode(sent["data"][1]["y"]), X**2 + 0.5)
    assert [trace["line"]["dash"] for trace in sent["data"]] == ["solid", "dot"]
    assert [trace["mode"] for trace in sent["data"]] == ["lines", "lines+markers"]
    assert sent["layout"]["xaxis"]["title"]["text"] == "step" and sent["layout"]["yaxis"]["title"]["text"] == "loss"
    bar = spec(bars(["a", "b"], [Bars("one", [1, 2]), Bars("two", [3, 4], style.AFTER)], "row", "length", [1.5, 2.5]))
    assert [list(decode(trace["y"])) for trace in bar["data"]] == [[1, 2], [3, 4], [1.5, 2.5]]
    assert bar["data"][1]["marker"]["color"] == style.AFTER and bar["data"][2]["marker"]["line"]["color"] == EXPECTED
    assert bar["data"][0]["text"] == ["1", "2"]


def test_few_short_names_stand_at_the_ends_and_many_or_long_ones_in_a_legend() -> None:
    two = [Line("plain", X, X), Line("normalized", X, X + 0.01)]
    direct = spec(lines(two, "x", "y"))["layout"]
    assert not direct["showlegend"] and [a["text"].split("</b> ")[1] for a in direct["annotations"]] == [
        "plain", "normalized",
    ]  # fmt: skip
    assert direct["margin"]["r"] > 8 * len("normalized")
    assert COLORS[0] in direct["annotations"][0]["text"] and "color" not in direct["annotations"][0]["font"]
    for curves in ([*two, Line("a name that is far too long", X, X)], [Line(f"row {i}", X, X + i) for i in range(9)]):
        legend = spec(lines(curves, "x", "y"))["layout"]
        assert legend["showlegend"] and "annotations" not in legend
    alone = spec(lines(two[:1], "x", "y"))["layout"]
    assert not alone["showlegend"] and "annotations" not in alone


@pytest.mark.parametrize(
    "heights", [[0.5, 0.5, 0.5], [0.99, 1.0, 1.0], [0.0, 0.01, 0.3, 0.31], [0.2, 0.9], [1.0], [0.4] * 12]
)
def test_names_are_moved_apart_in_their_order_and_stay_inside(heights: list[float]) -> None:
    placed = spread(heights)
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(np.array(placed)[order])
    assert (gaps >= min(0.1, 1 / max(len(heights) - 1, 1)) - 1e-9).all()
    assert min(placed) >= -1e-9 and max(placed) <= 1 + 1e-9
    assert spread([0.2, 0.9]) == [0.2, 0.9]


def test_the_axes_hold_all_values() -> None:
    plain = spec(lines([Line("a", X, X * 10.0), Line("b", X, -X)], "x", "y"))["layout"]
    low, high = plain["yaxis"]["range"]
    assert low < -5 and 50 < high < 60 and plain["xaxis"]["range"] == [1, 5]
    powers = spec(lines([Line("a", 10.0**X, 10.0**-X)], "x", "y", log_x=True, log_y=True))["layout"]
    assert powers["xaxis"]["type"] == powers["yaxis"]["type"] == "log"
    assert powers["xaxis"]["range"] == [1, 5] and powers["yaxis"]["range"][0] < -5 < -1 < powers["yaxis"]["range"][1]
    chosen = spec(lines([Line("a", X, X)], "x", "y", x_range=(0, 9), y_range=(1, 100), log_y=True))["layout"]
    assert chosen["xaxis"]["range"] == [0, 9] and chosen["yaxis"]["range"] == [0, 2]
    flat = spec(lines([Line("a", X, np.full(5, 3.0))], "x", "y"))["layout"]["yaxis"]["range"]
    assert flat[0] < 3 < flat[1]
    zero = spec(lines([Line("a", X, np.zeros(5))], "x", "y"))["layout"]["yaxis"]["range"]
    assert zero[0] < 0 < zero[1]


@pytest.mark.parametrize(
    ("ends", "texts"),
    [
        ((-2, 2), ["0.01", "0.1", "1", "10", "100"]),
        ((0, 6), [f"10<sup>{power}</sup>" for power in range(7)]),
        ((-5.2, -2.5), ["10<sup>−5</sup>", "10<sup>−4</sup>", "10<sup>−3</sup>"]),
        ((0, 0.7), ["1", "2", "5"]),
        ((-1.5, -0.6), ["0.05", "0.1", "0.2"]),
        ((0.31, 0.32), ["2.04", "2.09"]),
    ],
)
def test_ticks_of_powers_of_ten(ends: tuple[float, float], texts: list[str]) -> None:
    values, written = power_ticks(*ends)
    assert written == texts
    assert all(ends[0] - 1e-9 <= np.log10(value) <= ends[1] + 1e-9 for value in values)
    assert len(power_ticks(-40, 40)[0]) <= 7


def test_bars_stand_on_zero() -> None:
    def ends(*heights: float) -> list[float]:
        found: list[float] = spec(bars(range(len(heights)), [Bars("a", heights)], "x", "y"))["layout"]["yaxis"]["range"]
        return found

    assert ends(1, 2)[0] == 0 and ends(1, 2)[1] > 2
    assert ends(-1, 2)[0] < -1 and ends(-1, 2)[1] > 2
    assert ends(-1, -2)[1] == 0 and ends(-1, -2)[0] < -2
    assert ends(0, 0)[1] >= ends(0, 0)[0] == 0
    many = spec(bars(range(40), [Bars("a", np.ones(40))], "x", "y"))["data"][0]
    assert many.get("text") is None


def test_a_chart_of_many_points_stays_small() -> None:
    x = np.arange(300)
    assert len(json.dumps(spec(lines([Line(f"curve {i}", x, x * i) for i in range(6)], "x", "y")))) < 32_000


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: lines([], "x", "y"), "at least one curve; received none"),
    (lambda: lines([Line("a", X, X[:3])], "x", "y"), "x and y of 'a' must have the same length; received 5 and 3"),
    (lambda: lines([Line("a", X, X * np.nan)], "x", "y"), "5 NaN or infinite of 5"),
    (lambda: lines([Line("a", X, X - 1)], "x", "y", log_y=True), "y of 'a' must be positive .* received 0"),
    (lambda: lines([Line("a", np.ones((2, 2)), X)], "x", "y"), r"one dimension; received shape \(2, 2\)"),
    (lambda: bars([], [Bars("a", [1])], "x", "y"), "received 1 groups and 0 labels"),
    (lambda: bars(["a"], [Bars("a", [1, 2])], "x", "y"), "'a' needs a height for each of 1 labels; received 2"),
    (lambda: bars(["a"], [Bars("a", [1])], "x", "y", [1, 2]), "'expected' needs a height for each of 1 labels"),
    (lambda: bars(["a"], [Bars("a", [0])], "x", "y", log_y=True), "heights of 'a' must be positive"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_what_cannot_be_drawn_is_refused_in_words(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
