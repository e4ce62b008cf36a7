"""Windows: runs of T time points cut from recordings, as whole batches.

The start of a window is a pure function of (seed, epoch, recording), so that neither workers, devices nor an
interruption change what is seen. Scaling is in ``scaling.py``; batches over devices and epochs are the training's
business.

Shapes: B batch, P parcels, T time points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int64, UInt64
from torch import Tensor

from brainlm.data.recording import recording_name
from brainlm.data.scaling import TensorStatistics
from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.store import Store
from brainlm.errors import DataError, Failure

Indices = Sequence[int] | Int64[np.ndarray, "B"] | Int64[Tensor, "B"]

SHORT_REMEDY = "pretrain with shorter windows (--model.num_timepoints), or pad short recordings (--training.pad_short)"


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """B windows in original units.

    Attributes:
        raw_BPT: NaN where a parcel has no signal or time is padding. A transposed view of (B, T, P) memory.
        median_BP, mean_BP, std_BP: over the whole recording that the window comes from.
        recording_B: position of the recording in the store of the ``Windows``.
        start_B: first time point.
        key_B: the recording's identity, independent of the store (see ``recording_keys``).
    """

    raw_BPT: Float32[Tensor, "B P T"]
    median_BP: Float32[Tensor, "B P"]
    mean_BP: Float32[Tensor, "B P"]
    std_BP: Float32[Tensor, "B P"]
    recording_B: Int64[Tensor, "B"]
    start_B: Int64[Tensor, "B"]
    key_B: Int64[Tensor, "B"]

    @property
    def statistics(self) -> TensorStatistics:
        """What ``Scaler.apply`` wants to know of the recordings."""
        return TensorStatistics(median=self.median_BP, mean=self.mean_BP, std=self.std_BP)


@dataclass(frozen=True, eq=False)
class FixedWindows:
    """The windows of an evaluation: recording and first time point of each."""

    recording: Int64[np.ndarray, "N"]
    start: Int64[np.ndarray, "N"]

    def __len__(self) -> int:
        return len(self.recording)


class Windows:
    """All windows of ``num_timepoints`` time points in a store.

    Args:
        store: usually one split.
        num_timepoints: length of a window.
        pad_short: give a recording that is too short as one window with NaN behind its end, instead of leaving it out.

    Attributes:
        recordings: positions of the recordings that have a window.
        excluded: the recordings that are too short, with the reason.

    Raises:
        DataError: no recording is long enough.
    """

    def __init__(self, store: Store, num_timepoints: int, *, pad_short: bool = False) -> None:
        if num_timepoints < 1:
            raise DataError("a window needs at least one time point", found=str(num_timepoints))
        self.store = store
        self.num_timepoints = num_timepoints
        self.keys = recording_keys(store.metadata)
        long_enough = store.num_timepoints >= num_timepoints
        if pad_short:
            long_enough[:] = True
        self.recordings: Int64[np.ndarray, "R"] = np.flatnonzero(long_enough)
        self.excluded = _too_short(store, np.flatnonzero(~long_enough), num_timepoints)
        # The last start a window can have: 0 for a padded recording, none (-1) for an excluded one.
        self._last_start = np.where(long_enough, np.maximum(store.num_timepoints - num_timepoints, 0), -1)
        if len(self.recordings) == 0:
            raise DataError(
                f"no recording has a window of {num_timepoints} time points",
                expected=f"recordings of {num_timepoints} time points or more",
                found=f"{len(store)} recordings, the longest of {max(store.num_timepoints, default=0)} time points",
                remedy=SHORT_REMEDY,
            )

    def random_starts(
        self, recordings: Indices, *, seed: int, epoch: int | Int64[np.ndarray, "B"]
    ) -> Int64[np.ndarray, "B"]:
        """A start for each recording: a pure function of seed, epoch (one, or one each) and the recording's key."""
        recordings = np.asarray(recordings, dtype=np.int64)
        random = mix_seed(seed, epoch, self.keys[recordings])
        num_starts = np.maximum(self._last_start[recordings] + 1, 1).astype(np.uint64)
        return (random % num_starts).astype(np.int64)

    def fixed(self, *, max_per_recording: int | None = None) -> FixedWindows:
        """Windows for evaluation: as many as fit without overlap, each in the middle of its share of the recording.

        Args:
            max_per_recording: at most this many of each recording, evenly spaced among them.
        """
        recordings, starts = [], []
        for recording in self.recordings:
            length = int(self.store.num_timepoints[recording])
            starts.append(spread_starts(length, self.num_timepoints, max_windows=max_per_recording))
            recordings.append(np.full(len(starts[-1]), recording))
        return FixedWindows(np.concatenate(recordings).astype(np.int64), np.concatenate(starts).astype(np.int64))

    def batch(
        self, recordings: Indices, starts: Indices, *, out: Float32[np.ndarray, "C T P"] | None = None
    ) -> WindowBatch:
        """The windows, copied from the memory-mapped store into one block of memory.

        Args:
            recordings: positions in the store.
            starts: first time point of each window.
            out: memory to fill, for at least as many windows; the batch is a view of it, good until it is filled again.

        Raises:
            DataError: a window does not lie within its recording.
        """
        recordings = np.asarray(recordings, dtype=np.int64)
        starts = np.asarray(starts, dtype=np.int64)
        self._check(recordings, starts)
        if out is None:
            out = np.empty((len(recordings), self.num_timepoints, self.store.num_parcels), np.float32)
        raw_BTP = out[: len(recordings)]
        self._fill(raw_BTP, recordings, starts)
        statistics = self.store.statistics_of(recordings)
        return WindowBatch(
            raw_BPT=torch.from_numpy(raw_BTP).transpose(1, 2),
            median_BP=torch.from_numpy(statistics.median),
            mean_BP=torch.from_numpy(statistics.mean),
            std_BP=torch.from_numpy(statistics.std),
            recording_B=torch.from_numpy(recordings.copy()),
            start_B=torch.from_numpy(starts.copy()),
            key_B=torch.from_numpy(self.keys[recordings]),
        )

    def _fill(self, raw_BTP: np.ndarray, recordings: np.ndarray, starts: np.ndarray) -> None:
        is_half = self.store.manifest.dtype == "float16"
        # numpy widens float16 four times more slowly than torch, which in turn refuses read-only memory: so a float16
        # window is first copied as it is, into memory small enough to stay in the processor's cache.
        half_TP = np.empty(raw_BTP.shape[1:], np.float16 if is_half else np.float32)
        for window_TP, recording, start in zip(raw_BTP, recordings.tolist(), starts.tolist(), strict=True):
            part = self.store.bold(recording)[start : start + self.num_timepoints]
            length = len(part)
            if is_half:
                half_TP[:length] = part
                torch.from_numpy(window_TP)[:length].copy_(torch.from_numpy(half_TP)[:length])
            else:
                window_TP[:length] = part
            window_TP[length:] = np.nan

    def _check(self, recordings: np.ndarray, starts: np.ndarray) -> None:
        wrong = (starts < 0) | (starts > self._last_start[recordings])
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            length = int(self.store.num_timepoints[recordings[first]])
            raise DataError(
                f"a window lies outside recording {int(recordings[first])}",
                expected=f"a start from 0 to {length - self.num_timepoints}"
                if length >= self.num_timepoints
                else "padding",
                found=f"start {int(starts[first])} with {length} time points and windows of {self.num_timepoints}",
                remedy="take starts from random_starts or fixed",
            )


