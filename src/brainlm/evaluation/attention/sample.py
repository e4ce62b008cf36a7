"""A few windows for what is too dear to be done on all: one a recording, as many subjects as possible.

What is done with them is in ``hiding.py`` and ``attribution.py``. Shapes: B windows, P parcels, T time points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64

from brainlm.data.scaling import ScaledBatch
from brainlm.data.store import Store
from brainlm.data.windows import recording_keys, spread_starts
from brainlm.evaluation.attention.subject_maps import Subjects
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import OwnCovariance


@dataclass(frozen=True, eq=False)
class SampleBatch(ScaledBatch):
    """Scaled windows; which recording each is of, the recording's identity, and what a Gaussian head wants to know."""

    recording_B: Int64[np.ndarray, "B"]
    key_B: Int64[np.ndarray, "B"]
    own: OwnCovariance | None


def spread_recordings(subjects: Subjects, num: int) -> Int64[np.ndarray, "M"]:
    """``num`` recordings, or all: first one of every subject, then a second one, evenly spaced where not all fit."""
    rank_N = pd.Series(subjects.subject_N).groupby(subjects.subject_N).cumcount().to_numpy()
    chosen: list[int] = []
    for rank in range(int(rank_N.max()) + 1):
        rows = np.flatnonzero(rank_N == rank)
        left = num - len(chosen)
        if len(rows) > left:
            rows = rows[((2 * np.arange(left) + 1) * len(rows)) // (2 * left)] if left else rows[:0]
        chosen.extend(rows.tolist())
    return np.array(sorted(chosen), dtype=np.int64)


def sample_batches(
    model: BrainLM,
    store: Store,
    recordings: Int64[np.ndarray, "M"],
    *,
    batch_size: int,
    resample: bool = False,
    with_own: bool = False,
) -> Iterator[SampleBatch]:
    """The middle window of each of ``recordings``; ``with_own`` if anything is to be reconstructed."""
    keys_N = recording_keys(store.metadata)
    for first in range(0, len(recordings), batch_size):
        rows = recordings[first : first + batch_size]
        scaled, own = [], []
        for row in rows.tolist():
            recording = model.prepare(store[row], resample=resample)
            starts = spread_starts(recording.num_timepoints, model.config.num_timepoints, max_windows=1)
            scaled.append(model.scale(recording, starts))
            own.append(model.own_covariance(recording, starts) if with_own else None)
        yield SampleBatch(
            torch.cat([one.signal_BPT for one in scaled]),
            torch.cat([one.valid_BPT for one in scaled]),
            rows,
            keys_N[rows],
            _joined([one for one in own if one is not None]),
        )


def _joined(parts: list[OwnCovariance]) -> OwnCovariance | None:
    if not parts:
        return None
    return OwnCovariance(
        torch.cat([part.covariance_BPP for part in parts]), torch.cat([part.num_points_B for part in parts])
    )
