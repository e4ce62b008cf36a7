"""The windows that forecasts are judged on, in batches: the same for every method.

What a context and a future are is in ``data/context_windows.py``; scores are in ``scoring.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from brainlm.data.context_windows import ContextBatch, ContextWindows
from brainlm.data.windows import FixedWindows


@dataclass(frozen=True, eq=False)
class JudgedWindows:
    """Fixed windows of a store.

    Args:
        windows: where they are cut from.
        fixed: which.
        batch_size: of them at a time; changes no result.
        device: where batches are.
    """

    windows: ContextWindows
    fixed: FixedWindows
    batch_size: int = 32
    device: str = "cpu"

    @classmethod
    def of(
        cls, windows: ContextWindows, *, max_per_recording: int | None = None, batch_size: int = 32, device: str = "cpu"
    ) -> JudgedWindows:
        """As many as fit without overlap, or at most so many of each recording."""
        return cls(windows, windows.fixed(max_per_recording=max_per_recording), batch_size, device)

    def __len__(self) -> int:
        return len(self.fixed)

    def thinned(self, num_windows: int) -> JudgedWindows:
        """At most so many of them, evenly spaced."""
        if num_windows >= len(self):
            return self
        kept = ((2 * np.arange(num_windows) + 1) * len(self)) // (2 * num_windows)
        return replace(self, fixed=FixedWindows(self.fixed.recording[kept], self.fixed.start[kept]))

    @property
    def num_batches(self) -> int:
        """How many batches there are."""
        return -(-len(self) // self.batch_size)

    def batches(self) -> Iterator[ContextBatch]:
        """All windows, in order."""
        for first in range(0, len(self), self.batch_size):
            part = slice(first, first + self.batch_size)
            yield self.windows.batch(self.fixed.recording[part], self.fixed.start[part]).to(self.device)

    def subjects(self) -> Int64[np.ndarray, "N"]:
        """The number of each window's subject, from 0 on, in alphabetical order of their names."""
        subjects = self.windows.store.metadata["subject"].astype(str).to_numpy()
        return np.unique(subjects[self.fixed.recording], return_inverse=True)[1].astype(np.int64)

    @property
    def tr_s(self) -> list[float]:
        """The repetition times (s) of their recordings."""
        trs = self.windows.store.metadata["tr"].to_numpy(np.float64)
        return sorted({round(float(tr), 4) for tr in trs[self.fixed.recording]})
