"""Figures: the numbers survive the way into the JSON, the groups too, and the payload stays small."""

import base64
import dataclasses
import html
import io
import json
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from numpy.typing import NDArray
from PIL import Image

from normviz import colors
from normviz.figures import formula, link, maps, style
from normviz.figures.normalization import cube, distributions, tensors

RANDOM = np.random.default_rng(0)
TYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "f4": np.float32}


def spec(figure: go.Figure) -> dict[str, Any]:
    """The figure as a browser gets it."""
    parsed: dict[str, Any] = json.loads(json.dumps(figure.to_dict()))
    return parsed


def decode(typed: dict[str, Any]) -> NDArray[Any]:
    """What the browser reads from {dtype, bdata, shape}, written anew here."""
    shape = typed.get("shape", [-1])
    sizes = [int(s) for s in shape.split(",")] if isinstance(shape, str) else shape
    array = np.frombuffer(base64.b64decode(typed["bdata"]), TYPES[typed["dtype"]]).reshape(sizes)
    return array if "step" not in typed else typed["start"] + typed["step"] * array.astype(float)


def groups_of(face: dict[str, Any]) -> NDArray[Any]:
    """The matrix of group numbers of a face."""
    packed = face["groups"]
    if isinstance(packed, int):
        return np.full((face["rows"], face["columns"]), packed)
    core, rows, columns = (decode(packed[name]) for name in ("core", "rows", "columns"))
    matrix: NDArray[Any] = core[rows.astype(int)[:, None], columns.astype(int)[None, :]]
    return matrix


@pytest.mark.parametrize(("size", "digits"), [(56, 1e-4), (224, 1 / 255)])
def test_a_heatmap_keeps_its_values(size: int, digits: float) -> None:
    values = RANDOM.normal(1e4, 3.0, (size, size))
    sent = spec(tensors.slice_heatmap(values, 9_980, 10_020, scale="sequential"))
    scale = sent["layout"]["meta"]["link"]["values"]
    read = scale["start"] + scale["step"] * decode(sent["data"][0]["z"]).astype(float)
    assert np.abs(read - values).max() <= np.ptp(values) * digits / 2 * 1.01


def test_before_and_after_share_one_color_scale_in_real_units() -> None:
    before, after = RANDOM.normal(20, 30, (8, 8)), RANDOM.normal(0, 1, (8, 8))
    low, high = style.limits(before, after)
    assert low == -high == -max(abs(before).max(), abs(after).max())
    for values, role in ((before, "before"), (after, "after")):
        sent = spec(tensors.slice_heatmap(values, low, high, role=role))  # type: ignore[arg-type]
        trace, scale = sent["data"][0], sent["layout"]["meta"]["link"]["values"]
        assert scale["start"] + scale["step"] * trace["zmin"] == pytest.approx(low)
        assert scale["start"] + scale["step"] * trace["zmax"] == pytest.approx(high)
        bar = trace["colorbar"]
        for level, text in zip(bar["tickvals"], bar["ticktext"], strict=True):
            assert scale["start"] + scale["step"] * level == pytest.approx(float(text.replace("−", "-")), abs=1e-6)


@pytest.mark.parametrize(
    "groups",
    [
        np.arange(56)[None].repeat(32, 0),  # batch norm: one a column
        np.arange(32)[:, None].repeat(56, 1),  # layer norm: one a row
        np.arange(32)[:, None] * 7 + np.arange(56)[None] // 8,  # group norm: blocks
        np.arange(32 * 56).reshape(32, 56),  # instance norm: one a cell
        RANDOM.integers(0, 5, (32, 56)),
        np.full((32, 56), 300),
    ],
)
def test_groups_survive_their_short_form(groups: NDArray[Any]) -> None:
    sent = spec(tensors.slice_heatmap(np.zeros((32, 56)), -1, 1, groups, ("N", "C")))
    np.testing.assert_array_equal(groups_of(sent["layout"]["meta"]["link"]["faces"][0]), groups)


