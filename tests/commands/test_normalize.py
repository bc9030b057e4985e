"""The command line runs every normalization: on arrays, on weights, as demonstrations; errata; invariances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from normviz.__main__ import main
from normviz.registry import Normalization, methods
from tests.commands.test_command_line import fails

ALL = methods("normalization")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], command: str, *more: str) -> str:
    """What a command that succeeds prints."""
    capsys.readouterr()
    assert main([*command.split(), *more]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("method", [m for m in ALL if m.takes_activations], ids=lambda m: m.name)
def test_norm_runs_every_method_that_acts_on_activations(
    method: Normalization, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {"nc": "16,8", "ntd": "16,4,8", "nchw": "16,8,4,4", "ncdhw": "16,8,2,4,4"}[method.layouts()[-1]]
    out = said(capsys, f"norm --method {method.name} --shape {shape} --out y.npy", *needed(method))
    assert np.load("y.npy", allow_pickle=False).shape == tuple(map(int, shape.split(",")))
    assert method.title in out and "std after" in out


def needed(method: Normalization) -> list[str]:
    """The running statistics, for a method that does not work without."""
    if not method.takes("running_sq"):
        return []
    for name, values in (("mean.npy", np.zeros(8, np.float32)), ("var.npy", np.ones(8, np.float32))):
        np.save(name, values)
    return ["--running", "mean.npy", "var.npy"]


@pytest.mark.parametrize("method", [m for m in ALL if m.acts_on == "weights"], ids=lambda m: m.name)
def test_norm_runs_every_method_that_acts_on_weights(method: Normalization, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, f"norm --method {method.name} --shape 6,4,3,3 --out w.npy")
    assert np.load("w.npy", allow_pickle=False).shape == (6, 4, 3, 3)
    assert "largest singular value" in out and "mean row norm" in out


def test_norm_leaves_padding_out_where_the_method_knows_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "norm --method recurrent_batch_norm --shape 8,6,4 --padding 0.4 --out y.npy")
    y = np.load("y.npy", allow_pickle=False)
    padded = (y == 0).all(axis=2)
    assert 0.2 < padded.mean() < 0.6
    assert abs(y[~padded].mean(axis=0)).max() < 1e-6


@pytest.mark.parametrize("method", [m for m in ALL if not m.axes], ids=lambda m: m.name)
def test_demo_runs_every_method_that_does_not_act_on_activations(
    method: Normalization, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, f"demo {method.name} --seed 1")
    assert method.title in out and "measured" in out and len(out.splitlines()) > 4


def test_errata_and_invariance(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "errata")
    name = listed.partition(":")[0]
    assert "as printed" in listed and len(listed.splitlines()) > 20
    alone = said(capsys, f"errata {name}")
    assert alone.startswith(listed.splitlines()[0]) and "correct  " in alone
    table = said(capsys, "invariance --layout nc").splitlines()
    (batch,) = (line for line in table if line.startswith("Batch norm, training"))
    assert batch.split()[3] == "="  # scaling all weights


def test_what_these_commands_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, "demo layer_norm", "acts on activations: run it with normviz normalize --method layer_norm")
    fails(capsys, "demo pre_norm --set depth", "--set takes KNOB=VALUE")
    fails(capsys, "norm --method grad_norm --out y.npy", "run normviz weights-and-blocks grad_norm")
    fails(capsys, "norm --method z_score --padding 2 --out y.npy", "a share is a number from 0 to 0.9; received '2'")
    fails(capsys, "errata nothing", "there is no erratum 'nothing'; choose one of")
    fails(capsys, "invariance --layout nchwx", "the layout must be nc, ntd or nchw")
