"""Faithfulness over several photos, on the command line and as figures."""

from __future__ import annotations

import argparse
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from normviz.attribution import Probe, grad_cam
from normviz.commands import faithfulness
from normviz.commands.common import Parser
from normviz.evaluation.baselines import center_map
from normviz.evaluation.faithfulness.assessment import Assessment, Settings, black_level
from normviz.evaluation.faithfulness.measures import ConfidenceChange, Curve, deletion
from normviz.evaluation.faithfulness.replacements import replacement_pixels
from normviz.evaluation.faithfulness.road import Road
from normviz.evaluation.faithfulness.study import MEASURES, STUDY_BASELINES, Row, markdown, study
from normviz.figures.evaluation import faithfulness as figures
from normviz.figures.evaluation.faithfulness import MAP, NAMES
from normviz.html import faithfulness as tables
from normviz.images import decode
from normviz.models import catalog
from normviz.models.catalog import SIZE, Classifier, load_classifier, read_classifier
from normviz.registry import get
from normviz.samples import load_sample
from scripts import measure_faithfulness as script
from tests.support.comparison import identical
from tests.support.stand_in import write_stand_in

HOW = Settings(steps=3)
SMALL = 48  # pixels a side


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    whole = read_classifier(write_stand_in(tmp_path_factory.mktemp("weights")), "stand-in", "a stand-in")
    return replace(whole, size=SMALL)


def _photos() -> list[Tensor]:
    return [decode(load_sample(name)) for name in ("chelsea", "coffee")]


def _refusing(probe: Probe) -> Tensor:
    raise ValueError("this method refuses every photo")


# --- the study ----------------------------------------------------------------------------------------------------


def test_a_study_holds_what_the_measures_say_of_each_photo(classifier: Classifier) -> None:
    seen: list[tuple[int, str]] = []
    refusing = replace(get("saliency", "attribution"), name="refusing", title="Refusing", function=_refusing)
    rows = study(
        classifier,
        _photos(),
        [get("grad_cam", "attribution"), refusing],
        HOW,
        progress=lambda number, name: seen.append((number, name)),
    )
    assert [row.name for row in rows] == [*STUDY_BASELINES, "grad_cam", "refusing"]
    by_name = {row.name: row for row in rows}
    assert by_name["refusing"].refused == "this method refuses every photo" and not by_name["refusing"].values
    assert seen[0] == (0, "random") and seen[-1] == (1, "grad_cam") and (1, "refusing") not in seen
    for number, photo in enumerate(_photos()):
        probe = Probe(classifier.model, classifier.prepare(photo))
        fill = replacement_pixels(probe.images[0], "mean")
        for name, heatmap in (("grad_cam", grad_cam(probe)[0]), ("center", center_map((SMALL, SMALL)))):
            area = deletion(probe, heatmap, fill, steps=3).area
            assert by_name[name].values["deletion"][number] == pytest.approx(area, abs=1e-6)
    assert all(set(row.values) == set(MEASURES) for row in rows if row.values)
    with pytest.raises(ValueError, match="at least one photo"):
        study(classifier, [], [get("grad_cam", "attribution")], HOW)


def test_the_table_has_means_with_intervals_and_sorts_methods_by_insertion() -> None:
    def row(name: str, title: str, level: float) -> Row:
        return Row(name, title, {measure: np.array([level, level]) for measure in MEASURES})

    rows = [row(name, title, 0.1) for name, title in STUDY_BASELINES.items()]
    rows += [row("a", "Low", 0.2), row("b", "High", 0.7), Row("c", "None", {}, "cannot be run")]
    lines = markdown(rows).splitlines()
    assert lines[0].startswith("| Map | Deletion area ↓ | Insertion area ↑ |")
    assert lines[2] == (
        "| *random, cells of the layer* | 0.100 [0.100, 0.100] | 0.100 [0.100, 0.100] | 10% [10%, 10%] "
        "| 10% [10%, 10%] | 0.100 [0.100, 0.100] |"
    )
    assert [line.split(" | ")[0] for line in lines[6:]] == ["| High", "| Low", "| None"]
    assert "cannot be run" in lines[-1] and len({line.count("|") for line in lines}) == 1


# --- the script ---------------------------------------------------------------------------------------------------


def _png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_photos_are_drawn_from_a_folder_or_a_zip_file_alike(tmp_path: Path) -> None:
    folder, archive = tmp_path / "photos", tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for level in range(6):
            (folder / str(level % 2)).mkdir(parents=True, exist_ok=True)
            (folder / str(level % 2) / f"{level}.png").write_bytes(_png(level))
            file.writestr(f"{level % 2}/{level}.png", _png(level))
        file.writestr("README.md", "no photo")
    names = script.drawn(folder, 4, seed=1)
    assert names == script.drawn(archive, 4, seed=1) != script.drawn(folder, 4, seed=2) and len(set(names)) == 4
    for one, other, name in zip(script.opened(folder, names), script.opened(archive, names), names, strict=True):
        assert identical(one, other) and int(one[0, 0, 0]) == int(Path(name).stem)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds 0 photos"):
        script.drawn(tmp_path / "empty", 4, seed=0)


