"""How the steps of a run are cut into stretches that end with everything saved, and the learning rate of each step.

Lightning saves and resumes reliably between its epochs, not inside them; so what it takes for an epoch is a stretch
of at most ``save_every_steps`` steps of one of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Steps ``first_step`` to ``first_step + num_steps - 1`` of ``epoch``."""

    epoch: int
    first_step: int
    num_steps: int


@dataclass(frozen=True)
class Stretches:
    """All stretches of a run, in order."""

    epochs: int
    steps_per_epoch: int
    save_every_steps: int

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def per_epoch(self) -> int:
        """Stretches in one epoch."""
        return -(-self.steps_per_epoch // self.save_every_steps)

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def __getitem__(self, number: int) -> Stretch:
        epoch, part = divmod(number, self.per_epoch)
        first = part * self.save_every_steps
        return Stretch(epoch, first, min(self.save_every_steps, self.steps_per_epoch - first))


def warmup_cosine(step: int, *, num_steps: int, warmup_share: float) -> float:
    """The learning rate at a step as a share of its peak: a straight rise, then half a cosine down to 0."""
    warmup = max(1, round(warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
