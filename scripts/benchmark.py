"""Measure NormViz against its alternatives: ratios, both sides in one run, medians of interleaved repetitions.

    python scripts/benchmark.py                                        # everything, as a table
    python scripts/benchmark.py --section attribution --markdown docs/BENCHMARKS.md

A section is a list of functions; each measures one thing and returns rows. Absolute times depend on the
machine and on what else runs there; ratios much less, as both sides take turns.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from normviz.activations import generate
from normviz.attribution import Probe, grad_cam, grad_cam_pp, layer_cam, score_cam
from normviz.device import describe, device
from normviz.models.bottleneck import BottleneckNet, settle
from normviz.models.catalogue import load_classifier
from normviz.normalization.apply import expected_order, tensors
from normviz.normalization.compare import compare, look
from normviz.normalization.sides import make_sides
from normviz.registry import Method, get, methods


@dataclass(frozen=True)
class Row:
    """One line of the table: `target` is "≤ bound" or "≥ bound" of the ratio, or empty."""

    what: str
    ours: str
    theirs: str
    ratio: float
    target: str = ""

    @property
    def met(self) -> str:
        """Whether the target is met, in a word."""
        if not self.target:
            return ""
        bound = float(self.target[1:])
        return "yes" if (self.ratio <= bound if self.target[0] == "≤" else self.ratio >= bound) else "no"


Measurement = Callable[[], list[Row]]


clock: Callable[[], float] = time.perf_counter  # --busy: time.process_time


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes, until the device has finished."""
    start = clock()
    run()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def interleaved(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each call, one call of each per round, in turning order, after one round that is not counted."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions):
        names = list(runs) if repetition % 2 else list(reversed(runs))
        for name in names:
            taken[name].append(seconds(runs[name]))
    return taken


def ms(values: list[float]) -> str:
    """The median in milliseconds, for the table."""
    middle = 1000 * statistics.median(values)
    return f"{middle:.0f} ms" if middle >= 10 else f"{middle:.2f} ms"


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


# Attribution


def resnet50(size: int, frozen: bool = True) -> tuple[nn.Module, Tensor]:
    """A network of ResNet-50's size with settled random weights, and one image (1, 3, size, size)."""
    torch.manual_seed(0)
    model = settle(BottleneckNet(), torch.randn(4, 3, size, size)).requires_grad_(not frozen)
    with torch.no_grad():
        model.get_parameter("fc.weight").mul_(10)  # logits some units apart, as a trained network's
    return model.to(device()), torch.randn(1, 3, size, size).to(device())


def one_pass() -> list[Row]:
    """Grad-CAM against a bare forward pass, against a backward pass to everything, and three maps from one probe."""
    frozen, image = resnet50(224)
    trainable, _ = resnet50(224, frozen=False)

    def bare() -> Tensor:
        with torch.no_grad():
            return frozen(image)  # type: ignore[no-any-return]

    def everything() -> object:
        return torch.autograd.grad(trainable(image)[0, 5], list(trainable.parameters()))

    def three() -> object:
        probe = Probe(frozen, image, 5)
        return grad_cam(probe), grad_cam_pp(probe), layer_cam(probe)

    taken = interleaved(
        {"bare": bare, "ours": lambda: grad_cam(Probe(frozen, image, 5)), "three": three, "everything": everything}, 25
    )
    ours = taken["ours"]
    net = "ResNet-50 size, 224 px, float32"
    return [
        Row(f"Grad-CAM / bare forward pass ({net})", ms(ours), ms(taken["bare"]), ratio(ours, taken["bare"]), "≤ 1.2"),
        Row(
            "Backward pass to all parameters / Grad-CAM", ms(ours), ms(taken["everything"]),
            ratio(taken["everything"], ours), "≥ 2.5",
        ),
        Row(
            "Grad-CAM, Grad-CAM++ and LayerCAM / Grad-CAM", ms(taken["three"]), ms(ours),
            ratio(taken["three"], ours), "≤ 1.3",
        ),
    ]  # fmt: skip


def libraries() -> list[Row]:
    """Grad-CAM against torch-cam and Captum, each used as its documentation says, on unfrozen weights."""
    from captum.attr import LayerGradCam
    from torchcam.methods import GradCAM

    model, image = resnet50(224, frozen=False)
    extractor, captum = GradCAM(model, "layer4"), LayerGradCam(model, model.get_submodule("layer4"))
    taken = interleaved(
        {
            "ours": lambda: grad_cam(Probe(model, image, 5, "layer4")),
            "torch-cam": lambda: extractor(5, model(image), normalized=False),
            "captum": lambda: captum.attribute(image, target=5, relu_attributions=True),
        },
        25,
    )
    extractor.remove_hooks()
    ours = taken["ours"]
    return [
        Row(f"Grad-CAM / {name}", ms(ours), ms(taken[key]), ratio(ours, taken[key]), "≤ 1.0")
        for key, name in (("torch-cam", "torch-cam"), ("captum", "Captum"))
    ]


def many_passes() -> list[Row]:
    """Score-CAM against torch-cam on the embedded network, every channel of the last stage."""
    classifier, photo = load_classifier(), torch.from_numpy(data.cat()).permute(2, 0, 1)  # type: ignore[no-untyped-call]
    image = classifier.prepare(photo)
    called = f"embedded network, 384 channels, {image.shape[-1]} px"
    return _score_cam(called, classifier.model, image, "stage4", 5)


def many_large_passes() -> list[Row]:
    """The same at ResNet-50's size, on the 256 channels of its first stage: the last one's 2048 take minutes."""
    model, image = resnet50(224)
    called = "ResNet-50 size, the first stage's 256 channels, 224 px"
    return _score_cam(called, model, image, "layer1", 3)


def _score_cam(called: str, model: nn.Module, image: Tensor, layer: str, repetitions: int) -> list[Row]:
    from torchcam.methods import ScoreCAM

    maps: dict[str, Tensor] = {}
    notes: list[str] = []

    def theirs() -> None:
        with ScoreCAM(model, layer) as extractor, torch.no_grad():
            model(image)
            (maps["theirs"],) = extractor(1, normalized=False)

    def ours() -> None:
        maps["ours"] = score_cam(Probe(model, image, 1, layer))

    def auto() -> None:
        maps["auto"] = score_cam(Probe(model, image, 1, layer), precision="auto", note=notes.append)

    taken = interleaved({"theirs": theirs, "ours": ours, "auto": auto}, repetitions)
    off = float((maps["ours"] - maps["theirs"]).abs().max() / maps["theirs"].abs().max())
    error = float((maps["auto"] - maps["theirs"]).norm() / maps["theirs"].norm())
    used = notes[-1].removeprefix("Scores computed in ").split(";")[0].rstrip(".")
    return [
        Row(f"torch-cam / Score-CAM, float32 ({called})", ms(taken["ours"]), ms(taken["theirs"]),
            ratio(taken["theirs"], taken["ours"]), "≥ 1.2"),
        Row("… largest difference of the maps, share of the maximum", "", "", off, "≤ 1e-5"),
        Row(f"torch-cam / Score-CAM, precision auto, which took {used}", ms(taken["auto"]), ms(taken["theirs"]),
            ratio(taken["theirs"], taken["auto"]), "≥ 2"),
        Row("… relative L2 error of the map", "", "", error, "≤ 0.01"),
    ]  # fmt: skip


# Normalization

KERNELS: dict[str, Callable[[Tensor], Tensor]] = {  # on what the method itself is given
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[2 if x.ndim == 3 else 1 :]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[2 if x.ndim == 3 else 1 :], eps=1e-6),
    "instance_norm": lambda x: F.instance_norm(x),
    "group_norm": lambda x: F.group_norm(x, 8),
}
REPORTED = ("robust_scaling", "zca_whitening", "local_contrast_norm", "switchable_norm")  # without a target
SHAPES = {"nchw": (32, 64, 56, 56), "ntd": (32, 128, 768)}


