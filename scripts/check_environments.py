"""Run the tests as on other processors, with other numbers of threads, and in random orders.

    python -m scripts.check_environments          # the whole suite in every environment
    python -m scripts.check_environments --quick  # the numeric tests, as on a processor without vector instructions

PyTorch and oneDNN choose their kernels by the processor; the variables below make them choose as if it were another
one. Kernels differ in the order of their sums, so the last digits of every result differ.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from normviz.paths import ROOT

NUMERIC = ("tests/normalization", "tests/attribution", "tests/evaluation", "tests/experiments")


@dataclass(frozen=True)
class Environment:
    """One way to run the tests: a name, environment variables, and the seed of the order of the tests."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1


ENVIRONMENTS = (
    Environment("this machine, order 1"),
    Environment("this machine, order 2", seed=2),
    Environment("this machine, order 3", seed=3),
    Environment("no vector kernels", {"ATEN_CPU_CAPABILITY": "default"}),
    Environment("AVX2 kernels", {"ATEN_CPU_CAPABILITY": "avx2"}),
    Environment("oneDNN with AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Environment("one thread", {"OMP_NUM_THREADS": "1"}),
    Environment("four threads", {"OMP_NUM_THREADS": "4"}),
)
QUICK = (Environment("no vector kernels, four threads", {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "4"}),)


def run(environment: Environment, tests: Sequence[str], workers: str) -> tuple[int, str, float]:
    """Run the tests in one environment.

    Returns:
        The exit status of pytest, its last line, and the time in seconds.
    """
    order = f"--randomly-seed={environment.seed}"
    command = [sys.executable, "-m", "pytest", "-n", workers, "-m", "not slow", order, *tests]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | dict(environment.variables), capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    summary = re.findall(r"^.*\b(?:passed|failed|error)\b.*$", done.stdout, re.M)
    return done.returncode, summary[-1].strip("= ") if summary else "no summary", time.monotonic() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the environments one after another; the exit status is 1 if a test failed in one of them."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.check_environments", description="Run the tests in other environments."
    )
    parser.add_argument("--quick", action="store_true", help="the numeric tests in one environment")
    parser.add_argument("--workers", default="auto", help="number of test processes; default: one per core")
    parser.add_argument("pytest", nargs="*", help="more arguments of pytest, after --, such as --ignore=tests/browser")
    args = parser.parse_args(arguments)
    failed = False
    print("| environment | result | seconds |\n|---|---|---|", flush=True)
    for environment in QUICK if args.quick else ENVIRONMENTS:
        status, summary, seconds = run(environment, [*(NUMERIC if args.quick else ()), *args.pytest], args.workers)
        failed |= status != 0
        variables = " ".join(f"{name}={value}" for name, value in environment.variables.items())
        name = f"{environment.name}: `{variables}`" if variables else environment.name
        print(f"| {name} | {summary} | {seconds:.0f} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
