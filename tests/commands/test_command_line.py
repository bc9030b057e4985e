"""The command line: what it prints and writes, its one-line errors, and the documents generated from the registry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from normviz.__main__ import main
from normviz.activations import generate
from normviz.attribution import Probe, finer_cam, grad_cam, hires_cam
from normviz.attribution.targets import Difference
from normviz.colors import OPACITY
from normviz.figures import maps
from normviz.images import read_photo, resize_map
from normviz.models import catalog
from normviz.models.catalog import SIZE, load_classifier
from normviz.paths import ROOT
from normviz.registry import Attribution, methods
from normviz.samples import load_sample
from scripts import make_docs
from tests.support.checkpoints import write_checkpoint
from tests.support.comparison import identical
from tests.support.stand_in import write_stand_in

NAMES = {
    "normalization": {"batch_norm", "layer_norm", "instance_norm", "group_norm", "rms_norm"},
    "attribution": {
        "saliency", "deconvnet", "guided_backprop", "cam", "grad_cam", "guided_grad_cam", "grad_cam_pp", "score_cam",
        "layer_cam", "ablation_cam", "eigen_cam", "full_grad", "integrated_gradients", "occlusion", "rise",
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with the cat in it, and a random classifier in the catalog."""
    (tmp_path / "assets").mkdir()
    write_stand_in(tmp_path / "assets", threshold=0.99)
    monkeypatch.setattr(catalog, "ASSETS", tmp_path / "assets")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("cat.png").write_bytes(load_sample("chelsea"))
    yield tmp_path / "work"


def run(command: str) -> int:
    return main(command.split())


