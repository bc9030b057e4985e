"""The localization benchmark: its questions, its runs, its file, its tables, its command and its page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from normviz.attribution import Probe, grad_cam
from normviz.commands import localization as command
from normviz.commands.common import Parser, fail
from normviz.evaluation.localization import benchmark, report
from normviz.evaluation.localization.benchmark import (
    ANY,
    BASELINES,
    Result,
    Row,
    jobs,
    maps_of,
    probes_of,
    run,
    scores,
    share_of,
)
from normviz.evaluation.localization.measures import energy_inside, grid_pointing, pointing
from normviz.evaluation.localization.questions import KINDS, MOSAIC, Kind, Questions, make_questions
from normviz.evaluation.localization.report import Report, markdown, read, summary, write
from normviz.images import resize_map
from normviz.models import catalog
from normviz.models.catalog import load_classifier
from normviz.models.embedded import Measured, write_weights
from normviz.models.residual import Norm, ResidualNet
from normviz.prints.localization import outline, tile
from normviz.registry import get, methods
from normviz.scenes import CLASSES, SIZE, make_scene
from normviz.ui.pages import localization as page
from tests.pages.test_pages import errors, open_page, words
from tests.support.comparison import identical

FAST = ["saliency", "grad_cam", "layer_cam"]


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of weights with two random networks of scenes, and no report."""
    norms: tuple[Norm, Norm] = ("batch", "none")
    for index, norm in enumerate(norms):
        torch.manual_seed(index)
        model = ResidualNet(len(CLASSES), norm, widths=(8, 8, 8, 16), blocks=(1, 1, 1, 1)).eval()
        torch.nn.init.normal_(model.fc.weight)
        write_weights(tmp_path / f"scenes_{norm}.safetensors", model, list(CLASSES), [Measured(SIZE, 1, 1, 0.5, 1, 1)])
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    monkeypatch.setattr(page, "SHIPPED", tmp_path / "localization.json")
    yield tmp_path


# ------------------------------------------------------------------------------------------------- questions
@pytest.mark.parametrize("kind", KINDS)
def test_more_questions_begin_with_the_same_ones(kind: Kind) -> None:
    few, more = make_questions(kind, 2), make_questions(kind, 3).first(2)
    assert few.scenes == more.scenes == 2 and len(few) == 2 * few.each
    assert identical(few.images, more.images) and identical(few.labels, more.labels)
    assert identical(few.masks, more.masks) and few.masks.flatten(1).any(dim=1).all()


def test_in_scenes_of_several_objects_any_of_them_is_asked_about() -> None:
    asked = make_questions("several", 6, seed=100)
    for index, label in enumerate(asked.labels.tolist()):
        scene = make_scene(100 + index, objects=3)
        place = [item.label for item in scene.items].index(label)
        assert place == (100 + index) % 3 and identical(asked.masks[index], scene.items[place].mask)


def test_each_cell_of_a_mosaic_is_asked_about_its_own_class() -> None:
    asked = make_questions("grid", 3)
    assert asked.images.shape == (12, 3, 2 * SIZE, 2 * SIZE)
    heatmap = torch.rand(2 * SIZE, 2 * SIZE, generator=torch.Generator().manual_seed(0))
    for mosaic in range(3):
        part = slice(MOSAIC * mosaic, MOSAIC * mosaic + MOSAIC)
        assert len(set(asked.labels[part].tolist())) == 4
        inside = [float(energy_inside(heatmap, mask)) for mask in asked.masks[part]]
        assert inside == [pytest.approx(float(grid_pointing(heatmap, cell))) for cell in range(4)]


