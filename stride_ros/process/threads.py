"""CPU threads: choose how many a model uses, and keep waiting threads from using a core.

PyTorch, OpenCV and NumPy each start a thread for every core. Those of OpenMP, which PyTorch uses, spin while
they wait: next to a robot's other processes, that costs more than the work itself (docs/performance.md).
Torch is imported here only where it is needed.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AUTO = 0  # value of the parameter and the option for a choice by `choose_threads`
MAX_THREADS = 1024
# Below this number of weights a second thread only waits for the first (docs/performance.md).
SMALL_MODEL = 100_000_000

# Read by the libraries when they are loaded. They do not affect results.
_PASSIVE_WAITING = {
    "OMP_WAIT_POLICY": "PASSIVE",  # libgomp (PyTorch's wheels) and LLVM's and Intel's runtimes (conda)
    "KMP_BLOCKTIME": "0",  # ms; the latter two spin for 200 ms despite the policy
}
USERS_CHOICE = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")  # in the order in which PyTorch looks at them


def prepare_process() -> None:
    """Make native threads wait without spinning, unless the user has set the variable.

    Every entry point (commands, nodes, the pytest plugin) calls this before torch, NumPy and OpenCV are
    imported; they read the environment only then. Processes started from this one inherit it.
    """
    if not any(name in os.environ for name in (*_PASSIVE_WAITING, "GOMP_SPINCOUNT")):
        os.environ.update(_PASSIVE_WAITING)
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # scaling one frame is too little work to share
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one text at a time
    if "OMP_NUM_THREADS" not in os.environ:  # which OpenBLAS also follows
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy multiplies no large matrices here


def add_threads_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--threads auto|N`; the value is AUTO or the number."""
    parser.add_argument(
        "--threads",
        type=_number_of_threads,
        default=AUTO,
        metavar="auto|N",
        help="CPU threads of a model (default auto: 1 for a small model, all cores but one for a large one)",
    )


def _number_of_threads(text: str) -> int:
    if text == "auto":
        return AUTO
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_THREADS:
        return int(text)
    raise argparse.ArgumentTypeError(f"use auto or a number from 1 to {MAX_THREADS}, not {text!r}")


def choose_threads(threads: int, weights: int, device: str) -> int:
    """The number of CPU threads for a model with `weights` numbers on a `device` such as "cpu" or "cuda:0".

    A positive number is used unchanged. AUTO follows MKL_NUM_THREADS or OMP_NUM_THREADS if one is set;
    otherwise it is 1 for a small model or on a GPU, and for a large model all cores of this process but one.
    """
    if threads > AUTO:
        return threads
    for name in USERS_CHOICE:
        first = os.environ.get(name, "").split(",")[0].strip()
        if first.isascii() and first.isdigit() and int(first) > 0:
            return int(first)
    if weights < SMALL_MODEL or device.partition(":")[0] != "cpu":
        return 1
    return max(1, available_cores() - 1)


def available_cores() -> int:
    """Physical cores that this process may use: its CPU affinity, and the quota of its container."""
    usable = sorted(os.sched_getaffinity(0))
    cores = {_siblings(cpu) for cpu in usable}
    return max(1, min(len(cores), _quota()))


def _siblings(cpu: int) -> str:
    """The logical CPUs of one core, as listed by Linux; the CPU's own number if unknown."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Whole CPUs that the control group allows (version 2, then 1)."""
    root = Path("/sys/fs/cgroup")
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return MAX_THREADS
    return math.ceil(int(limit) / int(period)) if limit.isdigit() else MAX_THREADS


def use_threads(count: int | None) -> None:
    """Make PyTorch use `count` threads from now on when called in this thread; None changes nothing.

    PyTorch stores the number per calling thread, so two nodes in one process keep their own. This takes less
    than a microsecond.
    """
    if count is None:
        return
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def restored_threads() -> Iterator[None]:
    """Restore this thread's number of PyTorch threads at the end."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        use_threads(before)
