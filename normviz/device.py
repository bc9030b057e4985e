"""The device and the number of threads of this process."""

from __future__ import annotations

import functools
import os

import torch


@functools.cache
def device() -> torch.device:
    """The device of this process: the first available of cuda, mps and cpu.

    The first call for a CPU sets the number of threads. The environment variables `NORMVIZ_DEVICE` ("cpu", "cuda:1")
    and `NORMVIZ_THREADS` override device and threads.
    """
    chosen = os.environ.get("NORMVIZ_DEVICE")
    if not chosen:
        chosen = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if chosen == "cpu":
        torch.set_num_threads(int(os.environ.get("NORMVIZ_THREADS", cores())))
    return torch.device(chosen)


def cores() -> int:
    """The number of processor cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> str:
    """The name of the device, for display."""
    chosen = device()
    if chosen.type == "cuda":
        return f"{torch.cuda.get_device_name(chosen)} (CUDA)"
    if chosen.type == "mps":
        return "Apple GPU (Metal)"
    return f"CPU, {cores()} cores"