def test_the_payload_is_small() -> None:
    values = RANDOM.normal(size=(56, 56))
    groups = RANDOM.integers(0, 4, (56, 56))
    two = [tensors.slice_heatmap(values, -4, 4, np.arange(56)[None].repeat(56, 0)) for _ in range(2)]
    assert sum(len(json.dumps(figure.to_dict())) for figure in two) < 22_000
    assert len(json.dumps(tensors.slice_heatmap(values, -4, 4, groups).to_dict())) < 16_000
    block = np.arange(64).reshape(8, 8, 1).repeat(8, 2)
    assert len(json.dumps(cube.shared_axes_cube(block, ("N", "C", "H, W"), (8, 8, 8)).to_dict())) < 12_000
    assert "bdata" in json.dumps(distributions.before_after(np.ones(60), np.ones(60), 0, 1).to_dict())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tensors.slice_heatmap(np.zeros((2, 3, 4)), -1, 1), r"matrix; received shape \(2, 3, 4\)"),
        (lambda: tensors.slice_heatmap(np.array([[1.0, np.nan]]), -1, 1), "1 NaN or infinite of 2"),
        (lambda: tensors.slice_heatmap(np.zeros((2, 3)), -1, 1, np.zeros((3, 2), int)), r"\(2, 3\) of the cells"),
        (
            lambda: tensors.slice_heatmap(np.zeros((2, 2)), -1, 1, np.array([[0, -1], [0, 0]])),
            "start at 0; received -1",
        ),
        (lambda: cube.shared_axes_cube(np.zeros((4, 17, 4), int), "NCP", (4, 64, 4)), r"received \(4, 17, 4\)"),
        (lambda: distributions.before_after(np.ones(3), np.ones(4), 0, 1), r"\(3,\) before and \(4,\) after"),
        (lambda: distributions.before_after(np.ones(3), np.ones(3), 1, 1), "1 to 1"),
        (lambda: maps.photo(np.zeros((4, 4, 4), np.uint8)), r"received \(4, 4, 4\) of uint8"),
        (lambda: maps.heat(np.zeros((4, 4, 4))), r"received shape \(4, 4, 4\)"),
        (lambda: style.color_scale("jet"), "received 'jet'"),
    ],
)
def test_refusals_are_one_clear_sentence(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def areas(figure: go.Figure) -> dict[str, float]:
    """The area that each color covers in the drawing, by the shoelace formula."""
    covered: dict[str, float] = {}
    for shape in figure.layout.shapes:
        if not shape.fillcolor.startswith("#"):
            continue
        for polygon in shape.path.split("Z"):
            points = [tuple(map(float, p.split(","))) for p in re.findall(r"-?[\d.]+,-?[\d.]+", polygon)]
            area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
            covered[shape.fillcolor] = covered.get(shape.fillcolor, 0) + abs(area) / 2
    return covered


def matrix_of(packed: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """The groups on a side of the block."""
    return groups_of({"groups": packed, "rows": shape[0], "columns": shape[1]})


def test_the_cube_sends_its_six_sides_and_nothing_of_its_inside() -> None:
    n, c, p = 3, 4, 5
    groups = np.arange(n * c * p).reshape(n, c, p)
    sent = spec(cube.shared_axes_cube(groups, ("N", "C", "H, W"), (32, 4, 3136)))["layout"]["meta"]["link"]
    block = sent["block"]
    assert block["sizes"] == [n, c, p] and block["names"] == ["N", "C", "H, W"]
    assert block["labels"] == ["N: 3 of 32", "C = 4", "H, W: 5 of 3,136"]
    for axis, rows, columns in ((0, 2, 1), (1, 2, 0), (2, 0, 1)):
        for end in (0, 1):
            side = matrix_of(block["sides"][2 * axis + end], (groups.shape[rows], groups.shape[columns]))
            for (i, j), group in np.ndenumerate(side):
                cell = [0, 0, 0]
                cell[axis], cell[rows], cell[columns] = end * (groups.shape[axis] - 1), i, j
                assert group == groups[tuple(cell)]
    assert "faces" not in sent and "padding" in sent


def test_the_cube_paints_each_statistic_in_its_own_share() -> None:
    batch = np.arange(4)[None, :, None].repeat(3, 0).repeat(5, 2)  # a statistic per channel
    covered = areas(cube.shared_axes_cube(batch, ("N", "C", "H, W"), (3, 4, 5)))
    # Per channel 5 cells of the front and 3 of the top, each of area 2; the last one owns the side of 15 as well.
    assert [covered[style.GROUP_COLORS[k]] for k in range(4)] == [16, 16, 16, 46]
    labels = [a.text for a in cube.shared_axes_cube(batch, ("N", "C", "H, W"), (3, 64, 3136)).layout.annotations]
    assert labels == ["N = 3", "C: 4 of 64", "H, W: 5 of 3,136"]
    sheet = cube.shared_axes_cube(np.arange(6).reshape(2, 3, 1), ("N", "C", ""), (2, 3, 1))
    assert "block" not in sheet.layout.meta["link"] and len(sheet.layout.annotations) == 2
    (face,) = spec(sheet)["layout"]["meta"]["link"]["faces"]
    np.testing.assert_array_equal(groups_of(face), np.arange(6).reshape(2, 3))


def test_padded_cells_are_gray_in_the_block_and_hatched_in_the_slice() -> None:
    groups = np.arange(4)[None, :, None].repeat(3, 0).repeat(5, 2)
    groups[0, :, 3:] = groups[1:, :, 4] = 4
    figure = cube.shared_axes_cube(groups, ("N", "C", "T"), (3, 4, 5), padding=4)
    covered = areas(figure)
    assert covered[link.PADDING] == 2 * (4 * 2 + 2 + 1 + 1)  # of the front, and of the side
    own = spec(figure)["layout"]["meta"]["link"]
    palette = [cube.COLORS[k] for k in decode(own["colors"])]
    assert own["said"] == "padding: not counted"
    assert own["padding"] == 4 and palette[decode(own["ids"]).tolist().index(4)] == link.PADDING
    assert palette.count(link.PADDING) == 1 and link.PADDING not in style.GROUP_COLORS

    sheet = np.zeros((6, 5), int)
    sheet[4:], sheet[1, 2:4] = 9, 9
    shown = tensors.slice_heatmap(np.zeros((6, 5)), -1, 1, sheet, ("T", "D"), padding=9)
    fill, lines = shown.layout.shapes
    assert shown.layout.meta["link"]["padding"] == 9 and fill.fillcolor == link.PADDING
    rectangles = re.findall(r"M(-?[\d.]+),(-?[\d.]+)H(-?[\d.]+)V(-?[\d.]+)H", fill.path)
    painted = np.zeros((6, 5), int)
    for a, top, b, below in np.array(rectangles, float) + 0.5:
        painted[int(top) : int(below), int(a) : int(b)] += 1
    np.testing.assert_array_equal(painted, sheet == 9)  # each padded cell once, no other
    diagonals = np.array(re.findall(r"M(-?[\d.]+),(-?[\d.]+)L(-?[\d.]+),(-?[\d.]+)", lines.path), float)
    assert len(diagonals) == 2 + 6
    assert (diagonals[:, 0] + diagonals[:, 1] == diagonals[:, 2] + diagonals[:, 3]).all()
    for middle in (diagonals[:, :2] + diagonals[:, 2:]) / 2:
        assert sheet[int(middle[1] + 0.5 - 1e-6), int(middle[0] + 0.5 - 1e-6)] == 9
    assert not tensors.slice_heatmap(np.zeros((6, 5)), -1, 1, sheet).layout.shapes
    assert (
        tensors.slice_heatmap(np.zeros((1, 1)), -1, 1, 0, padding=0, padding_label="out").layout.meta["link"]["said"]
        == "out"
    )
    assert len(tensors.slice_heatmap(np.zeros((6, 5)), -1, 1, 9, padding=9).layout.shapes) == 2


@pytest.mark.parametrize("stride", [3, 7, 20, 21, 42, 64])
def test_touching_groups_have_different_colors(stride: int) -> None:
    groups = np.arange(6)[:, None, None] * stride + np.arange(3)[None, :, None] + np.zeros((1, 1, 2), int)
    color = np.vectorize(cube.group_colors(groups).__getitem__)(groups)
    for axis in range(3):
        different = np.diff(groups, axis=axis) != 0
        assert (np.diff(color, axis=axis) != 0)[different].all()


def test_histograms_are_shares_and_groups_keep_their_heights() -> None:
    before, after = np.array([2, 6, 0, 0]), np.array([0, 1, 2, 1])
    alone_before, alone_after = np.array([[2, 0, 0, 0], [0, 6, 0, 0]]), np.array([[0, 1, 1, 0], [0, 0, 1, 1]])
    figure = distributions.before_after(before, after, -1, 3, alone_before, alone_after, np.array([7, 9]))
    sent = spec(figure)
    assert decode(sent["data"][0]["y"]).tolist() == [25, 75, 0, 0]
    assert decode(sent["data"][1]["y"]).tolist() == [0, 25, 50, 25]
    assert (sent["data"][0]["x0"], sent["data"][0]["dx"]) == (-0.5, 1.0)
    own = sent["layout"]["meta"]["link"]
    assert decode(own["ids"]).tolist() == [7, 9]
    assert decode(own["before"]).tolist() == [[255, 0, 0, 0], [0, 255, 0, 0]]
    assert decode(own["after"]).tolist() == [[0, 128, 128, 0], [0, 0, 42, 42]]  # one factor for both sides
    assert [bar.marker.color for bar in figure.data] == [style.BEFORE, style.AFTER]


def test_the_photo_the_map_and_the_overlay_lie_over_each_other() -> None:
    image = RANDOM.integers(0, 256, (30, 60, 3), dtype=np.uint8)
    values = np.zeros((3, 6))
    values[1, 4] = 2.0
    values[0, 0] = -1.0
    photo, heat, over = (
        maps.photo(image, (3, 6)),
        maps.heat(values, signed=True, unit="logits"),
        maps.overlay(image, values),
    )
    trace = photo.data[0]
    # The first pixel's left edge and the last one's right edge are those of the map's cells.
    assert trace.x0 - trace.dx / 2 == pytest.approx(-0.5) and trace.x0 + 59.5 * trace.dx == pytest.approx(5.5)
    assert trace.y0 - trace.dy / 2 == pytest.approx(-0.5) and trace.y0 + 29.5 * trace.dy == pytest.approx(2.5)
    sent = [spec(figure)["layout"] for figure in (photo, heat, over)]
    assert len({json.dumps([s["xaxis"]["range"], s["yaxis"]["range"], s["meta"]["link"]["faces"]]) for s in sent}) == 1
    assert sent[1]["meta"]["link"]["evidence"] == 2.0
    assert heat.data[0].colorbar.title.text == "logits"
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(trace.source.split(",")[1]))))
    np.testing.assert_array_equal(stored, image)  # up to 64 pixels a side nothing is lost


