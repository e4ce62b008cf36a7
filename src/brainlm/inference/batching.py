"""The windows of many recordings as batches: scaled, on the model's device, each knowing which recording it is of.

What is computed from them is in ``stores.py`` and ``features.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from brainlm.data.recording import Recording
from brainlm.data.scaling import ScaledBatch
from brainlm.data.store import Store
from brainlm.data.windows import Windows, spread_starts
from brainlm.inference.brainlm import BrainLM


@dataclass(frozen=True, eq=False)
class RecordingWindows(ScaledBatch):
    """Scaled windows, and which recording each is of (counted from 0)."""

    recording_B: Int64[Tensor, "B"]

    def __getitem__(self, part: slice) -> RecordingWindows:
        return RecordingWindows(self.signal_BPT[part], self.valid_BPT[part], self.recording_B[part])


def scaled_windows(
    model: BrainLM, recordings: Store | Sequence[Recording], batch_size: int, *, resample: bool = False
) -> Iterator[RecordingWindows]:
    """As many windows as fit without overlap into every recording, in order; every batch is full but the last.

    A recording shorter than a window is one window whose rest is not valid. One recording is read at a time.

    Raises:
        DataError: a recording has other parcels than the model, or (unless ``resample``) another repetition time.
        ConfigError: the scaler was never fitted.
    """
    if isinstance(recordings, Store) and not resample:
        return _of_store(model, recordings, batch_size)
    return _one_by_one(model, recordings, batch_size, resample=resample)


def _of_store(model: BrainLM, store: Store, batch_size: int) -> Iterator[RecordingWindows]:
    """The fast way: whole batches from the store's buffers, its own statistics. The same windows as one by one."""
    windows = Windows(store, model.config.num_timepoints, pad_short=True)
    fixed = windows.fixed()
    for first in range(0, len(fixed), batch_size):
        part = slice(first, first + batch_size)
        batch = windows.batch(fixed.recording[part], fixed.start[part])
        scaled = model.scaler.apply(batch.raw_BPT.to(model.device), batch.statistics.to(model.device))
        yield RecordingWindows(scaled.signal_BPT, scaled.valid_BPT, batch.recording_B)


def _one_by_one(
    model: BrainLM, recordings: Store | Sequence[Recording], batch_size: int, *, resample: bool
) -> Iterator[RecordingWindows]:
    waiting: list[RecordingWindows] = []
    num_waiting = 0
    for index in range(len(recordings)):
        recording = model.prepare(recordings[index], resample=resample)
        starts = spread_starts(recording.num_timepoints, model.config.num_timepoints)
        scaled = model.scale(recording, starts)
        waiting.append(RecordingWindows(scaled.signal_BPT, scaled.valid_BPT, torch.full((len(starts),), index)))
        num_waiting += len(starts)
        is_last = index == len(recordings) - 1
        if num_waiting >= batch_size or is_last:
            joined = _joined(waiting)
            num_ready = num_waiting if is_last else num_waiting - num_waiting % batch_size
            for first in range(0, num_ready, batch_size):
                yield joined[first : min(first + batch_size, num_ready)]
            waiting, num_waiting = [joined[num_ready:]], num_waiting - num_ready


def _joined(batches: Sequence[RecordingWindows]) -> RecordingWindows:
    return RecordingWindows(
        torch.cat([batch.signal_BPT for batch in batches]),
        torch.cat([batch.valid_BPT for batch in batches]),
        torch.cat([batch.recording_B for batch in batches]),
    )
