"""How the benchmarks measure: both sides in turn, medians of the rounds' ratios, and memory at its highest."""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from normviz.device import device


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


clock: Callable[[], float] = time.perf_counter


def count_processor_time() -> None:
    """Count the processor's seconds on one thread from now on: for a machine on which other things run."""
    global clock
    clock = time.process_time
    device()  # sets the threads, once
    torch.set_num_threads(1)


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


STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(run: Callable[[], object]) -> float:
    """By how many MB memory grew at its highest while something ran.

    Raises:
        OSError: a CPU on a system that does not tell (only Linux does).
    """
    gc.collect()
    if device().type == "cuda":
        start = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - start) / 2**20
    give_back()
    CLEAR.write_text("5")  # the highest so far is forgotten
    before = resident()
    run()
    return resident("VmHWM") - before


def resident(field: str = "VmRSS") -> float:
    """The memory of this process in MB: what it holds, or its highest (VmHWM)."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def give_back() -> None:
    """Have the C library return what it keeps of freed memory."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
