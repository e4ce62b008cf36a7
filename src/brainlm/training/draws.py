"""Which random windows make up each step of an epoch, wherever windows come from: pure functions of seed and epoch.

The order itself is ``batches.Schedule``'s; what is done with the windows is its users' (labels, forecasts).

Shapes: B of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from brainlm.training.batches import Schedule


@dataclass(frozen=True, eq=False)
class Draw:
    """The recordings of a step, by position among those learnt from, and which visit to each of them this is.

    A visit counts like an epoch of its own: the n-th window of a recording in an epoch is another one than the first.
    """

    position_B: Int64[np.ndarray, "B"]
    visit_B: Int64[np.ndarray, "B"]


class Draws:
    """The steps of every epoch, shuffled; what does not fill a last one is left out (others each epoch).

    Where there are fewer windows than fill a step, all of them are one.

    Args:
        num_recordings: that windows are drawn from.
        draws: windows of each in one epoch.
        batch_size: windows of a step.
        seed: of the order.
    """

    def __init__(self, num_recordings: int, *, draws: int, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self.schedule = Schedule(num_recordings, draws, windows_per_step=1, seed=seed)

    def __len__(self) -> int:
        return max(1, self.schedule.windows_per_epoch // self.batch_size)

    def step(self, number: int, *, epoch: int) -> Draw:
        """The draws of one step; those of one visit stand together.

        Raises:
            IndexError: an epoch has fewer steps.
        """
        if number >= len(self):
            raise IndexError(number)
        draws_B = self.schedule.order(epoch)[number * self.batch_size :][: self.batch_size]
        position_B = draws_B % self.schedule.num_recordings
        visit_B = epoch * self.schedule.windows_per_recording + draws_B // self.schedule.num_recordings
        order_B = np.argsort(visit_B, kind="stable")
        return Draw(position_B[order_B], visit_B[order_B])