def test_the_section_replaces_an_older_one_and_leaves_the_others() -> None:
    section = "## Faithfulness\n\nnew\n"
    assert script.placed("", section) == section
    assert script.placed("# B\n\n## Speed\n\nold\n", section) == "# B\n\n## Speed\n\nold\n\n## Faithfulness\n\nnew\n"
    text = "# B\n\n## Faithfulness\n\nold\n\n## Speed\n\nold\n"
    assert script.placed(text, section) == "# B\n\n## Faithfulness\n\nnew\n\n## Speed\n\nold\n"
    assert script.placed(script.placed(text, section), section) == script.placed(text, section)


def test_the_script_writes_its_command_and_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    write_stand_in(tmp_path / "assets")
    monkeypatch.setattr(catalog, "ASSETS", tmp_path / "assets")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(load_sample("chelsea"))
    goal = tmp_path / "B.md"
    script.main(f"--photos {tmp_path / 'photos'} --methods grad_cam --steps 2 --markdown {goal}".split())
    text = goal.read_text()
    assert "python -m scripts.measure_faithfulness --photos photos --count 100 --model photos" in text
    assert "1 held-out photos" in text and "| Grad-CAM | 0." in text and str(tmp_path) not in text


# --- the command --------------------------------------------------------------------------------------------------


def _run(command: str) -> None:
    parser = Parser(prog="normviz")
    commands: Any = parser.add_subparsers()
    faithfulness.add(commands)
    args: argparse.Namespace = parser.parse_args(command.split())
    args.run(args)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "assets").mkdir()
    write_stand_in(tmp_path / "assets")
    monkeypatch.setattr(catalog, "ASSETS", tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_bytes(load_sample("chelsea"))
    return tmp_path


def test_the_command_prints_areas_beside_the_baselines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("faithful cat.png --method layer_cam --target cat --steps 4 --fill black --seed 3")
    out = capsys.readouterr().out
    lines = {line[:20].strip(): line[20:].split() for line in out.splitlines() if "0." in line[20:]}
    assert list(lines)[-4:] == ["LayerCAM", "a random map", "the image's center", "the edges (Sobel)"]
    classifier = load_classifier()
    probe = Probe(classifier.model, classifier.prepare(decode(load_sample("chelsea"))), classifier.index("cat"))
    dark = replacement_pixels(probe.images[0], "black", black_level(classifier.mean, classifier.std))
    expected = deletion(probe, center_map((SIZE, SIZE)), dark, steps=4, seed=3).area
    assert float(lines["the image's center"][0]) == pytest.approx(expected, abs=6e-4)
    assert "removed pixels become black" in out and "Removing what the map marks lowers the probability" in out


def test_the_command_refuses_what_it_does_not_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="there is no attribution method 'magic'"):
        _run("faithful cat.png --method magic")
    for command in ("faithful cat.png --steps 0", "faithful cat.png --fill pink"):
        with pytest.raises(SystemExit):
            _run(command)
    assert "a number of steps is a whole number from 1 to 1000" in capsys.readouterr().err


# --- figures ------------------------------------------------------------------------------------------------------


def _judged(level: float, rose: bool = False) -> Assessment:
    x, y = np.linspace(0, 1, 5), np.linspace(level, 0.1, 5)
    shares = np.array([0.25, 0.5, 0.75])
    return Assessment(
        Curve(x, y), Curve(x, y), ConfidenceChange(0.4, 0.6 if rose else 0.3), Road(shares, shares * level, shares)
    )


def test_curves_show_every_map_and_the_share() -> None:
    found = {name: _judged(0.5 + i / 10).deletion for i, name in enumerate(NAMES)}
    figure = figures.score_curves(found, "probability", "removed", 30, (0, 1))
    assert [trace.name for trace in figure.data] == list(NAMES.values())
    np.testing.assert_allclose(figure.data[0].x, [0, 25, 50, 75, 100])
    assert figure.layout.shapes[0].x0 == 30 and list(figure.layout.yaxis.range) == [0, 1]
    assert len(figure.to_json()) < 60_000


def test_road_is_drawn_as_two_curves_and_as_gaps() -> None:
    curves = figures.road_curves(_judged(0.5).road, "probability", (0, 1))
    assert [trace.name for trace in curves.data] == ["least first", "most first"]
    gaps = figures.road_gaps({MAP: _judged(0.5), "center": _judged(0.9)})
    assert list(gaps.data[0].x) == ["this map", "center"] and gaps.data[0].y[0] == pytest.approx(0.25)


def test_the_table_marks_the_best_of_each_column() -> None:
    html = tables.measures([("a <b>", _judged(0.2)), ("c", _judged(0.8, rose=True))])
    assert "a &lt;b&gt;" in html
    first, second = html.split("<tbody>")[1].split("</tr>")[:2]
    assert "<b>0.150</b>" in first and "<b>0.450</b>" not in first  # deletion: low is good
    assert "<b>0.450</b>" in second and "<b>0% (rose)</b>" in second


def test_pictures_stand_side_by_side() -> None:
    html = tables.pictures([("a <b>", "c", np.zeros((8, 8, 3), np.uint8))] * 3, 1.5)
    assert html.count("<img") == 3 and "a &lt;b&gt;" in html and "aspect-ratio:1.5" in html