def keep_memory() -> None:
    """Have the C library keep freed memory: else each large temporary of either side pays for fresh pages."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in ((-1, 2**31 - 1), (-3, 2**25)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            library.mallopt(parameter, value)


def norms() -> list[Row]:
    """Every normalization of activations against PyTorch's kernel, or against copying the tensor."""
    keep_memory()
    rows = []
    for layout, shape in SHAPES.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device())
        for method in methods("normalization"):
            if method.takes_activations and layout in method.layouts():
                rows.append(_norm(method, x, layout))
    return rows


def _norm(method: Method, x: Tensor, layout: str) -> Row:
    """One method on one input, in the order of axes that it expects, as it comes from the layer before."""
    letters = expected_order(method, layout)
    given = x.permute([layout.index(letter) for letter in letters]).contiguous()
    channels = x.new_zeros(given.shape[1]), x.new_ones(given.shape[1])  # (C,), (C,)
    sides = tensors(method, layout, channels, make_sides(method, x))
    arguments = {name: side.contiguous() for name, side in sides.items()}
    settings = method.settings()
    kernel = KERNELS.get(method.name)

    def ours() -> Tensor:
        result: Tensor = method.function(given, **arguments, **settings)
        return result

    with torch.no_grad():
        taken = interleaved({"ours": ours, "theirs": lambda: kernel(given) if kernel else given.clone()}, 11)
    target = "" if method.name in REPORTED else "≤ 1.1" if kernel else "≤ 6"
    what = f"{method.title} / {'PyTorch kernel' if kernel else 'x.clone()'}, {'×'.join(map(str, x.shape))}"
    return Row(what, ms(taken["ours"]), ms(taken["theirs"]), ratio(taken["ours"], taken["theirs"]), target)


