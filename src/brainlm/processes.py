"""Worker processes end with the process that started them, however that one ended: the one rule for all pools.

What the workers do is elsewhere: scans in ``data/workers.py``, folds and permutations in ``evaluation/phenotypes/``.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TypedDict

LOOK_EVERY_S = 0.5  # how often a worker looks whether its parent is there


class WorkerSettings(TypedDict):
    """What ``ProcessPoolExecutor`` and joblib's loky backend take alike."""

    initializer: Callable[[int], None]
    initargs: tuple[int]


def worker_settings() -> WorkerSettings:
    """Settings of a pool that make its workers end when this process does."""
    return {"initializer": start_worker, "initargs": (os.getpid(),)}


def start_worker(parent: int) -> None:
    """Make this process a worker of the process ``parent``: it leaves Ctrl-C to it, and ends when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the first one decides
    end_with(parent, lambda: os._exit(1))


def end_with(parent: int, end: Callable[[], None]) -> None:
    """Call ``end``, from a thread, once ``parent`` is no longer the parent of this process."""

    def watch() -> None:
        # A process whose parent has ended gets another one; unlike Linux's PR_SET_PDEATHSIG, that holds on macOS too
        # and does not depend on the thread that started the process.
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        end()

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def is_first_process() -> bool:
    """False in the further processes that torchrun, SLURM or Lightning start for a run on several devices."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))
    return all(rank in ("", "0") for rank in ranks)
