"""Benchmark NormViz against alternatives: median ratios of interleaved repetitions in one run.

    python -m scripts.benchmark                                        # everything, as a table
    python -m scripts.benchmark --section attribution --markdown docs/BENCHMARKS.md

A section is a list of functions that return rows. Absolute times depend on the machine and its load; ratios depend less
on it, because both sides run in turn.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import re
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from normviz.activations import generate
from normviz.device import describe, device
from normviz.normalization import (
    batch_norm,
    batch_norm_arithmetic,
    group_norm,
    group_norm_arithmetic,
    instance_norm,
    instance_norm_arithmetic,
    layer_norm,
    layer_norm_arithmetic,
    rms_norm,
)
from normviz.normalization.analysis.comparison import compare, look
from normviz.normalization.analysis.conditioning import make_sides
from normviz.normalization.apply import expected_order, tensors
from normviz.registry import Normalization, get, methods
from scripts import benchmark_attribution
from scripts.measure import Measurement, Row, count_processor_time, interleaved, ms, ratio

# Normalization

KERNELS: dict[str, Callable[[Tensor], Tensor]] = {  # called with the input of the method
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[2 if x.ndim == 3 else 1 :]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[2 if x.ndim == 3 else 1 :], eps=1e-6),
    "instance_norm": lambda x: F.instance_norm(x),
    "group_norm": lambda x: F.group_norm(x, 8),
}
REPORTED = ("robust_scaling", "zca_whitening", "local_contrast_norm", "switchable_norm")  # reported without a target
SHAPES = {"nchw": (32, 64, 56, 56), "ntd": (32, 128, 768)}


def keep_memory() -> None:
    """Let the C library keep freed memory, so that large temporaries do not cause page faults."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in ((-1, 2**31 - 1), (-3, 2**25)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            library.mallopt(parameter, value)


def norms() -> list[Row]:
    """Compare each normalization of activations with the PyTorch kernel, or with a copy of the tensor."""
    keep_memory()
    rows = []
    for layout, shape in SHAPES.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device())
        for method in methods("normalization"):
            if method.takes_activations and layout in method.layouts():
                rows.append(_norm(method, x, layout))
    return rows


def _norm(method: Normalization, x: Tensor, layout: str) -> Row:
    """Measure one method on a contiguous input in the axis order that it expects."""
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


ARITHMETIC: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "Batch norm": (batch_norm_arithmetic, batch_norm),
    "Instance norm": (instance_norm_arithmetic, instance_norm),
    "Group norm": (group_norm_arithmetic, group_norm),
    "Layer norm": (layer_norm_arithmetic, layer_norm),
    "RMS norm": (rms_norm, lambda x: F.rms_norm(x, x.shape[2 if x.ndim == 3 else 1 :], eps=1e-6)),
}


def kernels() -> list[Row]:
    """The written-out arithmetic of the common norms against PyTorch's kernels, on one thread and on two."""
    before, rows = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for shape in ((32, 64, 56, 56), (8, 256, 1024)):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            for title, (arithmetic, kernel) in ARITHMETIC.items():
                with torch.no_grad():
                    taken = interleaved({"ours": partial(arithmetic, x), "theirs": partial(kernel, x)}, 15)
                what = f"{title}, arithmetic / kernel, {'×'.join(map(str, shape))}, threads: {threads}"
                ours, theirs = taken["ours"], taken["theirs"]
                rows.append(Row(what, ms(ours), ms(theirs), ratio(ours, theirs), ""))
    torch.set_num_threads(before)
    return rows


def explorer() -> list[Row]:
    """Measure what the explorer computes and sends for one uncached change, without Streamlit."""
    return [row for shape in ((8, 16, 16, 16), (32, 64, 56, 56)) for row in _change(shape)]


def _change(shape: tuple[int, ...]) -> list[Row]:
    from normviz.normalization.analysis.view import look_before, view
    from normviz.ui.components import board
    from normviz.ui.components.view_panels import view_panels
    from normviz.ui.pages import normalize as drawing

    x, method = generate(shape, "shifted").to(device()), get("batch_norm", "normalization")
    settings = method.settings()
    known = look_before(method, x, "nchw", settings)  # cached while gamma, beta and epsilon change

    def change() -> int:
        seen = view(method, x, "nchw", settings, 1.1, 0.2, known=known)
        readout = drawing.readout(method, seen, settings, drawing.Affine(1.1, 0.2), False)
        return len(board.packed(board.payload(view_panels(seen, "all"), readout)))

    taken = interleaved({"change": change}, 15)["change"]
    size, took = "×".join(map(str, shape)), 1000 * statistics.median(taken)
    return [
        Row(f"One change on Normalize, ms ({size})", ms(taken), "", took, "≤ 60"),
        Row(f"… bytes sent, KB ({size})", "", "", change() / 1000, "≤ 60"),
    ]


def comparing() -> list[Row]:
    """Measure twelve methods, computed as on the page Compare."""
    x = generate((8, 16, 28, 28), "shifted").to(device())
    chosen = [m for m in methods("normalization") if m.takes_activations and "nchw" in m.layouts()][:12]
    taken = interleaved({"all": lambda: [compare(method, x, look(x)) for method in chosen]}, 9)["all"]
    return [Row("Compare, 12 methods, ms (8×16×28×28)", ms(taken), "", 1000 * statistics.median(taken), "≤ 300")]


SECTIONS: dict[str, list[Measurement]] = {
    "attribution": benchmark_attribution.SPEED,
    "reliability": benchmark_attribution.RELIABILITY,
    "normalization": [norms, explorer, comparing],
    "kernels": [kernels],
}


# The table


def table(rows: list[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = ["| What | Ours | Theirs | Ratio | Target | Met |", "|---|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.ours} | {r.theirs} | {r.ratio:.3g} | {r.target} | {r.met} |" for r in rows]
    return "\n".join(lines)


def write(path: Path, sections: dict[str, str]) -> None:
    """Write the sections to the file and keep its other sections."""
    text = path.read_text() if path.exists() else ""
    known = dict(re.findall(r"^## (\w+)\n\n(.*?)\s*(?=^## |\Z)", text, re.M | re.S)) | sections
    head = (
        "# Benchmarks\n\nWritten by `python -m scripts.benchmark --markdown docs/BENCHMARKS.md`: medians of\n"
        "interleaved repetitions, with both sides in one run. A ratio divides the two quantities that the row names, "
        "in that order.\n"
    )
    path.write_text("\n".join([head, *(f"## {name}\n\n{text}\n" for name, text in known.items())]))


def main() -> None:
    """Measure the selected sections, print them, and optionally write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", choices=[*SECTIONS, "all"], default="all")
    parser.add_argument("--markdown", type=Path, help="write the tables into this file as well")
    parser.add_argument(
        "--busy", action="store_true", help="measure processor time on one thread, for machines under load"
    )
    arguments = parser.parse_args()
    if arguments.busy:
        count_processor_time()
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