def fails(capsys: pytest.CaptureFixture[str], command: str, words: str, *more: str) -> None:
    """The command ends with status 2, one line on stderr that holds `words`, nothing on stdout and no new file."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    try:
        status: int | str | None = main([*command.split(), *more])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2 and out == ""
    assert err.startswith("normviz: error: ") and err.count("\n") == 1 and words in err, err
    assert sorted(Path().rglob("*")) == before


# ------------------------------------------------------------------------------------------------- list
def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    for kind, names in NAMES.items():
        assert {method["name"] for method in listed if method["kind"] == kind} >= names
    by_name = {method["name"]: method for method in listed}
    assert by_name["group_norm"]["axes"]["nchw"] == "n (g c) h w -> n g"
    knob = by_name["group_norm"]["params"][0]
    assert (knob["name"], knob["type"], knob["default"], knob["low"], knob["symbol"]) == (
        "num_groups",
        "int",
        8,
        1,
        "G",
    )
    assert all(method["formula"] and method["title"] for method in listed) and by_name["grad_cam"]["axes"] is None


def test_list_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for method in methods():
        assert f"  {method.name} " in text and method.title in text
        assert all(f"--set {knob.name}={knob.default} (" in text for knob in method.knobs)
    assert "NCHW: shared over C/G, H, W" in text


@pytest.mark.parametrize("command", ["", "list", "cam", "faithfulness", "localization", "class-model", "normalize"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0 and err == "" and out.startswith(f"usage: normviz {command}".rstrip())


def test_as_a_module() -> None:
    """In a process of its own: the list without Plotly and Streamlit; a mistyped command is one line and status 2."""
    script = (
        "import sys; from normviz.__main__ import main; code = main(['list']); "
        "assert not {'plotly', 'streamlit'} & set(sys.modules); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == "" and "group_norm" in result.stdout
    result = subprocess.run([sys.executable, "-m", "normviz", "lst"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "invalid choice: 'lst'" in result.stderr


# -------------------------------------------------------------------------------------------------- cam
def test_cam(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cam cat.png --target Chain_Saw --layer stage2 --out heat.png --raw map.npy") == 0
    out = capsys.readouterr().out
    assert "photo    cat.png, 451 x 300 pixels" in out and "Grad-CAM for chain saw at layer stage2" in out
    assert "result   Not sure: this may be none of its 3 classes" in out and "wrote    heat.png, map.npy" in out
    raw = np.load("map.npy", allow_pickle=False)
    photo, classifier = read_photo("cat.png"), load_classifier()
    expected = grad_cam(Probe(classifier.model, classifier.prepare(photo), 1, "stage2"))[0].cpu()
    assert raw.shape == (SIZE // 8, SIZE // 8) and torch.allclose(torch.from_numpy(raw), expected, rtol=1e-4, atol=1e-7)
    heat = read_photo("heat.png")
    assert heat.shape == photo.shape
    weight = resize_map(expected, (300, 451)).flatten()
    added = (heat[0] - (1 - OPACITY) * photo[0]).flatten()  # the color's red, which rises with the map
    assert torch.corrcoef(torch.stack([weight, added]))[0, 1] > 0.8
    assert sorted(path.name for path in folder.iterdir()) == ["cat.png", "heat.png", "map.npy"]


FEW = {"samples": 2, "steps": 2, "masks": 8, "window": 0.5, "stride": 0.5}


@pytest.mark.parametrize("method", methods("attribution"), ids=lambda method: method.name)
def test_every_attribution_method(method: Attribution, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = " ".join(f"{knob.name}={FEW[knob.name]}" for knob in method.knobs if knob.name in FEW)
    assert run(f"cam cat.png --method {method.name} --out heat.png --raw map.npy{few and f' --set {few}'}") == 0
    out = capsys.readouterr().out
    raw = np.load("map.npy", allow_pickle=False)
    assert np.isfinite(raw).all()
    if not method.takes("layers"):  # several layers: as large as the largest
        assert raw.shape[-2:] == ((SIZE // 16, SIZE // 16) if method.level == "layer" else (SIZE, SIZE))
    assert read_photo("heat.png").shape == (3, 300, 451)
    assert ("the map is empty" in out) == (not raw.any())


def test_one_class_and_not_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, classifier = read_photo("cat.png"), load_classifier()
    images = classifier.prepare(photo)
    wanted = {
        "hires_cam": hires_cam(Probe(classifier.model, images, Difference(1, 0))),
        "finer_cam": finer_cam(Probe(classifier.model, images, 1), other=0),
    }
    for name, expected in wanted.items():
        assert run(f"cam cat.png --method {name} --target chainsaw --against cat --out heat.png --raw map.npy") == 0
        assert "for chain saw rather than cat" in capsys.readouterr().out
        np.testing.assert_allclose(np.load("map.npy"), expected[0].cpu().numpy(), rtol=1e-4, atol=1e-6)
    fails(capsys, "cam cat.png --target cat --against cat --out other.png", "--against must differ from --target")


def test_a_signed_map_is_white_at_zero(folder: Path) -> None:
    Path("gray.png").write_bytes(make_gray())
    assert run("cam gray.png --method cam --target Frenchhorn --out heat.png --raw map.npy") == 0
    raw, heat = np.load("map.npy"), read_photo("heat.png").int()
    assert raw.min() < 0 < raw.max()
    high = resize_map(torch.from_numpy(raw), (140, 140))
    for_it, against = high > 0.6 * abs(raw).max(), high < -0.6 * abs(raw).max()
    assert (for_it | against).any()
    assert (heat[0] > heat[2])[for_it].all() and (heat[0] < heat[2])[against].all()  # orange, blue


def make_gray() -> bytes:
    from normviz.images import encode_png

    pixels = np.full((140, 140, 3), 128, np.uint8)
    pixels[40:80, 30:100] = 250
    return encode_png(pixels)


@pytest.mark.parametrize("method", ["guided_grad_cam", "grad_cam"])
def test_a_map_is_drawn_as_on_the_page_over_what_the_network_sees(
    method: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that crops its photos: no pixel of the picture lies outside of the crop, and colors are added up."""
    write_checkpoint(folder / "net", "resnet")
    Path("wide.png").write_bytes(make_wide())
    assert run(f"cam wide.png --model {folder}/net --method {method} --out heat.png --raw map.npy") == 0
    out = capsys.readouterr().out
    classifier, photo, raw = load_classifier(f"{folder}/net"), read_photo("wide.png"), np.load("map.npy")
    _, left, height, width = classifier.box(100, 400)
    assert left > 100 and width < 200 and f"400 x 100 pixels; the network sees {width} x {height} of them" in out
    drawn = raw if raw.ndim == 2 else raw.sum(axis=0)
    assert drawn.any() and (raw.ndim == 2) == (method == "grad_cam") == ("the sum over colors" not in out)
    seen = classifier.view(photo).permute(1, 2, 0).contiguous().numpy()
    page = maps.blend(seen, drawn, OPACITY, "inferno", bool((drawn < 0).any()))
    assert identical(read_photo("heat.png"), torch.from_numpy(page).permute(2, 0, 1))


def make_wide() -> bytes:
    from normviz.images import encode_png

    return encode_png(np.random.default_rng(0).integers(0, 256, (100, 400, 3), np.uint8))


def test_knobs_of_attribution(folder: Path) -> None:
    assert run("cam cat.png --method cam --set relu=true --out heat.png --raw map.npy") == 0
    assert np.load("map.npy").min() >= 0