def test_questions_that_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="one of one, several, grid; received 'many'"):
        make_questions("many", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one scene; received 0"):
        make_questions("one", 0)


# ------------------------------------------------------------------------------------------------------ runs
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_the_same_as_scene_by_scene(kind: Kind, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, classifier = make_questions(kind, 3), load_classifier("scenes")
    monkeypatch.setattr(benchmark, "BATCH", 2 * asked.images.shape[-1] ** 2)  # batches of two
    size = (asked.images.shape[2], asked.images.shape[3])
    expected = []
    for image, label in zip(asked.images, asked.labels.tolist(), strict=True):
        images = replace(classifier, size=size[0]).prepare(image)
        expected.append(resize_map(grad_cam(Probe(classifier.model, images, label))[0], size))
    found = maps_of(get("grad_cam", "attribution"), probes_of(classifier, asked))
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    (result,) = (
        r for r in run(jobs([get("grad_cam", "attribution")], [classifier], {kind: asked})) if r.network != ANY
    )
    for row in result.rows:
        measured = {"pointing": pointing, "energy": energy_inside, "grid": energy_inside}.get(row.measure)
        if measured is not None:
            values = measured(torch.stack(expected), asked.masks)
            assert row.mean == pytest.approx(float(values.mean()), abs=1e-4)
        assert row.low <= row.mean <= row.high and row.scenes == 3


def test_a_mosaic_counts_as_one_scene() -> None:
    asked = make_questions("grid", 5)
    maps = torch.rand(len(asked), 2 * SIZE, 2 * SIZE, generator=torch.Generator().manual_seed(0))
    single, each = scores(maps, asked, single=True)["grid"], scores(maps, asked)["grid"]
    assert each.shape == (5,) and torch.allclose(each, single.view(5, 4).mean(dim=1))


def test_baselines_know_nothing_and_score_so() -> None:
    asked = {kind: make_questions(kind, 12) for kind in KINDS}
    results = {(r.method, r.kind): r for r in run(jobs([], [], asked))}
    assert {method for method, _ in results} == set(BASELINES)
    share = float(asked["one"].masks.float().mean())
    random = {row.measure: row for row in results["random", "one"].rows}
    assert random["energy"].low < share < random["energy"].high
    for name in ("center", "sobel"):  # the same map for all four cells, whose shares add up to 1
        assert results[name, "grid"].rows[0].mean == pytest.approx(0.25)


def test_progress_rises_to_one_and_can_cancel(assets: Path) -> None:
    asked: dict[Kind, Questions] = {"one": make_questions("one", 4)}
    todo = jobs([get(name, "attribution") for name in FAST], [load_classifier("scenes")], asked)
    shares: list[float] = []
    results = list(run(todo, shares.append))
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1) and len(results) == len(todo)

    def stop(share: float) -> None:
        if share > 0.5:
            raise InterruptedError

    done = []
    with pytest.raises(InterruptedError):
        for result in run(todo, stop):
            done.append(result)
    assert done == results[: len(done)] and 3 <= len(done) < len(todo)


def test_slow_methods_get_fewer_scenes(assets: Path) -> None:
    asked = {kind: make_questions(kind, 20) for kind in ("one",)}
    todo = jobs(methods("attribution"), [load_classifier("scenes")], asked)  # type: ignore[arg-type]
    counts = {job.method.name: job.questions.scenes for job in todo if job.method}
    assert set(counts) == {method.name for method in methods("attribution")}
    assert counts["grad_cam"] == 20 and counts["score_cam"] == 4
    assert all(name in counts for name in benchmark.HARDEST), "a name that no method has"
    assert counts["rise"] == 2 and share_of(get("rise", "attribution"), "grid") is None


def test_what_a_method_refuses_is_a_result_and_a_network_of_photos_is_refused(assets: Path) -> None:
    asked: dict[Kind, Questions] = {"one": make_questions("one", 4)}
    classifier = load_classifier("scenes")
    smooth = replace(classifier, model=torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GELU(), _Mean()))
    results = list(run(jobs([get("guided_backprop", "attribution"), get("grad_cam", "attribution")], [smooth], asked)))[
        len(BASELINES) :
    ]
    assert "ReLU" in results[0].refused and not results[0].rows
    assert not results[1].refused and results[1].rows
    with pytest.raises(ValueError, match="was not trained on the scenes"):
        jobs([], [replace(classifier, classes=("cat", "dog"))], asked)


class _Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


# --------------------------------------------------------------------------------------------- file and words
def made() -> Report:
    def rows(network: str, method: str, mean: float) -> Result:
        found = tuple(
            Row(network, method, "one", m, mean, round(mean - 0.05, 4), round(mean + 0.05, 4), 40)
            for m in ("pointing", "energy", "iou")
        )
        return Result(network, method, "one", found, 0.25)

    results = [rows(ANY, name, mean) for name, mean in zip(BASELINES, (0.5, 0.1, 0.2), strict=True)]
    results += [rows("scenes", "grad_cam", 0.9), rows("scenes_none", "grad_cam", 0.58)]
    results += [rows("scenes", "saliency", 0.5), rows("scenes_none", "saliency", 0.4)]
    results += [Result("scenes", "cam", "one", refused="CAM needs a pooled head")]
    return Report("normviz localization", "1.2.3", 40, 7, {"scenes": "aa", "scenes_none": "bb"}, results)


TITLES = {"grad_cam": "Grad-CAM", "saliency": "Saliency", "scenes": "batch norm", "scenes_none": "no normalization"}


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write(made(), path)
    assert read(path) == made()
    assert len(path.read_text().splitlines()) < 30 and sorted(tmp_path.iterdir()) == [path]
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="is not a report of the localization benchmark"):
        read(path)


def test_the_ranking_summary() -> None:
    said = summary(made(), "one", "pointing", TITLES)
    assert said[0] == "Best, the mean over 2 networks: Grad-CAM 74%, Saliency 45%."
    assert said[1] == (
        "Guessing the center scores 50%. Clearly better on every network: no method. "
        "Clearly better on no network: Saliency."
    )
    assert "highest with batch norm (70%) and lowest with no normalization (49%)" in said[2]
    assert summary(made(), "grid", "grid", TITLES) == ["There are no results for these scenes."]


def test_the_table_in_markdown() -> None:
    text = markdown(made(), TITLES)
    assert "### Pointing game, one object" in text and "mosaics of four" not in text
    assert "| Grad-CAM | 40 | **90** (85–95) | 58 (53–63) |" in text
    assert "| Center of the image | 40 | 50 (45–55) | 50 (45–55) |" in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))