def explorer() -> list[Row]:
    """What the explorer computes and sends for one change that nobody has asked for before, without Streamlit."""
    return [row for shape in ((8, 16, 16, 16), (32, 64, 56, 56)) for row in _change(shape)]


def _change(shape: tuple[int, ...]) -> list[Row]:
    from normviz.normalization.view import look_before, view
    from normviz.ui import board
    from normviz.ui import explorer as drawing

    x, method = generate(shape, "shifted").to(device()), get("batch_norm")
    settings = method.settings()
    known = look_before(method, x, "nchw", settings)  # kept while gamma, beta and epsilon move

    def change() -> int:
        seen = view(method, x, "nchw", settings, 1.1, 0.2, known=known)
        readout = drawing.readout(method, seen, settings, drawing.Affine(1.1, 0.2), False)
        return len(board.packed(board.payload(drawing.panels(seen, "all"), readout)))

    taken = interleaved({"change": change}, 15)["change"]
    size, took = "×".join(map(str, shape)), 1000 * statistics.median(taken)
    return [
        Row(f"One change in the explorer, ms ({size})", ms(taken), "", took, "≤ 60"),
        Row(f"… bytes sent, KB ({size})", "", "", change() / 1000, "≤ 60"),
    ]


def comparing() -> list[Row]:
    """Twelve methods side by side, as the page Compare computes them."""
    x = generate((8, 16, 28, 28), "shifted").to(device())
    chosen = [m for m in methods("normalization") if m.takes_activations and "nchw" in m.layouts()][:12]
    taken = interleaved({"all": lambda: [compare(method, x, look(x)) for method in chosen]}, 9)["all"]
    return [Row("Compare, 12 methods, ms (8×16×28×28)", ms(taken), "", 1000 * statistics.median(taken), "≤ 300")]


SECTIONS: dict[str, list[Measurement]] = {
    "attribution": [one_pass, libraries, many_passes, many_large_passes],
    "normalization": [norms, explorer, comparing],
}


# The table


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| What | Ours | Theirs | Ratio | Target | Met |", "|---|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.ours} | {r.theirs} | {r.ratio:.3g} | {r.target} | {r.met} |" for r in rows]
    return "\n".join(lines)


def write(path: Path, sections: dict[str, str]) -> None:
    """Put the sections into the file, beside those of earlier runs that are there."""
    text = path.read_text() if path.exists() else ""
    known = dict(re.findall(r"^## (\w+)\n\n(.*?)\s*(?=^## |\Z)", text, re.M | re.S)) | sections
    head = (
        "# Benchmarks\n\nWritten by `python scripts/benchmark.py --markdown docs/BENCHMARKS.md`: medians of\n"
        "interleaved repetitions, both sides in one run. A ratio is of what the row names, in that order.\n"
    )
    path.write_text("\n".join([head, *(f"## {name}\n\n{text}\n" for name, text in known.items())]))


def main() -> None:
    """Measure the chosen sections, print them, and write them down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", choices=[*SECTIONS, "all"], default="all")
    parser.add_argument("--markdown", type=Path, help="write the tables into this file as well")
    parser.add_argument(
        "--busy", action="store_true", help="count the processor's seconds on one thread: where other things run"
    )
    arguments = parser.parse_args()
    if arguments.busy:
        global clock
        clock = time.process_time
        device()  # sets the threads, once
        torch.set_num_threads(1)
    machine = f"{describe()}; {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    done: dict[str, str] = {}
    for name in SECTIONS if arguments.section == "all" else [arguments.section]:
        rows = []
        for measurement in SECTIONS[name]:
            print(f"{name}: {measurement.__name__} …", file=sys.stderr, flush=True)
            rows += measurement()
        how = "processor time on one thread, on a busy machine" if arguments.busy else "wall-clock time"
        done[name.capitalize()] = f"On {machine}; {how}.\n\n{table(rows)}"
        print(f"## {name.capitalize()}\n\n{done[name.capitalize()]}\n")
    if arguments.markdown:
        write(arguments.markdown, done)


if __name__ == "__main__":
    main()
