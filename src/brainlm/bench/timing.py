"""Alternatives timed in turn, so that whatever else the machine does disturbs them alike.

What is done with the seconds is the business of the modules that measure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float64

Timer = Callable[[], float]  # does something once and says how many seconds that took


def timer(
    work: Callable[[], object],
    *,
    device: torch.device | None = None,
    times: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Timer:
    """A timer of ``work``, done ``times`` times in a row; the seconds are those of one.

    On a GPU the clock stops when the device has finished, not when it has been told. ``clock`` may be
    ``time.process_time``: what the processor spent on this program, whoever else kept it waiting.
    """

    def seconds() -> float:
        _wait(device)
        begun = clock()
        for _ in range(times):
            work()
        _wait(device)
        return (clock() - begun) / times

    return seconds


def in_turn(alternatives: Mapping[str, Timer], *, repeats: int) -> dict[str, Float64[np.ndarray, "repeats"]]:
    """The seconds of every alternative in every round, after one round that does not count.

    Ratios are to be taken within rounds: two alternatives of one round ran within seconds of each other.
    """
    for run in alternatives.values():
        run()
    rounds = [{name: run() for name, run in alternatives.items()} for _ in range(repeats)]
    return {name: np.array([seconds[name] for seconds in rounds]) for name in alternatives}


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