def test_cam_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, "cam cat.png --out heat.png --target wolf", "has no class 'wolf'; choose one of cat, chain saw")
    fails(capsys, "cam cat.png --out heat.png --layer stage9", "no layer 'stage9'")
    fails(capsys, "cam cat.png --out heat.png --method grad_camel", "no attribution method 'grad_camel'; choose one of")
    fails(capsys, "cam cat.png --out heat.png --method group_norm", "no attribution method 'group_norm'")
    fails(capsys, "cam cat.png --out heat.png --model flowers", "no classifier 'flowers'; choose one of photos")
    fails(capsys, "cam cat.png --out heat.png --set relu=1", "grad_cam has no knob 'relu'")
    fails(capsys, "cam cat.png --out heat.png --method cam --set relu=perhaps", "relu must be true or false")
    fails(capsys, "cam cat.png --out heat.png --method cam --set relu", "--set takes KNOB=VALUE; received 'relu'")
    fails(capsys, "cam none.png --out heat.png", "none.png cannot be read: No such file or directory")
    fails(capsys, "cam . --out heat.png", "cannot be read: Is a directory")
    fails(capsys, "cam cat.png --out no/heat.png", "no/heat.png: No such file or directory")
    fails(capsys, "cam cat.png --out heat.jpg", "heat.jpg: the name must end in .png")
    fails(capsys, "cam cat.png --out heat.png --raw map.txt", "map.txt: the name must end in .npy")
    fails(capsys, "cam cat.png --out cat.png", "cat.png is the photo itself")
    fails(capsys, "cam cat.png", "the following arguments are required: --out")
    Path("letter.jpg").write_text("Dear reader")
    fails(capsys, "cam letter.jpg --out heat.png", "letter.jpg: the file is not a picture that can be read")
    assert Path("cat.png").read_bytes() == load_sample("chelsea")


# ------------------------------------------------------------------------------------------------- norm
def table(text: str) -> dict[str, list[float]]:
    """The printed statistics: mean and standard deviation before and after, by group."""
    rows = [line.split() for line in text.splitlines()]
    return {
        row[0]: [float(v) for v in row[1:]] for row in rows if len(row) == 5 and (row[0] == "all" or row[0].isdigit())
    }


def test_norm_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = generate((4, 32, 6, 6), "shifted", seed=5)
    np.save("x.npy", x.numpy())
    assert run("norm --method group_norm --input x.npy --set num_groups=4 eps=.5 --out y.npy") == 0
    y = torch.from_numpy(np.load("y.npy"))
    groups = x.double().view(4, 4, -1)
    variance, mean = torch.var_mean(groups, dim=2, correction=0, keepdim=True)
    expected = ((groups - mean) / (variance + 0.5).sqrt()).view_as(x)
    assert y.dtype == torch.float32 and (y - expected).abs().max() < 1e-5
    out = capsys.readouterr().out
    assert "shared over C/G, H, W: 16 groups" in out and "8 more" in out
    printed = table(out)
    assert list(printed) == ["all", *map(str, range(8))]
    after = expected.view(4, 4, -1)
    for group in range(8):
        n, g = divmod(group, 4)
        rows = [groups[n, g].mean(), groups[n, g].std(correction=0), after[n, g].mean(), after[n, g].std(correction=0)]
        assert printed[str(group)] == pytest.approx([float(value) for value in rows], rel=1e-4, abs=1e-6)


def test_norm_is_seeded(folder: Path) -> None:
    command = "norm --method layer_norm --shape 3,5,8 --distribution skewed --out y.npy --seed"
    results = []
    for seed in ("3", "3", "4"):
        assert run(f"{command} {seed}") == 0
        results.append(np.load("y.npy"))
    assert identical(results[0], results[1]) and not np.allclose(results[0], results[2])
    x = generate((3, 5, 8), "skewed", 3)
    assert np.allclose(results[0], torch.nn.functional.layer_norm(x, (8,)), atol=1e-6)


def test_norm_keeps_float64_and_reads_whole_numbers(folder: Path) -> None:
    x = np.random.default_rng(0).normal(1e4, 1, (6, 3))
    np.save("x.npy", x)
    assert run("norm --method batch_norm --input x.npy --out y.npy") == 0
    expected = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    assert np.load("y.npy").dtype == np.float64 and np.allclose(np.load("y.npy"), expected, atol=1e-9)
    np.save("x.npy", np.arange(12, dtype=np.int16).reshape(4, 3))
    assert run("norm --method bn --input x.npy --out y.npy") == 0
    assert np.load("y.npy").dtype == np.float32


def test_norm_with_running_statistics(folder: Path) -> None:
    np.save("x.npy", np.ones((1, 2, 2, 2), np.float32))
    np.save("mean.npy", np.array([0.0, 3.0], np.float32))
    np.save("var.npy", np.array([1.0, 4.0], np.float32))
    command = "norm --method batch_norm --input x.npy --set training=false --out y.npy"
    assert run(f"{command} --running mean.npy var.npy") == 0
    assert np.allclose(np.load("y.npy")[0, :, 0, 0], [1, -1], atol=1e-4)