def test_the_shipped_report_is_one_of_the_installed_networks_and_methods() -> None:
    if not report.SHIPPED.exists():
        pytest.skip("no report is shipped yet: normviz localization --out assets/localization.json")
    shipped = read(report.SHIPPED)
    assert set(shipped.methods) <= {method.name for method in methods("attribution")}
    assert {"center", "random", "sobel"} <= {result.method for result in shipped.results}
    for name, weights in shipped.networks.items():
        assert benchmark.fingerprint(load_classifier(name)) == weights, "measured with other weights: measure again"


# --------------------------------------------------------------------------------------------- the command
def main(text: str) -> int:
    """Run the command alone, as `python -m normviz` does."""
    parser: argparse.ArgumentParser = Parser(prog="normviz")
    command.add(parser.add_subparsers())
    try:
        args = parser.parse_args(text.split())
        args.run(args)
    except SystemExit as stop:
        return int(stop.code or 0)
    except ValueError as error:
        return fail(str(error))
    return 0


def test_the_command_goes_on_where_it_was_stopped(
    assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, table = assets / "out.json", assets / "table.md"
    command = f"localize --methods grad_cam Saliency --scenes 8 --kinds one grid --out {out} --markdown {table}"
    assert main(command) == 0
    full = read(out)
    assert capsys.readouterr().out == "" and "### Grid pointing game, mosaics of four scenes" in table.read_text()
    assert list(full.networks) == ["scenes", "scenes_none"] and full.methods == ("grad_cam", "saliency")
    assert len(full.results) == 3 * 2 + 2 * 2 * 2 and full.command.endswith("--kinds one grid")
    write(replace(full, results=full.results[:7]), out)
    assert main(command) == 0
    assert "7 of 14 results are already in" in capsys.readouterr().err and read(out) == full
    monkeypatch.setattr(benchmark, "maps_of", lambda *_: pytest.fail("computed again"))
    assert main(command) == 0 and read(out) == full


def test_other_weights_are_measured_again(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = assets / "out.json"
    command = f"localize --methods grad_cam --networks scenes scenes_none --scenes 4 --kinds one --out {out}"
    assert main(command) == 0
    full = read(out)
    full.networks["scenes"] = "another"
    write(full, out)
    assert main(command) == 0
    assert "4 of 5 results are already in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("localize --methods grad_camel", "no attribution method 'grad_camel'"),
        ("localize --networks photos", "no classifier 'photos'"),
        ("localize --scenes 3", "scenes is a whole number from 4 to 10000; received '3'"),
        ("localize --out table.csv", "table.csv: the name must end in .json"),
        ("localize --kinds two", "invalid choice: 'two'"),
    ],
)
def test_wrong_commands(command: str, sentence: str, assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and sentence in err


# ------------------------------------------------------------------------------------------------- the page
def test_a_tile_outlines_the_object_and_crosses_the_highest_pixel() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:7] = True
    lines = outline(mask.numpy())
    assert len(lines) == len(set(lines)) == 2 * (3 + 4)
    assert (3, 2, 4, 2) in lines and (3, 2, 3, 3) in lines and (6, 5, 7, 5) in lines
    heatmap = torch.zeros(8, 8)
    heatmap[7, 0] = 1.0
    picture = tile(torch.full((3, 8, 8), 100, dtype=torch.uint8), heatmap, mask)
    assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8
    assert (picture[240, 16] == 255).all() and (picture[64, 112] == 255).all()  # the cross, the upper side
    assert (tile(torch.zeros(3, 8, 8, dtype=torch.uint8), heatmap * 0, mask)[240, 16] < 255).all()  # no cross


def test_the_page_measures_and_shows_the_worst_scenes(assets: Path) -> None:
    test = open_page("localization")
    assert not test.exception and not errors(test), words(test)
    assert "No saved results" in words(test)
    assert "Lowest scores of Grad-CAM on batch norm" in test.subheader[0].value
    assert words(test).count("<figcaption") == page.WORST
    test = open_page("localization", numbers="run now", scenes="8", net="no normalization", method="LayerCAM")
    assert not test.exception and not errors(test), words(test)
    said = " ".join(text.value for text in test.markdown)
    assert "Best, on no normalization:" in said and "LayerCAM on no normalization" in test.subheader[0].value


def test_the_page_shows_the_report_that_ships(assets: Path) -> None:
    write(made(), assets / "localization.json")
    for kind in ("one object", "mosaics of four scenes"):
        test = open_page("localization", kind=kind)
        assert not test.exception and not errors(test), words(test)
    test = open_page("localization", measure="Energy inside")
    assert "Grad-CAM 74%" in " ".join(text.value for text in test.markdown)


def test_without_networks_the_page_says_so(assets: Path) -> None:
    for path in assets.glob("*.safetensors"):
        path.unlink()
    test = open_page("localization")
    assert not test.exception and "no network of scenes is installed" in " ".join(errors(test)).lower()