def cut_windows(
    bold_TP: Float32[np.ndarray, "T P"], starts: Int64[np.ndarray, "W"], num_timepoints: int
) -> Float32[Tensor, "W P {num_timepoints}"]:
    """The windows of one recording at these first time points; NaN beyond its end."""
    raw_WTP = np.full((len(starts), num_timepoints, bold_TP.shape[1]), np.nan, np.float32)
    for window_TP, start in zip(raw_WTP, starts, strict=True):
        part_TP = bold_TP[start : start + num_timepoints]
        window_TP[: len(part_TP)] = part_TP
    return torch.from_numpy(raw_WTP).transpose(1, 2)


def spread_starts(length: int, num_timepoints: int, *, max_windows: int | None = None) -> Int64[np.ndarray, "W"]:
    """First time points of as many windows as fit into ``length`` without overlap, each in the middle of its share.

    A recording shorter than a window has one, at 0.

    Args:
        length: of the recording, in time points.
        num_timepoints: of a window.
        max_windows: at most this many, evenly spaced among them.
    """
    num_windows = max(length // num_timepoints, 1)
    kept = np.arange(num_windows)
    if max_windows is not None and max_windows < num_windows:
        kept = ((2 * np.arange(max_windows) + 1) * num_windows) // (2 * max_windows)
    # The middle of the k-th of n equal shares is (2k + 1) length / 2n.
    first = ((2 * kept + 1) * length - num_windows * num_timepoints) // (2 * num_windows)
    return np.maximum(first, 0)


def recording_keys(metadata: pd.DataFrame) -> Int64[np.ndarray, "N"]:
    """The identity of each recording as a number: a hash of its name, the same in every store and order."""
    names = (recording_name(*map(str, key)) for key in zip(*(metadata[name] for name in KEY_COLUMNS), strict=True))
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def mix_seed(*values: int | np.integer | np.ndarray) -> UInt64[np.ndarray, "N"]:
    """One well-mixed 64-bit number out of several; arrays are combined element by element with the scalars.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"), chained over the values.
    """
    state = np.zeros(1, np.uint64)
    for value in values:
        bits = np.atleast_1d(np.asarray(value)).astype(np.int64).view(np.uint64)
        state = _splitmix64(state ^ bits)
    return state


def _splitmix64(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)  # arrays of unsigned integers wrap around, as they shall
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _too_short(store: Store, recordings: np.ndarray, num_timepoints: int) -> list[Failure]:
    names = store.metadata[list(KEY_COLUMNS)].to_numpy()
    return [
        Failure(
            source=recording_name(*names[index]),
            reason=f"{store.num_timepoints[index]} time points, fewer than the {num_timepoints} of a window",
            remedy=SHORT_REMEDY,
        )
        for index in recordings
    ]