def test_a_map_is_laid_over_the_photo_at_its_place() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    values = np.zeros((4, 4))
    values[0, 3] = 1.0
    assert (maps.blend(image, values, opacity=0) == image).all()
    over = maps.blend(image, values, opacity=1).sum(axis=2)
    row, column = np.unravel_index(over.argmax(), over.shape)
    assert row < 10 and column >= 30
    assert over[0, 39] > 10 * max(over[39, 0], 1)
    flat = maps.blend(image, np.zeros((4, 4)), opacity=1)  # an empty map is the color of 0, not an error
    assert (flat == colors.palette("inferno")[0]).all()


def test_class_bars_name_their_rows() -> None:
    figure = maps.class_bars(["cat", "dog"], [0.9, 0.0001], selected="dog")
    assert figure.layout.meta["link"]["values"] == ["cat", "dog"]
    assert list(figure.data[0].marker.color) == [style.BEFORE, style.AFTER]
    assert list(figure.data[0].text) == ["90.0%", "<0.1%"]


def test_figures_and_pictures_offer_the_same_color_maps() -> None:
    assert set(style.COLOR_MAPS) == set(colors.NAMES)


@pytest.mark.parametrize("name", style.COLOR_MAPS)
def test_color_maps_are_perceptual(name: style.ColorMap) -> None:
    levels = colors.palette(name)[:255:5].astype(float) @ [0.2126, 0.7152, 0.0722]
    if name == "blue-white-orange":
        top = int(levels.argmax())
        assert abs(top - 25) <= 1 and (np.diff(levels[: top + 1]) > 0).all() and (np.diff(levels[top:]) < 0).all()
    else:
        assert (np.diff(levels) > -0.5).all() and levels[-1] - levels[0] > 120


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 7.5), (-13.2, 13.2), (9980, 10020), (0, 3e-7), (-0.004, 0.01)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = style.ticks(low, high)
    assert 2 <= len(ticks) <= 5 and min(ticks) >= low - 1e-12 and max(ticks) <= high + 1e-12
    step = ticks[1] - ticks[0]
    mantissa = step / 10 ** np.floor(np.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6
    if low < 0 < high:
        assert min(map(abs, ticks)) < 1e-12


def statistics(size: int = 3) -> formula.GroupStatistics:
    columns = RANDOM.normal(size=(4, size))
    return formula.GroupStatistics(np.arange(size), [f"group {g}" for g in range(size)], *columns)


FORMULAS = [  # center, scale, and the text of the formula in letters
    ("mean", "std", "y=γ\u2062x−μσ2+ε+β"),
    ("", "rms", "y=γ\u2062xmean(x2)+ε+β"),
    ("", "norm", "y=γ\u2062x‖x‖2+β"),
    ("", "power", "y=γ\u2062x(mean|x|p)1/p+β,p=3"),
    ("", "largest", "y=γ\u2062xmax|x|+β"),
    ("min", "range", "y=γ\u2062x−minxmaxx−minx+β"),
    ("median", "iqr", "y=γ\u2062x−medianxQ3−Q1+β"),
    ("mean", "", "y=γ\u2062(x−μ)+β"),
    ("", "", "y=f(x)"),
]


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize(("center", "scale", "text"), FORMULAS)
def test_each_norm_has_its_formula(center: Any, scale: Any, text: str, shifted: bool, scaled: bool) -> None:
    table = dataclasses.replace(statistics(), center=np.ones(3), spread=np.ones(3))
    readout = formula.normalization(
        table, 1e-5, center=center, scale=scale, shifted=shifted, scaled=scaled, power=3.0
    )  # fmt: skip
    places = re.findall(r'<mn data-term="(\w+)">', readout.numbers)
    whole = bool(center or scale)
    parts = {"mu": center, "var": scale, "eps": scale in ("std", "rms")}
    parts |= {"gamma": scaled and whole, "beta": shifted and whole}
    assert sorted(places) == sorted({"x", "y"} | {name for name, present in parts.items() if present})
    assert set(places) == set(re.findall(r'data-term="(\w+)"', readout.symbols))
    for mathml in (readout.symbols, readout.numbers):
        for tag in ("math", "mfrac", "msqrt", "mrow", "mn", "mi", "mo", "msup", "msub"):
            assert len(re.findall(rf"<{tag}[ >]", mathml)) == mathml.count(f"</{tag}>")
    letters = html.unescape(re.sub("<[^>]+>", "", readout.symbols))
    expected = text if shifted else text.replace("+β", "")
    expected = expected if scaled else expected.replace("γ\u2062", "").replace("(x−μ)", "x−μ")
    assert letters == expected


def test_a_gain_that_is_not_one_is_shown_though_the_method_has_none() -> None:
    plain = formula.normalization(statistics(), 0.0, shifted=False, scaled=False)
    assert "gamma" not in plain.numbers and "beta" not in plain.numbers
    turned = formula.normalization(statistics(), 0.0, 2.0, -1.0, shifted=False, scaled=False)
    assert "gamma" in turned.numbers and "beta" in turned.numbers
    many = formula.normalization(statistics(), 0.0, np.array([[1.0, 1.5]]), shifted=False, scaled=False)
    assert "gamma" in many.numbers and "beta" not in many.numbers


@pytest.mark.parametrize(
    ("center", "scale", "words"),
    [
        ("mode", "", "min, median, or empty; received 'mode'"),
        ("", "mad", "largest, range, iqr, or empty; received 'mad'"),
        ("", "range", "'range' needs .* 'spread'"),
        ("min", "std", "'min' needs .* 'center'"),
    ],
)
def test_a_formula_without_its_numbers_is_refused(center: Any, scale: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        formula.normalization(statistics(), 0.0, center=center, scale=scale)
    assert formula.normalization(None, 0.0, center="", scale="").symbols
    with pytest.raises(ValueError, match="'norm' needs"):
        formula.normalization(None, 0.0, center="", scale="norm")


def test_the_readout_sends_its_numbers() -> None:
    table = statistics(300)
    sent = formula.payload(formula.normalization(table, 0.5, gamma=np.arange(4.0)[None], beta=2.0))
    assert sent["eps"] == 0.5 and sent["beta"] == 2.0 and sent["cell"] is None
    assert formula.payload(formula.normalization(None, 0.0, center="", scale="", cell=(3, 0)))["cell"] == [3, 0]
    none = formula.payload(formula.normalization(dataclasses.replace(table, total=0), 0.5))
    assert none["statistics"]["total"] == 0
    assert decode(sent["gamma"]).tolist() == [[0, 1, 2, 3]]
    assert len(sent["statistics"]["labels"]) == 64 and sent["statistics"]["total"] == 300
    np.testing.assert_allclose(decode(sent["statistics"]["std_after"]), table.std_after, atol=1e-4)
    with pytest.raises(ValueError, match="must have 2 rows"):
        formula.GroupStatistics(np.arange(2), ["a"], *np.zeros((4, 2)))
