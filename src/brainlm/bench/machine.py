"""The machine and this process: what is needed to read the numbers, memory, and fresh processes to measure it in."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

import brainlm
from brainlm.errors import DataError
from brainlm.processes import worker_settings

ResultT = TypeVar("ResultT")

MIB = 2**20


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on; ``load`` is how busy other programs kept the machine just before, 0 being quiet."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    described: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "brainlm": brainlm.__version__,
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class ResidentMemory:
    """Bytes of this process that are in memory: its own, and pages of mapped files, which the system takes back
    whenever somebody needs the room.
    """

    own: int
    mapped: int


def resident_memory() -> ResidentMemory | None:
    """The resident memory of this process; None where the system does not tell the two kinds apart (not Linux)."""
    file = Path("/proc/self/statm")
    if not file.is_file():
        return None
    _, resident, mapped, *_ = (int(word) * os.sysconf("SC_PAGE_SIZE") for word in file.read_text().split())
    return ResidentMemory(own=resident - mapped, mapped=mapped)


def peak_memory() -> int | None:
    """The most bytes this process has had in memory; None where the system does not say (not Linux).

    Not ``getrusage``: its maximum includes that of the process which started this one.
    """
    return _kilobytes("/proc/self/status", "VmHWM")


def available_memory() -> int | None:
    """Bytes that new programs can have without swapping; None where the system does not say (not Linux)."""
    return _kilobytes("/proc/meminfo", "MemAvailable")


def _kilobytes(path: str, name: str) -> int | None:
    file = Path(path)
    if file.is_file():
        for line in file.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def in_fresh_process(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    """What ``function`` returns in a new process, whose memory no earlier work has touched.

    Raises:
        DataError: the process was killed, usually because memory ran out.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), **worker_settings()) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise DataError(
                "the process that was measuring died",
                found="killed by the system, usually because memory ran out",
                remedy="close other programs, or use a machine with more memory",
            ) from error
