"""Where tensors live and how many threads work: chosen once, at the first question."""

from __future__ import annotations

import functools
import os

import torch


@functools.cache
def device() -> torch.device:
    """The device of this process: cuda, then mps, then cpu; on a CPU the threads are set, once.

    `NORMVIZ_DEVICE` (as "cpu" or "cuda:1") overrules the choice, `NORMVIZ_THREADS` the number of threads.
    """
    chosen = os.environ.get("NORMVIZ_DEVICE")
    if not chosen:
        chosen = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if chosen == "cpu":
        torch.set_num_threads(int(os.environ.get("NORMVIZ_THREADS", cores())))
    return torch.device(chosen)


def cores() -> int:
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> str:
    """The device in words, for a person."""
    chosen = device()
    if chosen.type == "cuda":
        return f"{torch.cuda.get_device_name(chosen)} (CUDA)"
    if chosen.type == "mps":
        return "Apple GPU (Metal)"
    return f"CPU, {cores()} cores"
