"""Measurement helpers of the benchmarks: interleaved timing, median ratios, and peak memory."""

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
    """One row of the table; `target` is "≤ bound" or "≥ bound" for the ratio, or empty."""

    what: str
    ours: str
    theirs: str
    ratio: float
    target: str = ""

    @property
    def met(self) -> str:
        """Whether the target is met: "yes", "no" or empty."""
        if not self.target:
            return ""
        bound = float(self.target[1:])
        return "yes" if (self.ratio <= bound if self.target[0] == "≤" else self.ratio >= bound) else "no"


Measurement = Callable[[], list[Row]]


clock: Callable[[], float] = time.perf_counter


def count_processor_time() -> None:
    """Measure processor time on one thread from now on, for machines under load."""
    global clock
    clock = time.process_time
    device()  # sets the number of threads once
    torch.set_num_threads(1)


def seconds(run: Callable[[], object]) -> float:
    """Measure the time of one call, including device synchronization."""
    start = clock()
    run()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def interleaved(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Measure seconds of each call, one call of each per round in alternating order, after a warmup round."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions):
        names = list(runs) if repetition % 2 else list(reversed(runs))
        for name in names:
            taken[name].append(seconds(runs[name]))
    return taken


def ms(values: list[float]) -> str:
    """Format the median in milliseconds."""
    middle = 1000 * statistics.median(values)
    return f"{middle:.0f} ms" if middle >= 10 else f"{middle:.2f} ms"


def ratio(above: list[float], below: list[float]) -> float:
    """Compute the median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(run: Callable[[], object]) -> float:
    """Measure the peak growth of memory in MB during a call.

    Raises:
        OSError: if the system does not report peak memory (on CPU, only Linux does).
    """
    gc.collect()
    if device().type == "cuda":
        start = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - start) / 2**20
    give_back()
    CLEAR.write_text("5")  # resets the peak
    before = resident()
    run()
    return resident("VmHWM") - before


def resident(field: str = "VmRSS") -> float:
    """Read the memory of this process in MB: current (VmRSS) or peak (VmHWM)."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def give_back() -> None:
    """Make the C library return freed memory to the system."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