def test_norm_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = "norm --method group_norm --out y.npy"
    fails(
        capsys, f"{norm} --shape 2,6,4,4 --set num_groups=4", "6 channels (shape (2, 6, 4, 4)) cannot be split into 4"
    )
    fails(capsys, f"{norm} --shape 2,6,4,4 --set groups=4", "group_norm has no knob 'groups'; its knobs are num_groups")
    fails(capsys, f"{norm} --shape 2,6,4,4 --set num_groups=two", "num_groups must be a whole number")
    fails(capsys, f"{norm} --shape 2,6,4,4 --set eps=-1", "eps must be a number from 1e-12 to 1; received -1")
    fails(
        capsys,
        f"{norm} --shape 2,x",
        "for example 8,32,16,16; received '2,x'",
    )
    fails(capsys, f"{norm} --shape 2", "(N, C, H, W) or (N, C, D, H, W); received shape (2,)")
    fails(capsys, f"{norm} --shape 2,0", "every size must be at least 1")
    fails(capsys, f"{norm} --shape 99999,99999", "values can be generated")
    fails(capsys, f"{norm} --shape 2,8 --seed -1", "a seed is a whole number")
    fails(capsys, f"{norm} --shape 2,8 --distribution odd", "the distribution must be one of normal")
    fails(capsys, f"{norm} --input none.npy", "none.npy: No such file or directory")
    fails(capsys, f"{norm} --shape 2,8 --input x.npy", "not allowed with argument")
    fails(capsys, "norm --method grad_cam --shape 2,8 --out y.npy", "no normalization method 'grad_cam'")
    fails(capsys, "norm --method group_norm --shape 2,8 --out y.txt", "y.txt: the name must end in .npy")
    fails(capsys, "norm --method group_norm --shape 2,8 --out no/y.npy", "no/y.npy: No such file or directory")
    fails(capsys, "norm --method batch_norm --shape 1,8 --out y.npy", "more than one value per channel in training")
    fails(capsys, "norm --method batch_norm --shape 4,8 --set training=no --out y.npy", "needs running_mean")


def test_arrays_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = "norm --method layer_norm --input x.npy --out y.npy"

    def save(values: object) -> None:
        np.save("x.npy", np.asarray(values), allow_pickle=True)

    save(np.array([[{}, None]], dtype=object))
    fails(capsys, norm, "x.npy must contain real numbers; it contains objects, which are not loaded")
    save([["a", "b"]])
    fails(capsys, norm, "x.npy must contain real numbers; it contains <U1")
    save(np.ones((2, 2), np.complex64))
    fails(capsys, norm, "must contain real numbers")
    save(np.ones((2, 0)))
    fails(capsys, norm, "must contain 1 to 33,554,432 numbers; received shape (2, 0)")
    save([[1.0, np.nan], [np.inf, 2.0]])
    fails(capsys, norm, "1 NaN and 1 infinite values of 4, the first one at index (0, 1)")
    Path("x.npy").write_text("1,2,3")
    fails(capsys, norm, "cannot be read as a NumPy array")
    Path("x.npy").write_bytes(b"")
    fails(capsys, norm, "cannot be read as a NumPy array")
    save(np.ones((50, 50)))
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:999])
    fails(capsys, norm, "cannot be read as a NumPy array")


# ------------------------------------------------------------------------------------------ documents
def test_the_documents_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_docs.main(["--check"]) == 0, capsys.readouterr().err


def test_make_docs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{make_docs.BEGIN}\nold\n{make_docs.END}\nthe end\n")
    assert make_docs.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.count("is out of date") == 2 and "old" in readme.read_text()
    assert make_docs.main([], tmp_path) == 0 and make_docs.main(["--check"], tmp_path) == 0
    text, page = readme.read_text(), (tmp_path / "docs" / "METHODS.md").read_text()
    assert text.startswith("# Title\n") and text.endswith("\nthe end\n") and "old" not in text
    for method in methods():
        assert f"[{method.title}]({method.url}) `{method.name}`" in text
        assert f"| `{method.name}` | {method.title} |" in page
        assert method.url in text and all(knob.help in page for knob in method.knobs)
    for row in (line for line in (text + page).splitlines() if line.startswith("|")):
        assert row.count("|") in (3, 7), row  # no bar inside a cell splits it
    readme.write_text("# no markers")
    with pytest.raises(SystemExit, match="must hold"):
        make_docs.main([], tmp_path)
